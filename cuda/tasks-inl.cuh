// The task engine for models of one output and up to 4096 features: a task's parameters and sums in
// the registers of a team of threads, its data streamed once.
#pragma once

#include "cpp/rules/project.h"
#include "cpp/rules/sums.h"
#include "dot-inl.cuh"
#include "narrow-inl.cuh"
#include "run-inl.cuh"
#include "tuning.h"

namespace aruba_fast::cuda {

// Up to this many coordinates a thread, parameters are held in registers. Beyond, registers are for
// theta, its state and two rows of x, and parameters are read again in every round, from the
// first-level cache: there must be a number for every coordinate then.
constexpr int kHeldParameters = 4;

// One task: kBlocks coordinates a thread, kStride apart. Coordinates that do not exist have theta,
// x and all state zero, and are computed like the others: a test for each would cost more.
template <class T, class Rule, class Team, int kStride, int kBlocks, bool kPlain>
class TaskInRegisters {
 public:
  __device__ TaskInRegisters(Team& team, const TaskRun<T>& run)
      : team_(team), n_left_(static_cast<int>(run.n_features) - Team::first_coordinate()) {
#pragma unroll
    for (int k = 0; k < kBlocks; ++k) {
      theta_[k] = next_[k] = T(0);
#pragma unroll
      for (int i = 0; i < kStatesOf<Rule>; ++i) state_[k][i] = T(0);
      if constexpr (!kPlain) gradient_[k] = theta_sum_[k] = used_rate_[k] = T(0);
    }
    const int first = Team::first_coordinate();
#pragma unroll
    for (int i = 0; i < kParametersOf<Rule>; ++i) {
      if constexpr (kBlocks <= kHeldParameters) {
#pragma unroll
        for (int k = 0; k < kBlocks; ++k)
          held_[k][i] = has(k) ? run.parameters[i].at(first + k * kStride) : padding(i);
      } else {
        parameters_[i] = run.parameters[i].array + first;
      }
    }
  }

  __device__ __forceinline__ void start_from(const T* phi) { load(phi, theta_); }

  // The row that comes next is on its way while this one is computed. Of a narrow table it stays as
  // it is until then: to widen is to wait. All rows are copied, and some then widened in place:
  // with a way of its own for each, the compiler makes float32 copy twice.
  __device__ __forceinline__ void fetch(const void* x, const Widening& widening) {
    if constexpr (sizeof(T) == sizeof(float))
      if (widening.from != Narrow::kNone) return fetch_words(x, widening.from);
    load(static_cast<const T*>(x), next_);
  }
  __device__ __forceinline__ void take_and_fetch(const void* x, const Widening& widening) {
#pragma unroll
    for (int k = 0; k < kBlocks; ++k) x_[k] = next_[k];
    if constexpr (sizeof(T) == sizeof(float))
      if (widening.from != Narrow::kNone) widen_words(widening);
    fetch(x, widening);
  }

  __device__ __forceinline__ T predict() {
    T lane(0);
#pragma unroll
    for (int k = 0; k < kBlocks; ++k) lane = fma(x_[k], theta_[k], lane);
    return team_.sum(lane);
  }

  // A round by the gradient slope * x.
  __device__ __forceinline__ void step(T slope, bool average) {
    move(slope, x_, average);
    clean_after(slope);
  }

  __device__ __forceinline__ void accumulate(T slope) {
#pragma unroll
    for (int k = 0; k < kBlocks; ++k) gradient_[k] = fma(slope, x_[k], gradient_[k]);
    clean_after(slope);
  }
  // A round by the mean of the gradients that were accumulated.
  __device__ __forceinline__ void end_batch(T mean, bool average) {
    move(mean, gradient_, average);
#pragma unroll
    for (int k = 0; k < kBlocks; ++k) gradient_[k] = T(0);
  }

  // What rules/project.h works on.
  __device__ __forceinline__ T size() {
    return sum([](T, T) { return T(1); });
  }
  template <class Term>
  __device__ __forceinline__ T sum(Term term) {
    T lane(0);
#pragma unroll
    for (int k = 0; k < kBlocks; ++k)
      if (has(k)) lane = lane + term(theta_[k], used_rate_[k]);
    return team_.sum(lane);
  }
  template <class Function>
  __device__ __forceinline__ void map(Function f) {
#pragma unroll
    for (int k = 0; k < kBlocks; ++k)
      if (has(k)) theta_[k] = f(theta_[k], used_rate_[k]);
  }

  // Sums of sums wait in the outputs, which nobody looks at before the task is finished: that of
  // theta in theta_bar and theta_hat, that of squares in grad_sq.
  __device__ void gather_theta(T* total, T* rest, bool first) {
    gather(theta_sum_, total, rest, first);
  }
  __device__ void gather_squares(T* total, bool first) {
    over_own([&](int k, int j) {
      total[j] = (first ? T(0) : total[j]) + state_[k][0];
      state_[k][0] = T(0);
    });
  }
  // That of a long mini-batch in grad_sq and theta_hat; it comes back at the end.
  __device__ void gather_gradient(T* total, T* rest, bool first, bool ends) {
    gather(gradient_, total, rest, first);
    if (ends) over_own([&](int k, int j) { gradient_[k] = total[j] + rest[j]; });
  }

  __device__ __forceinline__ void finish(T* theta_hat, T* grad_sq, T* theta_bar,
                                         std::int64_t n_rounds) {
    over_own([&](int k, int j) {
      theta_hat[j] = theta_[k];
      grad_sq[j] = state_[k][0];
      if constexpr (!kPlain)
        if (theta_bar) theta_bar[j] = theta_sum_[k] / static_cast<T>(n_rounds);
    });
  }
  // What was gathered comes back.
  __device__ void collect_theta(T* total, T* rest) {
    gather_theta(total, rest, false);
    over_own([&](int k, int j) { theta_sum_[k] = total[j] + rest[j]; });
  }
  __device__ void collect_squares(T* total) {
    gather_squares(total, false);
    over_own([&](int k, int j) { state_[k][0] = total[j]; });
  }

 private:
  __device__ __forceinline__ bool has(int k) const { return k * kStride < n_left_; }
  // The parameters of coordinates that do not exist.
  static __device__ __forceinline__ T padding(int i) { return i == 0 ? T(0) : T(1); }

  // body(k, j) for the coordinates that exist, j their number.
  template <class Body>
  __device__ __forceinline__ void over_own(Body body) {
    const int first = Team::first_coordinate();
#pragma unroll
    for (int k = 0; k < kBlocks; ++k)
      if (has(k)) body(k, first + k * kStride);
  }

  __device__ __forceinline__ void gather(T (&part)[kBlocks], T* total, T* rest, bool first) {
    over_own([&](int k, int j) { aruba_fast::gather(part[k], total[j], rest[j], first); });
  }

  // What does not exist stays zero.
  __device__ __forceinline__ void load(const T* row, T (&to)[kBlocks]) {
    const T* from = row + Team::first_coordinate();
#pragma unroll
    for (int k = 0; k < kBlocks; ++k)
      if (has(k)) to[k] = from[k * kStride];
  }

  // Words are in the registers of numbers.
  __device__ __forceinline__ void fetch_words(const void* row, Narrow from) {
    with_words(row, from, [&](const auto* words) {
      words += Team::first_coordinate();
#pragma unroll
      for (int k = 0; k < kBlocks; ++k)
        if (has(k)) next_[k] = from_bits<T>(std::uint32_t{words[k * kStride]});
    });
  }
  __device__ __forceinline__ void widen_words(const Widening& widening) {
    with_widening(widening, [&](auto widen) {
#pragma unroll
      for (int k = 0; k < kBlocks; ++k) x_[k] = widen(static_cast<std::uint32_t>(to_bits(x_[k])));
    });
  }

  __device__ __forceinline__ void move(T scale, const T (&gradient)[kBlocks], bool average) {
#pragma unroll
    for (int k = 0; k < kBlocks; ++k) {
      if constexpr (!kPlain)
        if (average) theta_sum_[k] = theta_sum_[k] + theta_[k];
      Parameters<Rule, T> parameters;
#pragma unroll
      for (int i = 0; i < kParametersOf<Rule>; ++i) {
        if constexpr (kBlocks <= kHeldParameters) parameters[i] = held_[k][i];
        else parameters[i] = has(k) ? parameters_[i][k * kStride] : padding(i);
      }
      const T used = Rule::step(theta_[k], state_[k], scale * gradient[k], parameters);
      if constexpr (!kPlain) used_rate_[k] = used;
    }
  }

  // A slope that is not finite has made nans of zeros where there is no coordinate.
  __device__ __forceinline__ void clean_after(T slope) {
    if (slope - slope == T(0)) return;
#pragma unroll
    for (int k = 0; k < kBlocks; ++k) {
      if (has(k)) continue;
      theta_[k] = T(0);
#pragma unroll
      for (int i = 0; i < kStatesOf<Rule>; ++i) state_[k][i] = T(0);
      if constexpr (!kPlain) gradient_[k] = T(0);
    }
  }

  Team& team_;
  int n_left_;  // coordinates from the thread's first one on
  T theta_[kBlocks], x_[kBlocks], next_[kBlocks];
  State<Rule, T> state_[kBlocks];
  Parameters<Rule, T> held_[kHeldParameters];
  const T* parameters_[kParametersOf<Rule>];
  T gradient_[kBlocks], theta_sum_[kBlocks], used_rate_[kBlocks];  // unless kPlain
};

// n times the array's first number or, without an array, `number`.
template <class T>
__global__ void __launch_bounds__(kMetaThreads)
    repeat_number(const T* array, double number, std::int64_t n, T* to) {
  const std::int64_t j = global_index();
  if (j < n) to[j] = array ? array[0] : static_cast<T>(number);
}

// A team a task. One block an SM is all that is asked of the compiler: with more, ptxas 13.0 spills
// in ten of these kernels (sm_90, 4 to 208 bytes) to save registers. kStride: coordinates that a
// team handles at a time.
template <class T, class Rule, class Team, int kStride, int kBlocks, bool kPlain, int kThreads>
__global__ void __launch_bounds__(kThreads, 1) run_tasks(TaskRun<T> run) {
  const std::int64_t position = Team::number();
  if (position >= run.n_tasks) return;
  Team team(reinterpret_cast<T*>(shared_memory()));
  const int d = static_cast<int>(run.n_features), row_bytes = static_cast<int>(run.row_bytes);
  TaskInRegisters<T, Rule, Team, kStride, kBlocks, kPlain> task(team, run);
  task.start_from(run.phi + position * run.phi_stride);
  const TaskRows rows(run, position);
  const std::int64_t offset = position * d;
  T *const hat = run.theta_hat + offset, *const squares = run.grad_sq + offset,
           *const bar = run.theta_bar ? run.theta_bar + offset : nullptr;
  Compensated<T> total;
  BatchLoss<T> batch;
  std::int64_t n_rounds = 0;
  const unsigned char* const first_row = run.x + rows.first * row_bytes;
  const unsigned char* ahead = first_row;
  const T* const labels = run.y + rows.first;
  T next_y = labels[0];
  task.fetch(ahead, run.widening);
  for (std::int64_t epoch = 0; epoch < run.n_epochs; ++epoch) {
    for (std::int64_t row = 0; row < rows.n; ++row) {
      const T label = next_y;
      const bool is_last = row + 1 == rows.n;
      ahead = is_last ? first_row : ahead + row_bytes;
      task.take_and_fetch(ahead, run.widening);
      next_y = labels[is_last ? 0 : row + 1];
      const LossAndSlope<T> found = one_output_loss(run.loss_kind, task.predict(), label);
      if (kPlain || run.batch_size == 1) {
        total.add(found.loss);
        task.step(found.slope, bar != nullptr);
      } else {
        batch.add(found.loss);
        task.accumulate(found.slope);
        const bool ends = batch.rows == run.batch_size || is_last;
        // One call for both: what it inlines is a tenth of the kernel.
        if (ends ? batch.is_long() : batch.is_part())
          task.gather_gradient(squares, hat, batch.rows == kTermsTogether, ends);
        if (!ends) {
          if (batch.is_part()) batch.gather();
          continue;
        }
        task.end_batch(batch.per_row(), bar != nullptr);
        total.add(batch.close());
      }
      ++n_rounds;
      if constexpr (!kPlain) {
        if (run.radius > T(0)) project<T>(task, run.one_rate, run.radius);
        if (bar && n_rounds % kTermsTogether == 0)
          task.gather_theta(bar, hat, n_rounds == kTermsTogether);
      }
      if (gathers_squares<Rule>(n_rounds, run.batch_size))
        task.gather_squares(squares, n_rounds == kSquaresTogether);
    }
  }
  if constexpr (!kPlain)
    if (bar && n_rounds >= kTermsTogether) task.collect_theta(bar, hat);
  if (Rule::kSquaresAreFree && run.batch_size <= kTermsTogether && n_rounds >= kSquaresTogether)
    task.collect_squares(squares);
  task.finish(hat, squares, bar, n_rounds);
  if (Team::first_coordinate() == 0) run.loss[position] = total.value();
}

}  // namespace aruba_fast::cuda
