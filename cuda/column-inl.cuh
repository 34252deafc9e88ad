// A round as kernels see it, and the sums of one of its columns.
#pragma once

#include "launch.cuh"
#include "ops_meta.h"

namespace aruba_fast::cuda {

constexpr double kNan = __builtin_nan("");

struct ColumnSums {
  Twofold<double> distance, grad_sq, theta;
};

// Whether every task in the sums surely counts: the squares and distances have one sign.
__device__ __forceinline__ bool surely_count(const ColumnSums& sums) {
  return sums.distance.high < kMostDistance && sums.grad_sq.high < kMostGradSq &&
         is_finite(sums.distance.low) && is_finite(sums.grad_sq.low) &&
         is_finite(sums.theta.high) && is_finite(sums.theta.low);
}

__device__ __forceinline__ void add(ColumnSums& into, const ColumnSums& other) {
  aruba_fast::add(into.distance, other.distance);
  aruba_fast::add(into.grad_sq, other.grad_sq);
  aruba_fast::add(into.theta, other.theta);
}

// A round's arrays as the kernels see them. `skip`: not zero for a task to be left out; null: none.
template <class T, bool kLimited>
struct Round {
  const T *theta_hat, *grad_sq, *phi;
  const double* weights;
  const unsigned* skip;
  std::int64_t n_tasks, n;
  const double* by;  // what the tasks are shortened by, of a round that is limited

  __device__ double weight(std::int64_t task) const { return weights ? weights[task] : 1.0; }
  __device__ double shortening(std::int64_t task) const { return kLimited ? by[task] : 1.0; }
  __device__ bool skips(std::int64_t task) const { return skip && skip[task]; }
};

// Tasks first..last of column j, in order; kAtOnce of them are on their way at a time.
template <int kAtOnce, class T, bool kLimited>
__device__ __forceinline__ ColumnSums sum_column(const Round<T, kLimited>& round,
                                                 std::int64_t first, std::int64_t last,
                                                 std::int64_t j) {
  ColumnSums sums = {};
  const double phi = round.phi[j];
  const auto add_task = [&](double theta, double grad_sq, double weight, double by) {
    if constexpr (kLimited) {
      theta = shortened(theta, phi, by);
      grad_sq = by * by * grad_sq;
    }
    aruba_fast::add(sums.distance, half_square_distance(theta, phi));
    // A negative square spoils the sum, so that somebody looks for it.
    aruba_fast::add(sums.grad_sq, grad_sq < 0 ? kNan : grad_sq);
    aruba_fast::add(sums.theta, weight * theta);
  };
  const T *theta_hat = round.theta_hat + first * round.n + j,
          *grad_sq = round.grad_sq + first * round.n + j;
  for (std::int64_t task = first; task < last; task += kAtOnce) {
    const auto n_left = static_cast<int>(last - task);
    T theta[kAtOnce] = {}, squares[kAtOnce] = {};
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) {
      if (k >= n_left) continue;
      theta[k] = theta_hat[k * round.n];
      squares[k] = grad_sq[k * round.n];
    }
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) {
      if (k >= n_left || round.skips(task + k)) continue;
      add_task(theta[k], squares[k], round.weight(task + k), round.shortening(task + k));
    }
    theta_hat += kAtOnce * round.n;
    grad_sq += kAtOnce * round.n;
  }
  return sums;
}

}  // namespace aruba_fast::cuda
