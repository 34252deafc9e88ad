// The task engine for models of one output and up to 4096 features: a task's parameters and sums in
// the registers of a team of threads, its data streamed once.
#pragma once

#include "cpp/rules/loss.h"
#include "cpp/rules/step.h"
#include "cpp/rules/sums.h"
#include "dot-inl.cuh"
#include "project-inl.cuh"
#include "tuning.h"

namespace aruba_fast::cuda {

// A task's rates or dampings: a number for every coordinate or, without an array, one for all.
template <class T>
struct PerCoordinate {
  const T* array;
  std::int64_t step;  // 0: the array's first number is that of every coordinate
  T number;

  __device__ __forceinline__ T at(std::int64_t j) const { return array ? array[j * step] : number; }
};

// The rows of the task that a team runs.
struct TaskRows {
  std::int64_t first, n;

  __device__ TaskRows(std::int64_t position, const std::int64_t* starts, const std::int64_t* stops,
                      const std::int64_t* order) {
    const std::int64_t task = order ? order[position] : position;
    first = starts[task];
    n = stops[task] - first;
  }
};

// Up to this many coordinates a thread, rates are held in registers. Beyond, registers are for
// theta, its sums and two rows of x, and rates are read again in every round, from the first-level
// cache: there must be a number for every coordinate then.
constexpr int kHeldRates = 4;

// One task: kBlocks coordinates a thread, kStride apart. Coordinates that do not exist have theta,
// x and all sums zero, and are computed like the others: a test for each would cost more.
template <class T, class Rule, class Team, int kStride, int kBlocks, bool kExtras>
class TaskInRegisters {
 public:
  __device__ TaskInRegisters(Team& team, int n_features, const PerCoordinate<T>& rates,
                             const PerCoordinate<T>& dampings)
      : team_(team), n_left_(n_features - Team::first_coordinate()) {
#pragma unroll
    for (int k = 0; k < kBlocks; ++k) {
      theta_[k] = grad_sq_[k] = T(0);
      if constexpr (kExtras) gradient_[k] = theta_sum_[k] = used_rate_[k] = T(0);
    }
    const int first = Team::first_coordinate();
    if constexpr (kBlocks <= kHeldRates) {
#pragma unroll
      for (int k = 0; k < kBlocks; ++k) {
        rate_[k] = has(k) ? rates.at(first + k * kStride) : T(0);
        damping_[k] = has(k) ? dampings.at(first + k * kStride) : T(1);
      }
    } else {
      rates_ = rates.array + first;
      dampings_ = dampings.array + first;
    }
  }

  __device__ __forceinline__ void start_from(const T* phi) { load(phi, theta_); }

  // The row that comes next is on its way while this one is computed.
  __device__ __forceinline__ void fetch(const T* x) { load(x, next_); }
  __device__ __forceinline__ void take() {
#pragma unroll
    for (int k = 0; k < kBlocks; ++k) x_[k] = next_[k];
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
      total[j] = (first ? T(0) : total[j]) + grad_sq_[k];
      grad_sq_[k] = T(0);
    });
  }
  // That of a long mini-batch in grad_sq and theta_hat.
  __device__ void gather_gradient(T* total, T* rest, bool first) {
    gather(gradient_, total, rest, first);
  }
  __device__ void collect_gradient(T* total, T* rest) {
    gather_gradient(total, rest, false);
    over_own([&](int k, int j) { gradient_[k] = total[j] + rest[j]; });
  }

  __device__ __forceinline__ void finish(T* theta_hat, T* grad_sq, T* theta_bar,
                                         std::int64_t n_rounds) {
    over_own([&](int k, int j) {
      theta_hat[j] = theta_[k];
      grad_sq[j] = grad_sq_[k];
      if constexpr (kExtras)
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
    over_own([&](int k, int j) { grad_sq_[k] = total[j]; });
  }

 private:
  __device__ __forceinline__ bool has(int k) const { return k * kStride < n_left_; }

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

  __device__ __forceinline__ void load(const T* row, T (&to)[kBlocks]) {
    const T* from = row + Team::first_coordinate();
#pragma unroll
    for (int k = 0; k < kBlocks; ++k) to[k] = has(k) ? from[k * kStride] : T(0);
  }

  __device__ __forceinline__ void move(T scale, const T (&gradient)[kBlocks], bool average) {
#pragma unroll
    for (int k = 0; k < kBlocks; ++k) {
      if constexpr (kExtras)
        if (average) theta_sum_[k] = theta_sum_[k] + theta_[k];
      T rate, damping;
      if constexpr (kBlocks <= kHeldRates) {
        rate = rate_[k], damping = damping_[k];
      } else {
        rate = has(k) ? rates_[k * kStride] : T(0);
        damping = has(k) ? dampings_[k * kStride] : T(1);
      }
      const T used = Rule::step(theta_[k], grad_sq_[k], scale * gradient[k], rate, damping);
      if constexpr (kExtras) used_rate_[k] = used;
    }
  }

  // A slope that is not finite has made nans of zeros where there is no coordinate.
  __device__ __forceinline__ void clean_after(T slope) {
    if (slope - slope == T(0)) return;
#pragma unroll
    for (int k = 0; k < kBlocks; ++k) {
      if (has(k)) continue;
      theta_[k] = grad_sq_[k] = T(0);
      if constexpr (kExtras) gradient_[k] = T(0);
    }
  }

  Team& team_;
  int n_left_;  // coordinates from the thread's first one on
  T theta_[kBlocks], grad_sq_[kBlocks], x_[kBlocks], next_[kBlocks];
  T rate_[kHeldRates], damping_[kHeldRates];
  const T *rates_, *dampings_;
  T gradient_[kBlocks], theta_sum_[kBlocks], used_rate_[kBlocks];  // only with kExtras
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
template <class T, class Rule, class Team, int kStride, int kBlocks, bool kExtras, int kThreads>
__global__ void __launch_bounds__(kThreads, 1)
    run_tasks(const T* x, const T* y, const std::int64_t* starts, const std::int64_t* stops,
              const std::int64_t* order, std::int64_t n_tasks, std::int64_t n_features,
              const T* phi, std::int64_t phi_stride, const T* rates, std::int64_t rate_step,
              double rate, const T* dampings, double damping, int loss_kind,
              std::int64_t batch_size, std::int64_t n_epochs, double radius, int one_rate,
              T* theta_hat, T* grad_sq, T* theta_bar, double* loss) {
  const std::int64_t position = Team::number();
  if (position >= n_tasks) return;
  Team team(reinterpret_cast<T*>(shared_memory()));
  const int d = static_cast<int>(n_features);
  const PerCoordinate<T> all_rates = {rates, rate_step, static_cast<T>(rate)},
                         all_dampings = {dampings, 1, static_cast<T>(damping)};
  TaskInRegisters<T, Rule, Team, kStride, kBlocks, kExtras> task(team, d, all_rates, all_dampings);
  task.start_from(phi + position * phi_stride);
  const TaskRows rows(position, starts, stops, order);
  const Loss kind = static_cast<Loss>(loss_kind);
  const T ball = static_cast<T>(radius);
  const std::int64_t at = position * d;
  T *const hat = theta_hat + at, *const squares = grad_sq + at,
           *const bar = theta_bar ? theta_bar + at : nullptr;
  Compensated<T> total;
  T batch_loss(0);
  Twofold<T> batch_total = {T(0), T(0)};
  std::int64_t batch_rows = 0, n_rounds = 0;
  const T *const first_row = x + rows.first * d, *const labels = y + rows.first;
  const T* ahead = first_row;
  T next_y = labels[0];
  task.fetch(ahead);
  for (std::int64_t epoch = 0; epoch < n_epochs; ++epoch) {
    for (std::int64_t row = 0; row < rows.n; ++row) {
      task.take();
      const T label = next_y;
      const bool is_last = row + 1 == rows.n;
      ahead = is_last ? first_row : ahead + d;
      task.fetch(ahead);
      next_y = labels[is_last ? 0 : row + 1];
      const LossAndSlope<T> found = one_output_loss(kind, task.predict(), label);
      if (!kExtras || batch_size == 1) {
        total.add(found.loss);
        task.step(found.slope, bar != nullptr);
      } else {
        batch_loss = batch_loss + found.loss;
        task.accumulate(found.slope);
        if (++batch_rows < batch_size && !is_last) {
          if (batch_rows % kTermsTogether != 0) continue;
          task.gather_gradient(squares, hat, batch_rows == kTermsTogether);
          aruba_fast::add(batch_total, batch_loss);
          batch_loss = T(0);
          continue;
        }
        if (batch_rows > kTermsTogether) {
          task.collect_gradient(squares, hat);
          aruba_fast::add(batch_total, batch_loss);
          batch_loss = batch_total.value();
          batch_total = {T(0), T(0)};
        }
        const T mean = T(1) / static_cast<T>(batch_rows);
        task.end_batch(mean, bar != nullptr);
        total.add(batch_loss * mean);
        batch_loss = T(0);
        batch_rows = 0;
      }
      ++n_rounds;
      if constexpr (kExtras) {
        if (ball > T(0)) project<T>(task, one_rate != 0, ball);
        if (bar && n_rounds % kTermsTogether == 0)
          task.gather_theta(bar, hat, n_rounds == kTermsTogether);
      }
      if (gathers_squares<Rule>(n_rounds, batch_size))
        task.gather_squares(squares, n_rounds == kSquaresTogether);
    }
  }
  if constexpr (kExtras)
    if (bar && n_rounds >= kTermsTogether) task.collect_theta(bar, hat);
  if (Rule::kSquaresAreFree && batch_size <= kTermsTogether && n_rounds >= kSquaresTogether)
    task.collect_squares(squares);
  task.finish(hat, squares, bar, n_rounds);
  if (Team::first_coordinate() == 0) loss[position] = total.value();
}

}  // namespace aruba_fast::cuda
