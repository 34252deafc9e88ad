// Sums over the tasks of a round: a column of [n_tasks, n] a thread.
//
// Column n, one past the last, is the weight of the tasks and their number. A partial sum of a
// chunk of tasks, and the round's result, are rows of sum_row(n) numbers: six for each column
// (distance, grad_sq, theta; each high, low), then the weight (high, low) and the count.
#pragma once

#include "column-inl.cuh"
#include "launch.cuh"
#include "tuning.h"

namespace aruba_fast::cuda {

__host__ __device__ constexpr std::int64_t sum_row(std::int64_t n) { return 6 * n + 3; }

__device__ __forceinline__ ColumnSums load_sums(const double* at, std::int64_t n, std::int64_t j) {
  return {{at[j], at[n + j]}, {at[2 * n + j], at[3 * n + j]}, {at[4 * n + j], at[5 * n + j]}};
}

__device__ __forceinline__ void store_sums(double* at, std::int64_t n, std::int64_t j,
                                           const ColumnSums& sums) {
  at[j] = sums.distance.high, at[n + j] = sums.distance.low;
  at[2 * n + j] = sums.grad_sq.high, at[3 * n + j] = sums.grad_sq.low;
  at[4 * n + j] = sums.theta.high, at[5 * n + j] = sums.theta.low;
}

struct Weights {
  Twofold<double> weight;
  double count;
};

__device__ __forceinline__ void store_sums(double* at, std::int64_t n, const Weights& sums) {
  at[6 * n] = sums.weight.high, at[6 * n + 1] = sums.weight.low;
  at[6 * n + 2] = sums.count;
}

__device__ __forceinline__ void add(Weights& into, const Weights& other) {
  aruba_fast::add(into.weight, other.weight);
  into.count += other.count;
}

template <class R>
__device__ __forceinline__ Weights sum_weights(const R& round, std::int64_t first,
                                               std::int64_t last) {
  Weights sums = {};
  bool wrong = false;
  for (std::int64_t task = first; task < last; ++task) {
    if (round.skips(task)) continue;
    wrong |= !is_weight(round.weight(task));
    aruba_fast::add(sums.weight, round.weight(task));
    sums.count += 1;
  }
  if (wrong) sums.weight.high = kNan;
  return sums;
}

__device__ __forceinline__ std::int64_t chunk_end(std::int64_t first, std::int64_t n_tasks) {
  return first + kTaskChunk < n_tasks ? first + kTaskChunk : n_tasks;
}

// The flag that the grid waits for; null: it never does.
__device__ __forceinline__ bool is_idle(const unsigned* flag) { return flag && *flag == 0; }

// Every chunk of every column, to its row of `partials`; the grid's rows share the chunks.
template <class T, bool kLimited>
__global__ void __launch_bounds__(kReduceThreads, kTuning.reduce_blocks)
    sum_chunks(Round<T, kLimited> round, const unsigned* wanted, double* partials) {
  if (is_idle(wanted)) return;
  const std::int64_t j = global_index(), n_tasks = round.n_tasks, n = round.n,
                     n_chunks = (n_tasks + kTaskChunk - 1) / kTaskChunk;
  if (j > n) return;
  for (std::int64_t chunk = blockIdx.y; chunk < n_chunks; chunk += gridDim.y) {
    const std::int64_t first = chunk * kTaskChunk, last = chunk_end(first, n_tasks);
    double* row = partials + chunk * sum_row(n);
    if (j < n) {
      store_sums(row, n, j, sum_column<kTasksAtOnce<T>>(round, first, last, j));
    } else {
      store_sums(row, n, sum_weights(round, first, last));
    }
  }
}

// Where the sums of a round go before they are those of the statistics.
struct Result {
  double* sums;            // sum_row(n) numbers
  const unsigned* wanted;  // the flag that the grid waits for; null: none
  unsigned* not_finite;    // raised where a task may not count; null: nobody asks

  __device__ __forceinline__ void store(std::int64_t n, std::int64_t j,
                                        const ColumnSums& column) const {
    store_sums(sums, n, j, column);
    if (not_finite && !surely_count(column)) atomicOr(not_finite, 1U);
  }
  __device__ __forceinline__ void store(std::int64_t n, const Weights& weights) const {
    store_sums(sums, n, weights);
    if (not_finite && !is_finite(weights.weight.high)) atomicOr(not_finite, 1U);
  }
};

// `into` plus all chunks in order, to `result`.
template <class T, bool kLimited>
__global__ void __launch_bounds__(kReduceThreads, kTuning.reduce_blocks)
    sum_columns(Round<T, kLimited> round, DeviceStatistics into, Result result) {
  if (is_idle(result.wanted)) return;
  const std::int64_t j = global_index(), n_tasks = round.n_tasks, n = round.n;
  if (j < n) {
    ColumnSums sums = load_sums(into.sums, n, j);
    for (std::int64_t first = 0; first < n_tasks; first += kTaskChunk)
      add(sums, sum_column<kTasksAtOnce<T>>(round, first, chunk_end(first, n_tasks), j));
    result.store(n, j, sums);
  } else if (j == n) {
    Weights sums = {{into.weight[0], into.weight[1]}, 0};
    for (std::int64_t first = 0; first < n_tasks; first += kTaskChunk)
      add(sums, sum_weights(round, first, chunk_end(first, n_tasks)));
    result.store(n, sums);
  }
}

// The same from the partial sums of the chunks, which are on their way several at a time.
__global__ void __launch_bounds__(kReduceThreads)
    merge_chunks(const double* partials, std::int64_t n_chunks, std::int64_t n,
                 DeviceStatistics into, Result result) {
  if (is_idle(result.wanted)) return;
  const std::int64_t j = global_index(), row = sum_row(n);
  if (j < n) {
    ColumnSums sums = load_sums(into.sums, n, j);
    for (std::int64_t chunk = 0; chunk < n_chunks; chunk += kChunksAtOnce) {
      ColumnSums parts[kChunksAtOnce] = {};
#pragma unroll
      for (int k = 0; k < kChunksAtOnce; ++k)
        if (chunk + k < n_chunks) parts[k] = load_sums(partials + k * row, n, j);
#pragma unroll
      for (int k = 0; k < kChunksAtOnce; ++k)
        if (chunk + k < n_chunks) add(sums, parts[k]);
      partials += kChunksAtOnce * row;
    }
    result.store(n, j, sums);
  } else if (j == n) {
    Weights sums = {{into.weight[0], into.weight[1]}, 0};
    for (std::int64_t chunk = 0; chunk < n_chunks; ++chunk) {
      const double* at = partials + chunk * row + 6 * n;
      add(sums, Weights{{at[0], at[1]}, at[2]});
    }
    result.store(n, sums);
  }
}

// Raises the flag of every task that does not count; the grid's rows share the tasks.
template <class T, bool kLimited>
__global__ void __launch_bounds__(kReduceThreads)
    find_not_finite(Round<T, kLimited> round, const unsigned* wanted, unsigned* flags) {
  if (is_idle(wanted)) return;
  const std::int64_t n_tasks = round.n_tasks, n = round.n;
  const std::int64_t n_threads = static_cast<std::int64_t>(gridDim.x) * kReduceThreads;
  for (std::int64_t task = blockIdx.y; task < n_tasks; task += gridDim.y) {
    if (!is_finite(round.shortening(task))) {
      if (global_index() == 0) atomicOr(&flags[task], 1U);
      continue;
    }
    for (std::int64_t j = global_index(); j < n; j += n_threads) {
      const std::int64_t i = task * n + j;
      const double weight = round.weight(task);
      if (!counts(round.theta_hat[i], round.phi[j], round.grad_sq[i], weight) || !is_weight(weight))
        atomicOr(&flags[task], 1U);
    }
  }
}

// Which tasks of a round do not count.
struct SkippedTasks {
  std::int64_t n;
  const unsigned *any, *flags;  // flags of tasks, that hold where `any` is not zero
  std::uint8_t* skipped;        // gets them; null: nobody asks
};

// The result becomes the statistics.
__global__ void __launch_bounds__(kReduceThreads)
    commit_sums(const double* result, std::int64_t n, SkippedTasks tasks, DeviceStatistics into) {
  const std::int64_t n_threads = static_cast<std::int64_t>(gridDim.x) * kReduceThreads;
  for (std::int64_t i = global_index(); i < 6 * n; i += n_threads) into.sums[i] = result[i];
  if (tasks.skipped)
    for (std::int64_t i = global_index(); i < tasks.n; i += n_threads)
      tasks.skipped[i] = !is_idle(tasks.any) && tasks.flags[i];
  if (global_index() != 0) return;
  into.weight[0] = result[6 * n], into.weight[1] = result[6 * n + 1];
  const auto n_finite = static_cast<std::int64_t>(result[6 * n + 2]);
  into.counts[0] += n_finite;
  into.counts[1] += tasks.n - n_finite;
}

}  // namespace aruba_fast::cuda
