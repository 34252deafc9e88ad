// Between the arrays of a compiled program of JAX, where float64 may be a pair of float32, and
// those of the kernels: a coordinate a thread.
#pragma once

#include "launch.cuh"
#include "ops_jax.h"
#include "tuning.h"

namespace aruba_fast::cuda {

// ---- numbers ----

constexpr double kMostFloat = 0x1.fffffep127, kMostDouble = 0x1.fffffffffffffp1023;

__device__ __forceinline__ double number_at(const void* memory, bool is_double, std::int64_t i) {
  return is_double ? static_cast<const double*>(memory)[i]
                   : static_cast<double>(static_cast<const float*>(memory)[i]);
}

__device__ __forceinline__ double within(double x, double least, double most) {
  x = x < least ? least : x;
  return most < x ? most : x;
}

// One double; a pair of float32 is their sum.
__device__ __forceinline__ double load(const Wide& from, std::int64_t i) {
  const double high = number_at(from.high, from.is_double, i);
  return from.is_double || !from.low ? high : high + number_at(from.low, false, i);
}

// Within least and most, which are those of pairs of float32.
__device__ __forceinline__ void store(const Wide& to, std::int64_t i, double x, double least,
                                      double most) {
  if (to.is_double) {
    static_cast<double*>(to.high)[i] = x;
    return;
  }
  x = within(x, least, most);
  const auto high = static_cast<float>(x), rest = static_cast<float>(x - double{high});
  // Half an ulp, rounded up to, would let the sum round to another high part.
  const bool is_its_own = static_cast<float>(double{high} + double{rest}) == high;
  static_cast<float*>(to.high)[i] = high;
  static_cast<float*>(to.low)[i] = is_its_own ? rest : rest * (1 - 0x1p-24F);
}

__device__ __forceinline__ Twofold<double> load_pair(const Wide& from, std::int64_t i) {
  Twofold<double> x = {0, 0};
  aruba_fast::add(x, number_at(from.high, from.is_double, i));
  aruba_fast::add(x, number_at(from.low, from.is_double, i));
  return x;
}

__device__ __forceinline__ void store_pair(const Wide& to, Twofold<double> x) {
  if (to.is_double) {
    *static_cast<double*>(to.high) = x.high;
    *static_cast<double*>(to.low) = x.low;
    return;
  }
  const auto high = static_cast<float>(x.value());
  *static_cast<float*>(to.high) = high;
  *static_cast<float*>(to.low) = static_cast<float>(x.value() - double{high});
}

__device__ __forceinline__ std::int64_t load_count(const void* memory, bool is_64_bits) {
  return is_64_bits ? *static_cast<const std::int64_t*>(memory)
                    : std::int64_t{*static_cast<const std::int32_t*>(memory)};
}

__device__ __forceinline__ void store_count(void* memory, bool is_64_bits, std::int64_t x) {
  if (is_64_bits) *static_cast<std::int64_t*>(memory) = x;
  else *static_cast<std::int32_t*>(memory) = static_cast<std::int32_t>(x);
}

// Of float32 or of float64, whichever `wide` is.
__device__ __forceinline__ double largest_of(const Wide& wide) {
  return wide.is_double ? kMostDouble : kMostFloat;
}

__device__ __forceinline__ double load_limit(const Wide& from) {
  const double limit = number_at(from.high, from.is_double, 0);
  return limit >= largest_of(from) ? __builtin_inf() : limit;
}

// ---- the sums of a round ----

// Weights and limit as add_round takes them; what is no weight becomes nan, so that its task is
// left out.
__global__ void __launch_bounds__(kMetaThreads)
    load_tasks(JaxTasks tasks, double* weights, double* limit) {
  const std::int64_t i = global_index();
  if (i == 0 && tasks.is_limited) *limit = load_limit(tasks.limit);
  if (i >= tasks.n_tasks) return;
  const bool is_double = tasks.weights.is_double;
  const double w = number_at(tasks.weights.high, is_double, i),
               least = is_double ? kLeastWeight : double{1e-30F},
               most = is_double ? kMostWeight : double{1e30F};
  weights[i] = w == 0 || (w >= least && w <= most) ? w : __builtin_nan("");
}

// Raises `far` where float32 has no room for a sum.
__global__ void __launch_bounds__(kMetaThreads)
    find_far_sums(const double* sums, std::int64_t n, unsigned* far) {
  const std::int64_t j = global_index();
  if (j >= n) return;
  bool fits = true;
#pragma unroll
  for (int row = 0; row < 6; row += 2) {
    const double x = sums[row * n + j];
    fits &= x >= -kMostFloat && x <= kMostFloat;
  }
  if (!fits) atomicOr(far, 1U);
}

// Raises a task's flag where float32 has no room for what it adds; the grid's rows share the tasks.
template <class T>
__global__ void __launch_bounds__(kMetaThreads)
    find_far_tasks(JaxTasks tasks, const double* weights, const unsigned* far, unsigned* flags) {
  if (*far == 0) return;
  const std::int64_t n_threads = static_cast<std::int64_t>(gridDim.x) * kMetaThreads;
  for (std::int64_t task = blockIdx.y; task < tasks.n_tasks; task += gridDim.y) {
    for (std::int64_t j = global_index(); j < tasks.n; j += n_threads) {
      const std::int64_t i = task * tasks.n + j;
      const double theta = static_cast<const T*>(tasks.theta_hat)[i],
                   square = static_cast<const T*>(tasks.grad_sq)[i],
                   phi = static_cast<const T*>(tasks.phi)[j], weighted = weights[task] * theta;
      if (!(half_square_distance(theta, phi) <= kMostFloat && square <= kMostFloat &&
            weighted <= kMostFloat && weighted >= -kMostFloat))
        atomicOr(&flags[task], 1U);
    }
  }
}

__global__ void __launch_bounds__(kMetaThreads)
    refuse_far_tasks(const unsigned* far, const unsigned* flags, std::int64_t n_tasks,
                     double* weights) {
  const std::int64_t task = global_index();
  if (task < n_tasks && *far && flags[task]) weights[task] = __builtin_nan("");
}

__global__ void __launch_bounds__(kMetaThreads)
    store_round(DeviceStatistics from, std::int64_t n, JaxSums into) {
  const std::int64_t j = global_index();
  if (j == 0) {
    store_pair(into.weight, {from.weight[0], from.weight[1]});
    store_count(into.counts.n_tasks, into.counts.are_64_bits, from.counts[0]);
    store_count(into.counts.n_skipped, into.counts.are_64_bits, from.counts[1]);
  }
  if (j >= n) return;
#pragma unroll
  for (int k = 0; k < 3; ++k) {
    const double high = from.sums[2 * k * n + j], low = from.sums[(2 * k + 1) * n + j];
    const Wide& to = into.columns[k];
    if (to.is_double) {
      static_cast<double*>(to.high)[j] = high;
      static_cast<double*>(to.low)[j] = low;
    } else {
      const double x = within(high, -kMostFloat, kMostFloat);
      const auto rounded = static_cast<float>(x);
      static_cast<float*>(to.high)[j] = rounded;
      static_cast<float*>(to.low)[j] = static_cast<float>(x - double{rounded});
    }
  }
}

__global__ void __launch_bounds__(kMetaThreads)
    load_round(JaxSums from, std::int64_t n, DeviceStatistics into) {
  const std::int64_t j = global_index();
  if (j == 0) {
    const Twofold<double> weight = load_pair(from.weight, 0);
    into.weight[0] = weight.high, into.weight[1] = weight.low;
    into.counts[0] = load_count(from.counts.n_tasks, from.counts.are_64_bits);
    into.counts[1] = load_count(from.counts.n_skipped, from.counts.are_64_bits);
  }
  if (j >= n) return;
#pragma unroll
  for (int k = 0; k < 3; ++k) {
    const Wide& column = from.columns[k];
    into.sums[2 * k * n + j] = load(column, j);
    into.sums[(2 * k + 1) * n + j] = column.is_double ? number_at(column.low, true, j) : 0.0;
  }
}

// ---- a learner ----

// The numbers of a learner as the kernels have them.
struct LearnerNumbers {
  double weight[2], limit, step;
  std::int64_t counts[2];
};

// Where they are, and its arrays; what the program has in the same form is the program's memory.
struct LearnerPlaces {
  LearnerNumbers* numbers;
  double *b, *g, *master, *rho;
  void *phi, *rates;
};

// The first coordinate that a rate of the program belongs to.
__device__ __forceinline__ std::int64_t begin_of(const JaxState& state, std::int64_t rate) {
  return state.n_rates == 1 ? 0 : state.tensors.begins[rate];
}

template <class T>
__global__ void __launch_bounds__(kMetaThreads)
    load_learner(JaxState state, Wide step, LearnerPlaces to) {
  const std::int64_t j = global_index();
  if (j == 0) {
    LearnerNumbers& numbers = *to.numbers;
    const Twofold<double> weight = load_pair(state.weight, 0);
    numbers.weight[0] = weight.high, numbers.weight[1] = weight.low;
    numbers.limit = load_limit(state.limit);
    if (step.high) numbers.step = load_pair(step, 0).value();
    numbers.counts[0] = load_count(state.counts.n_tasks, state.counts.are_64_bits);
    numbers.counts[1] = load_count(state.counts.n_skipped, state.counts.are_64_bits);
  }
  if (j >= state.n) return;
  const double master = load(state.phi, j);
  static_cast<T*>(to.phi)[j] = static_cast<T>(master);
  if (!state.phi.is_double) {
    to.b[j] = load(state.b, j);
    to.g[j] = load(state.g, j);
    to.master[j] = master;
  }
  if (to.rates == state.rates) return;
  std::int64_t own = 0, beyond = state.n_rates;
  while (beyond - own > 1) {
    const std::int64_t middle = (own + beyond) / 2;
    (begin_of(state, middle) <= j ? own : beyond) = middle;
  }
  static_cast<T*>(to.rates)[j] = static_cast<const T*>(state.rates)[own];
}

// Whether the round was learned from; until store_numbers.
__device__ __forceinline__ bool has_learned(const JaxState& state, const LearnerPlaces& from) {
  return from.numbers->counts[0] != load_count(state.counts.n_tasks, state.counts.are_64_bits);
}

template <class T>
__global__ void __launch_bounds__(kMetaThreads) store_learner(JaxState state, LearnerPlaces from) {
  const std::int64_t j = global_index();
  if (from.rates != state.rates && j < state.n_rates)
    static_cast<T*>(state.rates)[j] = static_cast<const T*>(from.rates)[begin_of(state, j)];
  if (j >= state.n || !has_learned(state, from)) return;
  if (!state.phi.is_double) {
    store(state.b, j, from.b[j], state.least, state.most_b);
    store(state.g, j, from.g[j], state.least, state.most_g);
    store(state.phi, j, from.master[j], -kMostDouble, kMostDouble);
  }
  // -1 for what has none.
  const double ratio = from.rho[j], most = largest_of(state.rho);
  const double rho = ratio >= 0 && is_finite(ratio) ? (most < ratio ? most : ratio) : -1.0;
  if (state.rho.is_double) static_cast<double*>(state.rho.high)[j] = rho;
  else static_cast<float*>(state.rho.high)[j] = static_cast<float>(rho);
}

__global__ void __launch_bounds__(1) store_numbers(JaxState state, LearnerPlaces from) {
  const LearnerNumbers& numbers = *from.numbers;
  if (has_learned(state, from)) store_pair(state.weight, {numbers.weight[0], numbers.weight[1]});
  store_count(state.counts.n_tasks, state.counts.are_64_bits, numbers.counts[0]);
  store_count(state.counts.n_skipped, state.counts.are_64_bits, numbers.counts[1]);
  const double most = largest_of(state.limit), limit = most < numbers.limit ? most : numbers.limit;
  if (state.limit.is_double) *static_cast<double*>(state.limit.high) = limit;
  else *static_cast<float*>(state.limit.high) = static_cast<float>(limit);
}

}  // namespace aruba_fast::cuda
