// The merging of two sums and the meta-update, two coordinates a thread.
#pragma once

#include "cpp/lane_sum.h"
#include "launch.cuh"
#include "reduce-inl.cuh"
#include "tuning.h"
#include "vector-inl.cuh"

namespace aruba_fast::cuda {

// kWidth neighbouring columns of three sums, high and low: 16 bytes an access for two, where the
// rows of an odd number of columns allow it.
template <int kWidth>
struct SumsOf {
  double at[6][kWidth];

  __device__ __forceinline__ void load(const double* sums, std::int64_t n, std::int64_t j) {
#pragma unroll
    for (int row = 0; row < 6; ++row) load_vector(sums + row * n + j, at[row]);
  }
  __device__ __forceinline__ void store(double* sums, std::int64_t n, std::int64_t j) const {
#pragma unroll
    for (int row = 0; row < 6; ++row) store_vector(sums + row * n + j, at[row]);
  }
  // Sum `which` of column k, rounded to a double.
  __device__ __forceinline__ double total(int which, int k) const {
    return at[2 * which][k] + at[2 * which + 1][k];
  }
};

template <int kWidth>
__device__ __forceinline__ void merge_columns(double* sums, const double* other, std::int64_t n,
                                              std::int64_t j) {
  SumsOf<kWidth> into, from;
  into.load(sums, n, j);
  from.load(other, n, j);
#pragma unroll
  for (int row = 0; row < 6; row += 2) {
#pragma unroll
    for (int k = 0; k < kWidth; ++k) {
      Twofold<double> sum = {into.at[row][k], into.at[row + 1][k]};
      aruba_fast::add(sum, Twofold<double>{from.at[row][k], from.at[row + 1][k]});
      into.at[row][k] = sum.high, into.at[row + 1][k] = sum.low;
    }
  }
  into.store(sums, n, j);
}

__global__ void __launch_bounds__(kMetaThreads)
    merge_sums(DeviceStatistics into, DeviceStatistics other, std::int64_t n) {
  const std::int64_t thread = global_index(), j = 2 * thread;
  if (j + 2 <= n) merge_columns<2>(into.sums, other.sums, n, j);
  else if (j < n) merge_columns<1>(into.sums, other.sums, n, j);
  if (thread != 0) return;
  Twofold<double> weight = {into.weight[0], into.weight[1]};
  aruba_fast::add(weight, Twofold<double>{other.weight[0], other.weight[1]});
  into.weight[0] = weight.high, into.weight[1] = weight.low;
  into.counts[0] += other.counts[0];
  into.counts[1] += other.counts[1];
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
  double eta, totals[2];            // of an isotropic learner: its rate, the sums that make it
  SumsOfTensor all;                 // all of its tensors, after the round
  double held;                      // tasks, then
  std::int64_t n_tasks, n_skipped;  // of the round
  Twofold<double> weight;           // the learner's, after it
  unsigned unsound;                 // the update would leave no state to go on from

  __device__ bool is_idle() const { return n_tasks == 0 || unsound; }
  // Of what follows the counts too, whoever they count.
  __device__ bool is_empty() const { return n_tasks + n_skipped == 0; }
};

// The part that is the same for every coordinate; one block. `rate_cap`: that of the state.
__global__ void __launch_bounds__(kSumLanes)
    prepare_meta(MetaState state, double rate_cap, DeviceStatistics round, ChosenStep chosen,
                 MetaWork* work) {
  auto* lanes = reinterpret_cast<Twofold<double>*>(shared_memory());
  const std::int64_t k = round.counts[0], t = *state.n_tasks;
  const double p = state.parameters.p;
  const Twofold<double> smoothing =
      block_lane_sum(k, [&](std::int64_t i) { return smoothing_of_task(t, i, p); }, lanes);
  if (threadIdx.x != 0) return;
  work->n_tasks = k;
  work->n_skipped = round.counts[1];
  work->unsound = 0;
  work->step.cap = rate_cap;
  if (k == 0) return;
  const PreparedRound prepared =
      prepare(state.parameters, rate_cap, {*state.weight_high, *state.weight_low},
              {k, {round.weight[0], round.weight[1]}, smoothing.value()}, chosen);
  work->step = prepared.step;
  work->weight = prepared.weight;
  work->unsound = !is_finite(prepared.weight.high);
}

// A step of the initialization that the host does not know.
__global__ void __launch_bounds__(1) choose_step(const double* step, MetaWork* work) {
  if (work->n_tasks > 0 && work->step.per_weight > 0) work->step.alpha = *step;
}

// The learner's counts, once it is known whether the round is learned from. If not, it is left out
// whole: nothing waits for the device to say so.
__device__ __forceinline__ void commit_counts(const MetaState& state, const MetaWork& work) {
  *state.n_skipped += work.n_skipped + (work.unsound ? work.n_tasks : 0);
  if (work.is_idle()) return;
  *state.n_tasks += work.n_tasks;
  *state.weight_high = work.weight.high;
  *state.weight_low = work.weight.low;
}

// Raises `unsound`.
template <class T>
__global__ void __launch_bounds__(kMetaThreads)
    check_meta(MetaState state, const double* sums, MetaWork* work) {
  const std::int64_t j = global_index(), n = state.n;
  if (j >= n || work->n_tasks == 0) return;
  const auto total = [&](int which) {
    return sums[2 * which * n + j] + sums[(2 * which + 1) * n + j];
  };
  const double distance = total(0), grad_sq = total(1);
  MetaCoordinate<double> at = {state.b[j], state.g[j], state.phi_master[j]};
  meta_update(at, distance, grad_sq, total(2), work->step);
  const double rounded = static_cast<double>(static_cast<T>(at.phi));
  if (soundness(at, distance, grad_sq, rounded, work->step, state.n_summed()) != 0)
    atomicOr(&work->unsound, 1U);
}

// kWidth neighbouring coordinates.
template <int kWidth, class T>
__device__ __forceinline__ void update_coordinates(const MetaState& state, const double* sums,
                                                   std::int64_t j, const MetaStep<double>& step) {
  T *const to_phi = static_cast<T*>(state.phi), *const to_rates = static_cast<T*>(state.rates);
  SumsOf<kWidth> of;
  double b[kWidth], g[kWidth], master[kWidth], rho[kWidth];
  T phi[kWidth], rates[kWidth];
  of.load(sums, state.n, j);
  load_vector(state.b + j, b);
  load_vector(state.g + j, g);
  load_vector(state.phi_master + j, master);
  load_vector(to_rates + j, rates);
#pragma unroll
  for (int k = 0; k < kWidth; ++k) {
    const double distance = of.total(0, k), grad_sq = of.total(1, k);
    MetaCoordinate<double> at = {b[k], g[k], master[k]};
    meta_update(at, distance, grad_sq, of.total(2, k), step);
    b[k] = at.b, g[k] = at.g, master[k] = at.phi;
    rho[k] = resting_ratio(distance, grad_sq, static_cast<double>(rates[k]));
    phi[k] = static_cast<T>(at.phi);
    rates[k] = static_cast<T>(learning_rate(at.b, at.g, step));
  }
  store_vector(state.b + j, b);
  store_vector(state.g + j, g);
  store_vector(state.phi_master + j, master);
  store_vector(state.rho + j, rho);
  store_vector(to_phi + j, phi);
  // A test in the loop above doubles its code.
  if (!state.parameters.average_task) store_vector(to_rates + j, rates);
}

template <class T>
__global__ void __launch_bounds__(kMetaThreads)
    update_meta(MetaState state, const double* sums, const MetaWork* work) {
  const std::int64_t j = 2 * global_index();
  if (j == 0) commit_counts(state, *work);
  if (j >= state.n || work->is_idle()) return;
  const MetaStep<double> step = work->step;
  if (j + 2 <= state.n) update_coordinates<2, T>(state, sums, j, step);
  else update_coordinates<1, T>(state, sums, j, step);
}

// ---- sum b and sum g, a segment a block, then one block for the segments ----

// Row 0 of the grid sums b, row 1 g.
__global__ void __launch_bounds__(kSumLanes)
    sum_segments(const double* b, const double* g, std::int64_t n, const MetaWork* work,
                 Twofold<double>* segments) {
  if (work->is_idle()) return;
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
    total_segments(const Twofold<double>* segments, std::int64_t n_segments, MetaWork* work) {
  if (work->is_idle()) return;
  auto* lanes = reinterpret_cast<Twofold<double>*>(shared_memory());
  for (int which = 0; which < 2; ++which) {
    const Twofold<double>* of = segments + which * n_segments;
    const Twofold<double> sum =
        block_lane_sum(n_segments, [&](std::int64_t i) { return of[i]; }, lanes);
    if (threadIdx.x == 0) work->totals[which] = sum.value();
  }
  if (threadIdx.x == 0) work->eta = learning_rate(work->totals[0], work->totals[1], work->step);
}

template <class T>
__global__ void __launch_bounds__(kMetaThreads) fill_rates(MetaState state, const MetaWork* work) {
  const std::int64_t j = global_index();
  if (j < state.n && !work->is_idle()) static_cast<T*>(state.rates)[j] = static_cast<T>(work->eta);
}

}  // namespace aruba_fast::cuda
