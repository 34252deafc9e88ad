// The task engine for what does not fit registers: softmax, and any number of features. A block a
// task; the state is in shared memory where that has room, else in the outputs and a workspace.
#pragma once

#include "cpp/rules/project.h"
#include "cpp/rules/sums.h"
#include "narrow-inl.cuh"
#include "tuning.h"
#include "wide_task-inl.cuh"

namespace aruba_fast::cuda {

// Arrays of sums of sums, which only long tasks use.
__host__ __device__ constexpr std::int64_t n_totals(bool has_theta_bar, std::int64_t batch_size) {
  return 1 + 2 * has_theta_bar + 2 * (batch_size > kTermsTogether);
}

// Numbers that threads exchange: two sums for every segment, a score and a term for every output.
__host__ __device__ constexpr std::int64_t n_exchanged(std::int64_t n_segments,
                                                       std::int64_t n_outputs) {
  return 2 * n_segments * n_outputs + 2 * n_outputs;
}

// Where the arrays of a block's task are: in shared memory, the outputs, or its part of a
// workspace.
template <class T>
struct WidePlaces {
  T* workspace;
  std::int64_t stride;  // numbers of a block's part
  bool state_is_shared, exchange_is_shared;
  std::int64_t totals_offset;  // of the sums of sums in the part; negative: no task is long
  bool rows_are_shared;        // two rows of numbers, where a table is narrow
  std::int64_t rows_offset;    // in shared memory or in the part
};

// A row of a narrow table, to all threads. Rows take turns at two places: who writes a row has seen
// everybody past this barrier for the row before, and so done with the one before that.
template <class T>
__device__ __forceinline__ const T* widen_row(const TaskRun<T>& run, std::int64_t row, T* to) {
  if constexpr (sizeof(T) == sizeof(float))
    with_words(run.x + row * run.row_bytes, run.widening.from, [&](const auto* words) {
      with_widening(run.widening, [&](auto widen) {
        for (std::int64_t j = threadIdx.x; j < run.n_features; j += blockDim.x)
          to[j] = widen(words[j]);
      });
    });
  __syncthreads();
  return to;
}

// A block a task, task after task.
template <class T, class Rule>
__global__ void __launch_bounds__(kWideThreads, 1)
    run_wide_tasks(TaskRun<T> run, WidePlaces<T> places) {
  const std::int64_t n = run.n_features * run.n_outputs,
                     n_segments = (run.n_features + kSegment - 1) / kSegment;
  // The exchange comes first wherever it is; arrays follow one another.
  T* shared = reinterpret_cast<T*>(shared_memory());
  T* own = places.workspace + blockIdx.x * places.stride;
  const std::int64_t n_exchange = n_exchanged(n_segments, run.n_outputs);
  T* exchange = places.exchange_is_shared ? shared : own;
  T* free = places.state_is_shared      ? shared + n_exchange
            : places.exchange_is_shared ? own
                                        : own + n_exchange;
  const auto take = [&] {
    T* part = free;
    free += n;
    return part;
  };
  WideArrays<T> arrays = {};
  if (run.batch_size > 1) arrays.gradient = take();
  if (run.radius > T(0)) arrays.used_rate = take();
#pragma unroll
  for (int s = 1; s < kStatesOf<Rule>; ++s) arrays.state[s] = take();
  if (places.state_is_shared) {
    arrays.theta = take();
    arrays.state[0] = take();
    if (run.theta_bar) arrays.theta_sum = take();
  }
  if (places.totals_offset >= 0) {
    free = own + places.totals_offset;
    arrays.squares_total = take();
    if (run.theta_bar) arrays.theta_total = take(), arrays.theta_rest = take();
    if (run.batch_size > kTermsTogether)
      arrays.gradient_total = take(), arrays.gradient_rest = take();
  }
  T* const widened = (places.rows_are_shared ? shared : own) + places.rows_offset;
  int turn = 0;
  WideTask<T, Rule> task(run, exchange);
  for (std::int64_t position = blockIdx.x; position < run.n_tasks; position += gridDim.x) {
    T *hat = run.theta_hat + position * n, *squares = run.grad_sq + position * n,
      *bar = run.theta_bar ? run.theta_bar + position * n : nullptr;
    if (!places.state_is_shared) {
      arrays.theta = hat;
      arrays.state[0] = squares;
      arrays.theta_sum = bar;
    }
    task.start_from(run.phi + position * run.phi_stride, arrays);
    const TaskRows rows(run, position);
    Compensated<T> total;
    BatchLoss<T> batch;
    std::int64_t n_rounds = 0;
    for (std::int64_t epoch = 0; epoch < run.n_epochs; ++epoch) {
      for (std::int64_t row = 0; row < rows.n; ++row) {
        const T* x = reinterpret_cast<const T*>(run.x) + (rows.first + row) * run.n_features;
        if (sizeof(T) == sizeof(float) && run.widening.from != Narrow::kNone) {
          turn = 1 - turn;
          x = widen_row(run, rows.first + row, widened + turn * run.n_features);
        }
        const T row_loss = task.score(x, run.y[rows.first + row]);
        if (run.batch_size == 1) {
          total.add(row_loss);
          task.step(x);
        } else {
          batch.add(row_loss);
          task.accumulate(x);
          if (batch.rows < run.batch_size && row + 1 < rows.n) {
            if (!batch.is_part()) continue;
            task.gather_gradient();
            batch.gather();
            continue;
          }
          if (batch.is_long()) task.collect_gradient();
          task.end_batch(batch.per_row());
          total.add(batch.close());
        }
        ++n_rounds;
        if (run.radius > T(0)) project<T>(task, run.one_rate, run.radius);
        if (arrays.theta_total && n_rounds % kTermsTogether == 0) task.gather_theta();
        if (gathers_squares<Rule>(n_rounds, run.batch_size)) task.gather_squares();
      }
    }
    if (arrays.theta_total && n_rounds >= kTermsTogether) task.collect_theta();
    if (Rule::kSquaresAreFree && run.batch_size <= kTermsTogether && n_rounds >= kSquaresTogether)
      task.collect_squares();
    task.finish(hat, squares, bar, n_rounds);
    if (threadIdx.x == 0) run.loss[position] = total.value();
  }
}

}  // namespace aruba_fast::cuda
