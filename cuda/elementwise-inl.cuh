// The step rules over coordinates: 16 bytes of theta a thread.
#pragma once

#include "cpp/rules/step.h"
#include "tuning.h"
#include "vector-inl.cuh"

namespace aruba_fast::cuda {

// One array: n coordinates, in rows of `row` that share their rates. Null rates: `rate` for all;
// null state: no statistics.
template <class T, class G>
struct Steps {
  T *theta, *state;
  const G* grad;
  const T* rates;
  T rate, damping;
  std::int64_t n, row;
};

template <class Rule, class T, class G>
__device__ __forceinline__ void step_one(const Steps<T, G>& at, std::int64_t i) {
  T theta = at.theta[i], sum = at.state ? at.state[i] : T(0);
  const T rate = at.rates ? at.rates[at.row == at.n ? i : i % at.row] : at.rate;
  Rule::step(theta, sum, static_cast<T>(widen(at.grad[i])), rate, at.damping);
  at.theta[i] = theta;
  if (at.state) at.state[i] = sum;
}

// The kVector coordinates from i on; i + kVector <= n.
template <class Rule, class T, class G>
__device__ __forceinline__ void step_vector(const Steps<T, G>& at, std::int64_t i) {
  constexpr int kWidth = kVector<T>;
  T theta[kWidth], grad[kWidth], sum[kWidth] = {}, rate[kWidth];
  load_vector(at.theta + i, theta);
  load_vector(at.grad + i, grad);
  if (at.state) load_vector(at.state + i, sum);
  if (at.rates) {
    const std::int64_t j = at.row == at.n ? i : i % at.row;
    if (j + kWidth <= at.row) {
      load_vector(at.rates + j, rate);
    } else {
#pragma unroll
      for (int k = 0; k < kWidth; ++k) rate[k] = at.rates[(j + k) % at.row];
    }
  } else {
#pragma unroll
    for (int k = 0; k < kWidth; ++k) rate[k] = at.rate;
  }
#pragma unroll
  for (int k = 0; k < kWidth; ++k) Rule::step(theta[k], sum[k], grad[k], rate[k], at.damping);
  store_vector(at.theta + i, theta);
  if (at.state) store_vector(at.state + i, sum);
}

// The `thread`th vector, counted from the 16-byte boundary at or before theta: the first and the
// last one may be partial.
template <class Rule, class T, class G>
__device__ __forceinline__ void step_at(const Steps<T, G>& at, std::int64_t thread) {
  constexpr int kWidth = kVector<T>;
  const auto before =
      static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(at.theta) % 16 / sizeof(T));
  const std::int64_t i = thread * kWidth - before;
  if (i >= 0 && i + kWidth <= at.n) {
    step_vector<Rule>(at, i);
  } else {
#pragma unroll
    for (int k = 0; k < kWidth; ++k)
      if (i + k >= 0 && i + k < at.n) step_one<Rule>(at, i + k);
  }
}

template <class Rule, class T, class G>
__global__ void __launch_bounds__(kStepThreads)
    step_array(T* theta, T* state, const G* grad, const T* rates, double rate, double damping,
               std::int64_t n, std::int64_t row) {
  const Steps<T, G> at = {theta, state, grad, rates, static_cast<T>(rate), static_cast<T>(damping),
                          n,     row};
  step_at<Rule>(at, global_index());
}

// Columns of the table of arrays; each has an entry for every array.
enum TableColumn { kTheta, kState, kGrad, kRates, kSize, kRow, kFirstBlock, kTableColumns };

// Many arrays: owners[b] is the array that block b belongs to.
template <class Rule, class T, class G>
__global__ void __launch_bounds__(kStepThreads)
    step_arrays(const std::int64_t* table, const std::int32_t* owners, std::int64_t n_arrays,
                double rate, double damping) {
  const std::int64_t* entry = table + owners[blockIdx.x];
  const auto value = [&](TableColumn column) { return entry[column * n_arrays]; };
  const Steps<T, G> at = {global_pointer<T>(value(kTheta)),
                          global_pointer<T>(value(kState)),
                          global_pointer<const G>(value(kGrad)),
                          global_pointer<const T>(value(kRates)),
                          static_cast<T>(rate),
                          static_cast<T>(damping),
                          value(kSize),
                          value(kRow)};
  step_at<Rule>(at, (blockIdx.x - value(kFirstBlock)) * kStepThreads + threadIdx.x);
}

}  // namespace aruba_fast::cuda
