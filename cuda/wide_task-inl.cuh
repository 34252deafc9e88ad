// A block's task whose state is in memory: softmax, and any number of features.
//
// A segment of 512 coordinates of one output is a warp's; a thread keeps to its own coordinates, so
// that only sums and scores are exchanged.
#pragma once

#include "cpp/rules/softmax.h"
#include "cpp/rules/sums.h"
#include "dot-inl.cuh"
#include "run-inl.cuh"

namespace aruba_fast::cuda {

// The arrays of one task, each n_outputs * n_features; null where not wanted. The last ones are
// sums of sums and what they leave over.
template <class T>
struct WideArrays {
  T *theta, *state[kMostStates], *gradient, *theta_sum, *used_rate;
  T *squares_total, *theta_total, *theta_rest, *gradient_total, *gradient_rest;
};

template <class T, class Rule>
class WideTask {
 public:
  __device__ WideTask(const TaskRun<T>& run, T* exchange)
      : run_(run),
        n_segments_(static_cast<int>((run.n_features + kSegment - 1) / kSegment)),
        sums_(exchange),
        scores_(exchange + 2 * n_segments_ * run.n_outputs),
        terms_(scores_ + run.n_outputs) {}

  __device__ void start_from(const T* phi, const WideArrays<T>& arrays) {
    at_ = arrays;
    over_own([&](int, std::int64_t, std::int64_t i) {
      at_.theta[i] = phi[i];
      for (T* part : {at_.gradient, at_.theta_sum, at_.squares_total, at_.theta_total,
                      at_.theta_rest, at_.gradient_total, at_.gradient_rest})
        if (part) part[i] = T(0);
#pragma unroll
      for (int s = 0; s < kStatesOf<Rule>; ++s) at_.state[s][i] = T(0);
    });
  }

  __device__ void gather_theta() { gather(at_.theta_sum, at_.theta_total, at_.theta_rest); }
  __device__ void gather_gradient() { gather(at_.gradient, at_.gradient_total, at_.gradient_rest); }
  __device__ void gather_squares() {
    over_own([&](int, std::int64_t, std::int64_t i) {
      at_.squares_total[i] = at_.squares_total[i] + at_.state[0][i];
      at_.state[0][i] = T(0);
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
    over_own([&](int, std::int64_t, std::int64_t i) { at_.state[0][i] = at_.squares_total[i]; });
  }

  // Scores the row x and keeps the slope of every output.
  __device__ T score(const T* x, T y) {
    fold_segments<4>(
        [&](std::int64_t j, std::int64_t i, T lane) { return fma(x[j], at_.theta[i], lane); });
    if (run_.loss_kind != Loss::kSoftmax) {
      const LossAndSlope<T> found = one_output_loss(run_.loss_kind, total(0, n_segments_), y);
      slope_ = found.slope;
      return found.loss;
    }
    return softmax(y);
  }

  __device__ void step(const T* x) {
    move([&](int output, std::int64_t j, std::int64_t) { return slope(output) * x[j]; });
  }
  __device__ void accumulate(const T* x) {
    over_own<4>([&](int output, std::int64_t j, std::int64_t i) {
      at_.gradient[i] = fma(slope(output), x[j], at_.gradient[i]);
    });
  }
  __device__ void end_batch(T mean) {
    move([&](int, std::int64_t, std::int64_t i) { return mean * at_.gradient[i]; });
    over_own<4>([&](int, std::int64_t, std::int64_t i) { at_.gradient[i] = T(0); });
  }

  // What rules/project.h works on.
  __device__ T size() const { return static_cast<T>(run_.n_features * run_.n_outputs); }
  template <class Term>
  __device__ T sum(Term term) {
    fold_segments<2>([&](std::int64_t, std::int64_t i, T lane) {
      return lane + term(at_.theta[i], at_.used_rate[i]);
    });
    return total(0, n_segments_ * run_.n_outputs);
  }
  template <class Function>
  __device__ void map(Function f) {
    over_own<4>([&](int, std::int64_t, std::int64_t i) {
      at_.theta[i] = f(at_.theta[i], at_.used_rate[i]);
    });
  }

  __device__ void finish(T* theta_hat, T* grad_sq, T* theta_bar, std::int64_t n_rounds) {
    over_own([&](int, std::int64_t, std::int64_t i) {
      theta_hat[i] = at_.theta[i];
      grad_sq[i] = at_.state[0][i];
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

  // body(j, i) for the thread's coordinates of one segment: feature j, parameter i. kTogether of
  // them at a time.
  template <int kTogether, class Body>
  __device__ __forceinline__ void over_segment(int segment, Body body) const {
    const std::int64_t begin = static_cast<std::int64_t>(segment % n_segments_) * kSegment,
                       end =
                           begin + kSegment < run_.n_features ? begin + kSegment : run_.n_features,
                       row = static_cast<std::int64_t>(segment / n_segments_) * run_.n_features;
#pragma unroll kTogether
    for (std::int64_t j = begin + lane(); j < end; j += kWarp) body(j, row + j);
  }
  // body(output, j, i) for all of them. What is done once a task, or once in many rounds, is not
  // unrolled, for its code would be most of the kernel.
  template <int kTogether = 1, class Body>
  __device__ __forceinline__ void over_own(Body body) const {
    for (int segment = warp(); segment < n_segments_ * run_.n_outputs; segment += n_warps())
      over_segment<kTogether>(
          segment, [&](std::int64_t j, std::int64_t i) { body(segment / n_segments_, j, i); });
  }

  // Every segment's lanes, advanced by next(j, i, lane), folded, for all threads to see. The next
  // sums go to the other half: whoever writes there has seen everybody past this barrier.
  template <int kTogether, class Next>
  __device__ __forceinline__ void fold_segments(Next next) {
    turn_ = 1 - turn_;
    for (int segment = warp(); segment < n_segments_ * run_.n_outputs; segment += n_warps()) {
      T lane_sum(0);
      over_segment<kTogether>(
          segment, [&](std::int64_t j, std::int64_t i) { lane_sum = next(j, i, lane_sum); });
      const T part = fold<kWarp>(lane_sum, 0xffffffffU);
      if (lane() == 0) sums_[turn_ * n_segments_ * run_.n_outputs + segment] = part;
    }
    __syncthreads();
  }
  __device__ __forceinline__ T total(int first, int n) const {
    const T* at = sums_ + turn_ * n_segments_ * run_.n_outputs + first;
    T sum(0);
    for (int segment = 0; segment < n; ++segment) sum = sum + at[segment];
    return sum;
  }

  // Three strokes over the outputs, as cpp/loss-inl.h: the second one, which has the exponentials,
  // an output a thread.
  __device__ T softmax(T y) {
    for (int c = static_cast<int>(threadIdx.x); c < run_.n_outputs;
         c += static_cast<int>(blockDim.x))
      scores_[c] = total(c * n_segments_, n_segments_);
    __syncthreads();
    T maximum = scores_[0], chosen(0), sum(0);
    for (int c = 1; c < run_.n_outputs; ++c) maximum = softmax_maximum(maximum, scores_[c]);
    for (int c = 0; c < run_.n_outputs; ++c)
      chosen = select(y == static_cast<T>(c), scores_[c], chosen);
    for (int c = static_cast<int>(threadIdx.x); c < run_.n_outputs;
         c += static_cast<int>(blockDim.x))
      terms_[c] = softmax_term(scores_[c], maximum);
    __syncthreads();
    for (int c = 0; c < run_.n_outputs; ++c) sum = sum + terms_[c];
    sum_of_terms_ = sum;
    y_ = y;
    return softmax_loss(sum, chosen, maximum);
  }
  __device__ __forceinline__ T slope(int output) const {
    return run_.loss_kind == Loss::kSoftmax
               ? softmax_slope(terms_[output] / sum_of_terms_, y_, static_cast<T>(output))
               : slope_;
  }

  template <class Gradient>
  __device__ __forceinline__ void move(Gradient gradient) {
    over_own<4>([&](int output, std::int64_t j, std::int64_t i) {
      T theta = at_.theta[i];
      State<Rule, T> state;
      Parameters<Rule, T> parameters;
#pragma unroll
      for (int s = 0; s < kStatesOf<Rule>; ++s) state[s] = at_.state[s][i];
#pragma unroll
      for (int p = 0; p < kParametersOf<Rule>; ++p) parameters[p] = run_.parameters[p].at(i);
      if (at_.theta_sum) at_.theta_sum[i] = at_.theta_sum[i] + theta;
      const T used = Rule::step(theta, state, gradient(output, j, i), parameters);
      if (at_.used_rate) at_.used_rate[i] = used;
      at_.theta[i] = theta;
#pragma unroll
      for (int s = 0; s < kStatesOf<Rule>; ++s) at_.state[s][i] = state[s];
    });
  }

  const TaskRun<T>& run_;
  int n_segments_, turn_ = 0;
  T *sums_, *scores_, *terms_;
  WideArrays<T> at_ = {};
  T slope_ = T(0), sum_of_terms_ = T(0), y_ = T(0);
};

}  // namespace aruba_fast::cuda
