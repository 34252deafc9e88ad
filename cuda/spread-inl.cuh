// What tasks spread, a segment a warp: those of a round, and by what they are shortened; and the
// average one of a learner, which is the limit of the next round.
#pragma once

#include "dot-inl.cuh"
#include "meta-inl.cuh"
#include "reduce-inl.cuh"
#include "tuning.h"

namespace aruba_fast::cuda {

// ---- of the tasks of a round ----

// To n_segments rows of n_tasks; the grid's rows share the tasks.
template <class T>
__global__ void __launch_bounds__(kReduceThreads)
    spread_tasks(Round<T, true> round, const T* rates, const double* limit, double* of_segments) {
  const std::int64_t n = round.n, segment = global_index() / kWarp, first = segment * kSegment,
                     last = first + kSegment < n ? first + kSegment : n;
  if (first >= n || !is_finite(*limit)) return;
  for (std::int64_t task = blockIdx.y; task < round.n_tasks; task += gridDim.y) {
    const T *theta_hat = round.theta_hat + task * n, *grad_sq = round.grad_sq + task * n;
    const double sum = warp_sum(first, last, [&](std::int64_t j) {
      const double distance = static_cast<double>(theta_hat[j]) - static_cast<double>(round.phi[j]),
                   rate = rates[j];
      return spread(distance * distance, static_cast<double>(grad_sq[j]), rate,
                    reciprocal_rate(rate));
    });
    if (threadIdx.x % kWarp == 0) of_segments[segment * round.n_tasks + task] = sum;
  }
}

__global__ void __launch_bounds__(kReduceThreads)
    find_shortenings(const double* of_segments, std::int64_t n_segments, std::int64_t n_tasks,
                     const double* limit, double* by) {
  const std::int64_t task = global_index() / kWarp;
  if (task >= n_tasks) return;
  const auto of_task = [&](std::int64_t i) { return of_segments[i * n_tasks + task]; };
  const double sum = is_finite(*limit) ? warp_sum(0, n_segments, of_task) : 0;
  if (threadIdx.x % kWarp == 0) by[task] = shortening(sum, *limit);
}

// ---- of a learner's average task ----

template <class T>
__global__ void __launch_bounds__(kMetaThreads)
    spread_segments(MetaState state, const MetaWork* work, double* segments) {
  if (work->is_idle()) return;
  const std::int64_t segment = global_index() / kWarp, first = segment * kSegment;
  if (first >= state.n) return;
  const std::int64_t last = first + kSegment < state.n ? first + kSegment : state.n;
  const T* rates = static_cast<const T*>(state.rates);
  const double per_distance = state.parameters.per_distance();
  const double sum = warp_sum(first, last, [&](std::int64_t j) {
    const double rate = rates[j];
    return spread(2 / per_distance * state.b[j], state.g[j], rate, reciprocal_rate(rate));
  });
  if (threadIdx.x % kWarp == 0) segments[segment] = sum;
}

__global__ void __launch_bounds__(kWarp) find_limit(const double* segments, std::int64_t n_segments,
                                                    MetaState state, const MetaWork* work) {
  if (work->is_idle()) return;
  const double sum =
      warp_sum(0, n_segments, [&](std::int64_t segment) { return segments[segment]; });
  if (threadIdx.x == 0) *state.limit = spread_limit(sum, work->held);
}

}  // namespace aruba_fast::cuda
