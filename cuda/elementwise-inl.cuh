// The step rules over coordinates: 16 bytes of theta a thread.
#pragma once

#include "cpp/half.h"
#include "cpp/rules/step.h"
#include "launch.cuh"
#include "tuning.h"

namespace aruba_fast::cuda {

template <class T>
constexpr int kVector = 16 / static_cast<int>(sizeof(T));

__device__ __forceinline__ float widen(float a) { return a; }
__device__ __forceinline__ double widen(double a) { return a; }
__device__ __forceinline__ float widen(BFloat16 a) {
  return from_bits<float>(static_cast<std::uint32_t>(a.bits) << 16);
}
// Exponent and mantissa are shifted into place, and a multiplication by 2^112 corrects the bias,
// subnormals included.
__device__ __forceinline__ float widen(Float16 a) {
  const std::uint32_t bits = a.bits, magnitude = (bits & 0x7fffU) << 13;
  const float value = (bits & 0x7c00U) == 0x7c00U ? from_bits<float>(magnitude | 0x7f800000U)
                                                  : from_bits<float>(magnitude) * 0x1p112F;
  return from_bits<float>(static_cast<std::uint32_t>(to_bits(value)) | (bits & 0x8000U) << 16);
}

// As many numbers as kVector of theta's type, in one access where they are aligned.
__device__ __forceinline__ void load_vector(const float* p, float (&to)[4]) {
  if (reinterpret_cast<std::uintptr_t>(p) % 16 == 0) {
    const float4 v = *reinterpret_cast<const float4*>(p);
    to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
  } else {
#pragma unroll
    for (int k = 0; k < 4; ++k) to[k] = p[k];
  }
}
__device__ __forceinline__ void load_vector(const double* p, double (&to)[2]) {
  if (reinterpret_cast<std::uintptr_t>(p) % 16 == 0) {
    const double2 v = *reinterpret_cast<const double2*>(p);
    to[0] = v.x, to[1] = v.y;
  } else {
    to[0] = p[0], to[1] = p[1];
  }
}
template <class Half>
__device__ __forceinline__ void load_vector(const Half* p, float (&to)[4]) {
  if (reinterpret_cast<std::uintptr_t>(p) % 8 == 0) {
    const ushort4 v = *reinterpret_cast<const ushort4*>(p);
    to[0] = widen(Half{v.x}), to[1] = widen(Half{v.y});
    to[2] = widen(Half{v.z}), to[3] = widen(Half{v.w});
  } else {
#pragma unroll
    for (int k = 0; k < 4; ++k) to[k] = widen(p[k]);
  }
}
__device__ __forceinline__ void store_vector(float* p, const float (&from)[4]) {
  if (reinterpret_cast<std::uintptr_t>(p) % 16 == 0) {
    *reinterpret_cast<float4*>(p) = {from[0], from[1], from[2], from[3]};
  } else {
#pragma unroll
    for (int k = 0; k < 4; ++k) p[k] = from[k];
  }
}
__device__ __forceinline__ void store_vector(double* p, const double (&from)[2]) {
  if (reinterpret_cast<std::uintptr_t>(p) % 16 == 0) {
    *reinterpret_cast<double2*>(p) = {from[0], from[1]};
  } else {
    p[0] = from[0], p[1] = from[1];
  }
}

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
  const Steps<T, G> at = {reinterpret_cast<T*>(value(kTheta)),
                          reinterpret_cast<T*>(value(kState)),
                          reinterpret_cast<const G*>(value(kGrad)),
                          reinterpret_cast<const T*>(value(kRates)),
                          static_cast<T>(rate),
                          static_cast<T>(damping),
                          value(kSize),
                          value(kRow)};
  step_at<Rule>(at, (blockIdx.x - value(kFirstBlock)) * kStepThreads + threadIdx.x);
}

}  // namespace aruba_fast::cuda
