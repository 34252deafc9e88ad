// What tasks spread, a segment a warp, and by what they are shortened; and the average task of a
// learner: the rates by its prior, and what it spreads, which is the limit of the next round.
#pragma once

#include <utility>

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

// ---- of a learner's average task, and the rates by it ----

// What b and g sum to: rows of as many numbers as there are pieces, and tensors.
struct TensorSums {
  double *of_pieces[2], *of_tensors[2];

  TensorSums(double* memory, const Tensors& tensors) {
    for (double*& row : of_pieces) row = std::exchange(memory, memory + tensors.n_pieces);
    for (double*& row : of_tensors) row = std::exchange(memory, memory + tensors.n);
  }
  static std::int64_t size(const Tensors& tensors) { return 2 * (tensors.n_pieces + tensors.n); }
};

// A piece a warp; row 0 of the grid sums b, row 1 g.
__global__ void __launch_bounds__(kMetaThreads)
    sum_pieces(MetaState state, const MetaWork* work, TensorSums sums) {
  const std::int64_t i = global_index() / kWarp;
  if (i >= state.tensors.n_pieces || work->is_idle()) return;
  const Piece piece = state.tensors.piece(i);
  const double* values = blockIdx.y == 0 ? state.b : state.g;
  const double sum =
      warp_sum(piece.begin, piece.end, [&](std::int64_t j) { return values[j]; });
  if (threadIdx.x % kWarp == 0) sums.of_pieces[blockIdx.y][i] = sum;
}

// A tensor a warp.
__global__ void __launch_bounds__(kMetaThreads)
    sum_tensors(MetaState state, const MetaWork* work, TensorSums sums) {
  const std::int64_t t = global_index() / kWarp;
  if (t >= state.tensors.n || work->is_idle()) return;
  const std::int64_t first = state.tensors.first_pieces[t],
                     last = state.tensors.first_pieces[t + 1];
  for (int which = 0; which < 2; ++which) {
    const double* of = sums.of_pieces[which];
    const double sum = warp_sum(0, last - first, [&](std::int64_t i) { return of[first + i]; });
    if (threadIdx.x % kWarp == 0) sums.of_tensors[which][t] = sum;
  }
}

// One warp.
__global__ void __launch_bounds__(kWarp)
    sum_all(MetaState state, MetaWork* work, TensorSums sums) {
  if (work->is_idle()) return;
  double all[2];
  for (int which = 0; which < 2; ++which) {
    const double* of = sums.of_tensors[which];
    all[which] = warp_sum(0, state.tensors.n, [&](std::int64_t t) { return of[t]; });
  }
  if (threadIdx.x != 0) return;
  work->all = {all[0], all[1], state.n};
  work->held = tasks_held(*state.n_tasks, state.parameters.decay);
}

// A piece a warp. A learner whose tasks did not move, or had no gradient, keeps its rates.
template <class T>
__global__ void __launch_bounds__(kMetaThreads)
    find_rates(MetaState state, const MetaWork* work, TensorSums sums, double* spreads) {
  const std::int64_t i = global_index() / kWarp;
  if (i >= state.tensors.n_pieces || work->is_idle()) return;
  const Piece piece = state.tensors.piece(i);
  const std::int64_t t = piece.tensor;
  const SumsOfTensor own = {sums.of_tensors[0][t], sums.of_tensors[1][t],
                            state.tensors.begins[t + 1] - state.tensors.begins[t]};
  const Prior prior = prior_of(own, work->all, work->held, state.parameters.isotropic);
  const MetaStep<double> step = work->step;
  const bool stay = !work->all.is_known();
  T* rates = static_cast<T*>(state.rates);
  const double per_distance = state.parameters.per_distance();
  const double sum = warp_sum(piece.begin, piece.end, [&](std::int64_t j) {
    const double b = state.b[j], g = state.g[j];
    if (!stay) rates[j] = static_cast<T>(rate_by_prior(b, g, prior, step));
    const double rate = rates[j];
    return spread(2 / per_distance * b, g, rate, reciprocal_rate(rate));
  });
  if (threadIdx.x % kWarp == 0) spreads[i] = sum;
}

__global__ void __launch_bounds__(kWarp)
    find_limit(MetaState state, const MetaWork* work, const double* spreads) {
  if (work->is_idle()) return;
  const double sum =
      warp_sum(0, state.tensors.n_pieces, [&](std::int64_t i) { return spreads[i]; });
  if (threadIdx.x == 0) *state.limit = spread_limit(sum, work->held);
}

}  // namespace aruba_fast::cuda
