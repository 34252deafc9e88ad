// The task engine for what does not fit registers: softmax, and any number of features. A block a
// task; the state is in shared memory where that has room, else in the outputs and a workspace.
//
// A segment of 512 coordinates of one output is a warp's; a thread keeps to its own coordinates, so
// that only sums and scores are exchanged.
#pragma once

#include "cpp/rules/step.h"
#include "dot-inl.cuh"
#include "project-inl.cuh"
#include "tasks-inl.cuh"

namespace aruba_fast::cuda {

// Arrays of one task's state, each n_outputs * n_features; null where not wanted. The last ones are
// sums of sums and what they leave over.
template <class T>
struct WideState {
  T *theta, *grad_sq, *gradient, *theta_sum, *used_rate;
  T *squares_total, *theta_total, *theta_rest, *gradient_total, *gradient_rest;
};

// Arrays of sums of sums, which only long tasks use.
__host__ __device__ constexpr std::int64_t n_totals(bool has_theta_bar, std::int64_t batch_size) {
  return 1 + 2 * has_theta_bar + 2 * (batch_size > kTermsTogether);
}

// Numbers that threads exchange: two sums for every segment, a score and a term for every output.
__host__ __device__ constexpr std::int64_t n_exchanged(std::int64_t n_segments,
                                                       std::int64_t n_outputs) {
  return 2 * n_segments * n_outputs + 2 * n_outputs;
}

template <class T, class Rule>
class WideTask {
 public:
  __device__ WideTask(std::int64_t n_features, int n_outputs, T* exchange,
                      const PerCoordinate<T>& rates, const PerCoordinate<T>& dampings)
      : d_(n_features),
        n_outputs_(n_outputs),
        n_segments_(static_cast<int>((n_features + kSegment - 1) / kSegment)),
        sums_(exchange),
        scores_(exchange + 2 * n_segments_ * n_outputs),
        terms_(scores_ + n_outputs),
        rates_(rates),
        dampings_(dampings) {}

  __device__ void start_from(const T* phi, const WideState<T>& state) {
    at_ = state;
    over_own([&](int, std::int64_t, std::int64_t i) {
      at_.theta[i] = phi[i];
      at_.grad_sq[i] = T(0);
      if (at_.gradient) at_.gradient[i] = T(0);
      if (at_.theta_sum) at_.theta_sum[i] = T(0);
      for (T* part : {at_.squares_total, at_.theta_total, at_.theta_rest, at_.gradient_total,
                      at_.gradient_rest})
        if (part) part[i] = T(0);
    });
  }

  __device__ void gather_theta() { gather(at_.theta_sum, at_.theta_total, at_.theta_rest); }
  __device__ void gather_gradient() { gather(at_.gradient, at_.gradient_total, at_.gradient_rest); }
  __device__ void gather_squares() {
    over_own([&](int, std::int64_t, std::int64_t i) {
      at_.squares_total[i] = at_.squares_total[i] + at_.grad_sq[i];
      at_.grad_sq[i] = T(0);
    });
  }
  __device__ void collect_theta() {
    gather_theta();
    collect(at_.theta_sum, at_.theta_total, at_.theta_rest);
  }
  __device__ void collect_gradient() {
    gather_gradient();
    collect(at_.gradient, at_.gradient_total, at_.gradient_rest);
  }
  __device__ void collect_squares() {
    gather_squares();
    over_own([&](int, std::int64_t, std::int64_t i) { at_.grad_sq[i] = at_.squares_total[i]; });
  }

  // Scores the row x and keeps the slope of every output.
  __device__ T score(Loss kind, const T* x, T y) {
    fold_segments(
        [&](std::int64_t j, std::int64_t i, T lane) { return fma(x[j], at_.theta[i], lane); });
    if (kind != Loss::kSoftmax) {
      const LossAndSlope<T> at = one_output_loss(kind, total(0, n_segments_), y);
      slope_ = at.slope;
      return at.loss;
    }
    return softmax(y);
  }

  __device__ void step(const T* x) {
    move([&](int output, std::int64_t j, std::int64_t) { return slope(output) * x[j]; });
  }
  __device__ void accumulate(const T* x) {
    over_own([&](int output, std::int64_t j, std::int64_t i) {
      at_.gradient[i] = fma(slope(output), x[j], at_.gradient[i]);
    });
  }
  __device__ void end_batch(T mean) {
    move([&](int, std::int64_t, std::int64_t i) { return mean * at_.gradient[i]; });
    over_own([&](int, std::int64_t, std::int64_t i) { at_.gradient[i] = T(0); });
  }

  template <class Term>
  __device__ T sum(Term term) {
    fold_segments([&](std::int64_t, std::int64_t i, T lane) {
      return lane + term(at_.theta[i], at_.used_rate[i]);
    });
    return total(0, n_segments_ * n_outputs_);
  }
  template <class Function>
  __device__ void map(Function f) {
    over_own([&](int, std::int64_t, std::int64_t i) {
      at_.theta[i] = f(at_.theta[i], at_.used_rate[i]);
    });
  }

  __device__ void finish(T* theta_hat, T* grad_sq, T* theta_bar, std::int64_t n_rounds) {
    over_own([&](int, std::int64_t, std::int64_t i) {
      theta_hat[i] = at_.theta[i];
      grad_sq[i] = at_.grad_sq[i];
      if (theta_bar) theta_bar[i] = at_.theta_sum[i] / static_cast<T>(n_rounds);
    });
  }

 private:
  __device__ void gather(T* part, T* total, T* rest) {
    over_own(
        [&](int, std::int64_t, std::int64_t i) { aruba_fast::gather(part[i], total[i], rest[i]); });
  }
  __device__ void collect(T* part, T* total, T* rest) {
    over_own([&](int, std::int64_t, std::int64_t i) {
      aruba_fast::collect(part[i], total[i], rest[i]);
    });
  }

  __device__ int warp() const { return static_cast<int>(threadIdx.x) / kWarp; }
  __device__ int lane() const { return static_cast<int>(threadIdx.x) % kWarp; }
  __device__ int n_warps() const { return static_cast<int>(blockDim.x) / kWarp; }

  // body(j, i) for the thread's coordinates of one segment: feature j, parameter i.
  template <class Body>
  __device__ __forceinline__ void over_segment(int segment, Body body) const {
    const std::int64_t begin = static_cast<std::int64_t>(segment % n_segments_) * kSegment,
                       end = begin + kSegment < d_ ? begin + kSegment : d_,
                       row = static_cast<std::int64_t>(segment / n_segments_) * d_;
    for (std::int64_t j = begin + lane(); j < end; j += kWarp) body(j, row + j);
  }
  // body(output, j, i) for all of them.
  template <class Body>
  __device__ __forceinline__ void over_own(Body body) const {
    for (int segment = warp(); segment < n_segments_ * n_outputs_; segment += n_warps())
      over_segment(segment,
                   [&](std::int64_t j, std::int64_t i) { body(segment / n_segments_, j, i); });
  }

  // Every segment's lanes, advanced by next(j, i, lane), folded, for all threads to see. The next
  // sums go to the other half: whoever writes there has seen everybody past this barrier.
  template <class Next>
  __device__ __forceinline__ void fold_segments(Next next) {
    turn_ = 1 - turn_;
    for (int segment = warp(); segment < n_segments_ * n_outputs_; segment += n_warps()) {
      T lane_sum(0);
      over_segment(segment,
                   [&](std::int64_t j, std::int64_t i) { lane_sum = next(j, i, lane_sum); });
      const T part = fold<kWarp>(lane_sum, 0xffffffffU);
      if (lane() == 0) sums_[turn_ * n_segments_ * n_outputs_ + segment] = part;
    }
    __syncthreads();
  }
  __device__ __forceinline__ T total(int first, int n) const {
    const T* at = sums_ + turn_ * n_segments_ * n_outputs_ + first;
    T sum(0);
    for (int segment = 0; segment < n; ++segment) sum = sum + at[segment];
    return sum;
  }

  // Three strokes over the outputs, as cpp/loss-inl.h: the second one, which has the exponentials,
  // an output a thread.
  __device__ T softmax(T y) {
    for (int c = static_cast<int>(threadIdx.x); c < n_outputs_; c += static_cast<int>(blockDim.x))
      scores_[c] = total(c * n_segments_, n_segments_);
    __syncthreads();
    T maximum = scores_[0], chosen(0), sum(0);
    for (int c = 1; c < n_outputs_; ++c) maximum = softmax_maximum(maximum, scores_[c]);
    for (int c = 0; c < n_outputs_; ++c)
      chosen = select(y == static_cast<T>(c), scores_[c], chosen);
    for (int c = static_cast<int>(threadIdx.x); c < n_outputs_; c += static_cast<int>(blockDim.x))
      terms_[c] = softmax_term(scores_[c], maximum);
    __syncthreads();
    for (int c = 0; c < n_outputs_; ++c) sum = sum + terms_[c];
    sum_of_terms_ = sum;
    y_ = y;
    is_softmax_ = true;
    return log_positive(sum) - (chosen - maximum);
  }
  __device__ __forceinline__ T slope(int output) const {
    return is_softmax_ ? softmax_slope(terms_[output], sum_of_terms_, y_, static_cast<T>(output))
                       : slope_;
  }

  template <class Gradient>
  __device__ __forceinline__ void move(Gradient gradient) {
    over_own([&](int output, std::int64_t j, std::int64_t i) {
      T theta = at_.theta[i], grad_sq = at_.grad_sq[i];
      if (at_.theta_sum) at_.theta_sum[i] = at_.theta_sum[i] + theta;
      const T used =
          Rule::step(theta, grad_sq, gradient(output, j, i), rates_.at(i), dampings_.at(i));
      if (at_.used_rate) at_.used_rate[i] = used;
      at_.theta[i] = theta;
      at_.grad_sq[i] = grad_sq;
    });
  }

  std::int64_t d_;
  int n_outputs_, n_segments_, turn_ = 0;
  T *sums_, *scores_, *terms_;
  const PerCoordinate<T>&rates_, &dampings_;
  WideState<T> at_ = {};
  T slope_ = T(0), sum_of_terms_ = T(0), y_ = T(0);
  bool is_softmax_ = false;
};

// A block a task, task after task. `workspace`: of every block, workspace_stride numbers for what
// shared memory has no room for.
template <class T, class Rule>
__global__ void __launch_bounds__(kWideThreads, 1)
    run_wide_tasks(const T* x, const T* y, const std::int64_t* starts, const std::int64_t* stops,
                   const std::int64_t* order, std::int64_t n_tasks, std::int64_t n_features,
                   int n_outputs, const T* phi, std::int64_t phi_stride, const T* rates,
                   std::int64_t rate_step, double rate, const T* dampings, double damping,
                   int loss_kind, std::int64_t batch_size, std::int64_t n_epochs, double radius,
                   int one_rate, T* theta_hat, T* grad_sq, T* theta_bar, double* loss, T* workspace,
                   std::int64_t workspace_stride, int state_is_shared, int exchange_is_shared,
                   std::int64_t totals_offset) {
  const std::int64_t n = n_features * n_outputs,
                     n_segments = (n_features + kSegment - 1) / kSegment;
  const PerCoordinate<T> all_rates = {rates, rate_step, static_cast<T>(rate)},
                         all_dampings = {dampings, 1, static_cast<T>(damping)};
  const Loss kind = static_cast<Loss>(loss_kind);
  const T ball = static_cast<T>(radius);
  // The exchange comes first wherever it is; arrays of state follow one another.
  T* shared = reinterpret_cast<T*>(shared_memory());
  T* own = workspace + blockIdx.x * workspace_stride;
  const std::int64_t n_exchange = n_exchanged(n_segments, n_outputs);
  T* exchange = exchange_is_shared ? shared : own;
  T* arrays = state_is_shared ? shared + n_exchange : exchange_is_shared ? own : own + n_exchange;
  const std::int64_t has_gradient = batch_size > 1, has_rates = ball > T(0);
  WideState<T> state = {};
  if (has_gradient) state.gradient = arrays;
  if (has_rates) state.used_rate = arrays + has_gradient * n;
  if (state_is_shared) {
    state.theta = arrays + (has_gradient + has_rates) * n;
    state.grad_sq = state.theta + n;
    if (theta_bar) state.theta_sum = state.theta + 2 * n;
  }
  if (totals_offset >= 0) {
    T* totals = own + totals_offset;
    state.squares_total = totals;
    if (theta_bar) state.theta_total = totals += n, state.theta_rest = totals += n;
    if (batch_size > kTermsTogether)
      state.gradient_total = totals += n, state.gradient_rest = totals += n;
  }
  WideTask<T, Rule> task(n_features, n_outputs, exchange, all_rates, all_dampings);
  for (std::int64_t position = blockIdx.x; position < n_tasks; position += gridDim.x) {
    T *hat = theta_hat + position * n, *squares = grad_sq + position * n,
      *bar = theta_bar ? theta_bar + position * n : nullptr;
    if (!state_is_shared) {
      state.theta = hat;
      state.grad_sq = squares;
      state.theta_sum = bar;
    }
    task.start_from(phi + position * phi_stride, state);
    const TaskRows rows(position, starts, stops, order);
    Compensated<T> total;
    T batch_loss(0);
    Twofold<T> batch_total = {T(0), T(0)};
    std::int64_t batch_rows = 0, n_rounds = 0;
    for (std::int64_t epoch = 0; epoch < n_epochs; ++epoch) {
      for (std::int64_t row = 0; row < rows.n; ++row) {
        const T* at = x + (rows.first + row) * n_features;
        const T row_loss = task.score(kind, at, y[rows.first + row]);
        if (batch_size == 1) {
          total.add(row_loss);
          task.step(at);
        } else {
          batch_loss = batch_loss + row_loss;
          task.accumulate(at);
          if (++batch_rows < batch_size && row + 1 < rows.n) {
            if (batch_rows % kTermsTogether != 0) continue;
            task.gather_gradient();
            aruba_fast::add(batch_total, batch_loss);
            batch_loss = T(0);
            continue;
          }
          if (batch_rows > kTermsTogether) {
            task.collect_gradient();
            aruba_fast::add(batch_total, batch_loss);
            batch_loss = batch_total.value();
            batch_total = {T(0), T(0)};
          }
          const T mean = T(1) / static_cast<T>(batch_rows);
          task.end_batch(mean);
          total.add(batch_loss * mean);
          batch_loss = T(0);
          batch_rows = 0;
        }
        ++n_rounds;
        if (ball > T(0)) project<T>(task, one_rate != 0, ball);
        if (state.theta_total && n_rounds % kTermsTogether == 0) task.gather_theta();
        if (gathers_squares<Rule>(n_rounds, batch_size)) task.gather_squares();
      }
    }
    if (state.theta_total && n_rounds >= kTermsTogether) task.collect_theta();
    if (Rule::kSquaresAreFree && batch_size <= kTermsTogether && n_rounds >= kSquaresTogether)
      task.collect_squares();
    task.finish(hat, squares, bar, n_rounds);
    if (threadIdx.x == 0) loss[position] = total.value();
  }
}

}  // namespace aruba_fast::cuda
