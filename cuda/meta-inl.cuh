// The merging of two sums and the meta-update, a coordinate a thread.
#pragma once

#include "cpp/lane_sum.h"
#include "launch.cuh"
#include "reduce-inl.cuh"
#include "tuning.h"

namespace aruba_fast::cuda {

__global__ void __launch_bounds__(kMetaThreads)
    merge_sums(double* sums, double* weight, std::int64_t* counts, const double* other_sums,
               const double* other_weight, const std::int64_t* other_counts, std::int64_t n) {
  const std::int64_t j = global_index();
  if (j < n) {
    ColumnSums into = load_sums(sums, n, j);
    add(into, load_sums(other_sums, n, j));
    store_sums(sums, n, j, into);
  }
  if (j != 0) return;
  Twofold<double> total = {weight[0], weight[1]};
  aruba_fast::add(total, Twofold<double>{other_weight[0], other_weight[1]});
  weight[0] = total.high, weight[1] = total.low;
  counts[0] += other_counts[0];
  counts[1] += other_counts[1];
}

// cpp/lane_sum.h by a block of kSumLanes threads, a lane a thread; `lanes` is shared memory.
template <class Term>
__device__ __forceinline__ Twofold<double> block_lane_sum(std::int64_t n, Term term,
                                                          Twofold<double>* lanes) {
  const std::int64_t lane = threadIdx.x;
  Twofold<double> sum = {0, 0};
  for (std::int64_t i = lane; i < n; i += kSumLanes) aruba_fast::add(sum, term(i));
  lanes[lane] = sum;
  for (std::int64_t half = kSumLanes / 2; half > 0; half /= 2) {
    __syncthreads();
    if (lane < half && lane + half < n) {
      Twofold<double> both = lanes[lane];
      aruba_fast::add(both, lanes[lane + half]);
      lanes[lane] = both;
    }
  }
  __syncthreads();
  sum = lanes[0];
  __syncthreads();  // before the next sum takes the lanes
  return sum;
}

// What the kernels of one meta-update tell each other.
struct MetaWork {
  MetaStep<double> step;
  double eta, totals[2];  // isotropic: the rate, and the sums of b and g that it is made of
  std::int64_t n_tasks;   // of the round; none: nothing changes
};

// The part that is the same for every coordinate, and the learner's counts; one block.
__global__ void __launch_bounds__(kSumLanes)
    prepare_meta(const double* round_weight, const std::int64_t* round_counts,
                 std::int64_t* n_tasks, std::int64_t* n_skipped, double* weight_high,
                 double* weight_low, double rate, double zeta, double p, double decay, double cap,
                 int has_meta_step, double meta_step, MetaWork* work) {
  auto* lanes = reinterpret_cast<Twofold<double>*>(shared_memory());
  const std::int64_t k = round_counts[0], t = *n_tasks;
  const Twofold<double> smoothing = block_lane_sum(
      k, [&](std::int64_t i) { return smoothing_term(static_cast<double>(t + 2 + i), p); }, lanes);
  if (threadIdx.x != 0) return;
  work->n_tasks = k;
  *n_skipped += round_counts[1];
  if (k == 0) return;
  const double eps = rate * zeta, weight = round_weight[0] + round_weight[1];
  Twofold<double> total_weight = {*weight_high, *weight_low};
  aruba_fast::add(total_weight, Twofold<double>{round_weight[0], round_weight[1]});
  const double total = total_weight.high + total_weight.low;
  work->step = {power(1 - decay, k),
                1 / (eps * eps),
                1 / (zeta * zeta),
                smoothing.high + smoothing.low,
                weight > 0 ? 1 / weight : 0,
                weight > 0 ? (has_meta_step ? meta_step : weight / total) : 0,
                rate,
                cap};
  *n_tasks = t + k;
  *weight_high = total_weight.high;
  *weight_low = total_weight.low;
}

template <class T>
__global__ void __launch_bounds__(kMetaThreads)
    update_meta(double* b, double* g, double* phi_master, double* rho, T* phi, T* rates,
                const double* sums, std::int64_t n, const MetaWork* work) {
  const std::int64_t j = global_index();
  if (j >= n || work->n_tasks == 0) return;
  const MetaStep<double> step = work->step;
  const ColumnSums of = load_sums(sums, n, j);
  const auto total = [](const Twofold<double>& sum) { return sum.high + sum.low; };
  MetaCoordinate<double> at = {b[j], g[j], phi_master[j]};
  meta_update(at, total(of.distance), total(of.grad_sq), total(of.theta), step);
  b[j] = at.b;
  g[j] = at.g;
  phi_master[j] = at.phi;
  rho[j] = resting_ratio(total(of.distance), total(of.grad_sq), static_cast<double>(rates[j]));
  phi[j] = static_cast<T>(at.phi);
  rates[j] = static_cast<T>(learning_rate(at.b, at.g, step));
}

// ---- isotropic: sum b and sum g, a segment a block, then one block for the segments ----

// Row 0 of the grid sums b, row 1 g.
__global__ void __launch_bounds__(kSumLanes)
    sum_segments(const double* b, const double* g, std::int64_t n, const MetaWork* work,
                 Twofold<double>* segments) {
  if (work->n_tasks == 0) return;
  auto* lanes = reinterpret_cast<Twofold<double>*>(shared_memory());
  const std::int64_t first = blockIdx.x * kSumSegment,
                     length = n - first < kSumSegment ? n - first : kSumSegment;
  const double* values = (blockIdx.y == 0 ? b : g) + first;
  const Twofold<double> sum =
      block_lane_sum(length, [&](std::int64_t i) { return values[i]; }, lanes);
  if (threadIdx.x == 0)
    segments[static_cast<std::int64_t>(blockIdx.y) * gridDim.x + blockIdx.x] = sum;
}

__global__ void __launch_bounds__(kSumLanes)
    find_isotropic_rate(const Twofold<double>* segments, std::int64_t n_segments, MetaWork* work) {
  if (work->n_tasks == 0) return;
  auto* lanes = reinterpret_cast<Twofold<double>*>(shared_memory());
  for (int which = 0; which < 2; ++which) {
    const Twofold<double>* of = segments + which * n_segments;
    const Twofold<double> sum =
        block_lane_sum(n_segments, [&](std::int64_t i) { return of[i]; }, lanes);
    if (threadIdx.x == 0) work->totals[which] = sum.high + sum.low;
  }
  if (threadIdx.x == 0) work->eta = learning_rate(work->totals[0], work->totals[1], work->step);
}

template <class T>
__global__ void __launch_bounds__(kMetaThreads)
    fill_rates(T* rates, std::int64_t n, const MetaWork* work) {
  const std::int64_t j = global_index();
  if (j < n && work->n_tasks != 0) rates[j] = static_cast<T>(work->eta);
}

}  // namespace aruba_fast::cuda
