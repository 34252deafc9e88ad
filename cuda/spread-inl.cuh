// What tasks spread, a segment a warp, and by what they are shortened; and the average task of a
// learner: the rates by its prior, and what it spreads, which is the limit of the next round.
#pragma once

#include "dot-inl.cuh"
#include "meta-inl.cuh"
#include "reduce-inl.cuh"
#include "tuning.h"

namespace aruba_fast::cuda {

// ---- of the tasks of a round ----

template <class T>
struct Movement {
  T theta_hat, phi, grad_sq, rate;
};

// Coordinates that a thread asks for at once: as many as tasks in the reduction, up to what does
// not spill on an sm_100. theta_hat and grad_sq of them come from memory; phi and rates, which all
// tasks share, mostly from the cache.
template <class T>
constexpr int kSpreadAtOnce = kTasksAtOnce<T> * sizeof(T) > 32 ? 32 / static_cast<int>(sizeof(T))
                                                               : kTasksAtOnce<T>;

// To n_segments rows of n_tasks; the grid's rows share the tasks.
template <class T>
__global__ void __launch_bounds__(kReduceThreads, kTuning.reduce_blocks)
    spread_tasks(Round<T, true> round, const T* rates, const double* limit, double* of_segments) {
  const std::int64_t n = round.n, segment = global_index() / kWarp, first = segment * kSegment,
                     last = first + kSegment < n ? first + kSegment : n;
  if (first >= n || !is_finite(*limit)) return;
  for (std::int64_t task = blockIdx.y; task < round.n_tasks; task += gridDim.y) {
    const T *theta_hat = round.theta_hat + task * n, *grad_sq = round.grad_sq + task * n;
    const double sum = warp_sum<kSpreadAtOnce<T>>(
        first, last,
        [&](std::int64_t j) {
          return Movement<T>{theta_hat[j], round.phi[j], grad_sq[j], rates[j]};
        },
        [](const Movement<T>& of) {
          const double distance = static_cast<double>(of.theta_hat) - static_cast<double>(of.phi),
                       rate = of.rate;
          return spread(distance * distance, static_cast<double>(of.grad_sq), rate,
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

// What b and g sum to, of every piece and of every tensor.
struct TensorSums {
  double *b_of_pieces, *g_of_pieces, *b_of_tensors, *g_of_tensors;

  TensorSums(double* memory, const Tensors& tensors)
      : b_of_pieces(memory),
        g_of_pieces(b_of_pieces + tensors.n_pieces),
        b_of_tensors(g_of_pieces + tensors.n_pieces),
        g_of_tensors(b_of_tensors + tensors.n) {}
  static std::int64_t size(const Tensors& tensors) { return 2 * (tensors.n_pieces + tensors.n); }
};

// A piece a warp; row 0 of the grid sums b, row 1 g.
__global__ void __launch_bounds__(kMetaThreads)
    sum_pieces(MetaState state, const MetaWork* work, TensorSums sums) {
  const std::int64_t i = global_index() / kWarp;
  if (i >= state.tensors.n_pieces || work->is_empty()) return;
  const Piece piece = state.tensors.piece(i);
  const double* values = blockIdx.y == 0 ? state.b : state.g;
  const double sum = warp_sum(piece.begin, piece.end, [&](std::int64_t j) { return values[j]; });
  double* of_pieces = blockIdx.y == 0 ? sums.b_of_pieces : sums.g_of_pieces;
  if (threadIdx.x % kWarp == 0) of_pieces[i] = sum;
}

// A tensor a warp, likewise.
__global__ void __launch_bounds__(kMetaThreads)
    sum_tensors(MetaState state, const MetaWork* work, TensorSums sums) {
  const std::int64_t t = global_index() / kWarp;
  if (t >= state.tensors.n || work->is_empty()) return;
  const double* of_pieces = blockIdx.y == 0 ? sums.b_of_pieces : sums.g_of_pieces;
  const double sum = warp_sum(state.tensors.first_pieces[t], state.tensors.first_pieces[t + 1],
                              [&](std::int64_t i) { return of_pieces[i]; });
  double* of_tensors = blockIdx.y == 0 ? sums.b_of_tensors : sums.g_of_tensors;
  if (threadIdx.x % kWarp == 0) of_tensors[t] = sum;
}

// One warp.
__global__ void __launch_bounds__(kWarp) sum_all(MetaState state, MetaWork* work, TensorSums sums) {
  if (work->is_empty()) return;
  const double b = warp_sum(0, state.tensors.n,
                            [&](std::int64_t t) { return sums.b_of_tensors[t]; }),
               g = warp_sum(0, state.tensors.n,
                            [&](std::int64_t t) { return sums.g_of_tensors[t]; });
  if (threadIdx.x != 0) return;
  work->all = {b, g, state.n};
  work->held = tasks_held(*state.n_tasks, state.parameters.decay);
  work->step.learning_rate = restraint(*state.n_tasks, *state.n_skipped);
}

// A piece a warp. A learner whose tasks did not move, or had no gradient, keeps its rates.
template <class T>
__global__ void __launch_bounds__(kMetaThreads)
    find_rates(MetaState state, const MetaWork* work, TensorSums sums, double* spreads) {
  const std::int64_t i = global_index() / kWarp;
  if (i >= state.tensors.n_pieces || work->is_empty()) return;
  const Piece piece = state.tensors.piece(i);
  const std::int64_t t = piece.tensor;
  const SumsOfTensor own = {sums.b_of_tensors[t], sums.g_of_tensors[t],
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
  if (work->is_empty()) return;
  const double sum =
      warp_sum(0, state.tensors.n_pieces, [&](std::int64_t i) { return spreads[i]; });
  if (threadIdx.x == 0) *state.limit = spread_limit(sum, work->held);
}

}  // namespace aruba_fast::cuda
