// Accesses of 16 bytes to arrays that may begin anywhere, and the widening of half precision.
#pragma once

#include "cpp/half.h"
#include "launch.cuh"

namespace aruba_fast::cuda {

template <class T>
constexpr int kVector = 16 / static_cast<int>(sizeof(T));

__device__ __forceinline__ float widen(float a) { return a; }
__device__ __forceinline__ double widen(double a) { return a; }
__device__ __forceinline__ float widen(BFloat16 a) {
  return widen_bfloat16<float>(std::uint32_t{a.bits});
}
__device__ __forceinline__ float widen(Float16 a) {
  return widen_float16<float>(std::uint32_t{a.bits});
}

// kVector numbers in one access where they are aligned; other counts one by one.
template <class T>
__device__ __forceinline__ void load_vector(const T* p, T (&to)[1]) {
  to[0] = p[0];
}
template <class T>
__device__ __forceinline__ void store_vector(T* p, const T (&from)[1]) {
  p[0] = from[0];
}
__device__ __forceinline__ void load_vector(const float* p, float (&to)[4]) {
  if (reinterpret_cast<std::uintptr_t>(p) % 16 == 0) {
    const float4 v = *reinterpret_cast<const float4*>(p);
    to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
  } else {
#pragma unroll
    for (int k = 0; k < 4; ++k) to[k] = p[k];
  }
}
__device__ __forceinline__ void load_vector(const float* p, float (&to)[2]) {
  to[0] = p[0], to[1] = p[1];
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
// Plain stores of vectors end as several smaller ones, shared with the other branch.
__device__ __forceinline__ void store_vector(float* p, const float (&from)[4]) {
  if (reinterpret_cast<std::uintptr_t>(p) % 16 == 0) {
#if defined(__CUDACC__)
    __stwb(reinterpret_cast<float4*>(p), make_float4(from[0], from[1], from[2], from[3]));
#else
    *reinterpret_cast<float4*>(p) = {from[0], from[1], from[2], from[3]};
#endif
  } else {
#pragma unroll
    for (int k = 0; k < 4; ++k) p[k] = from[k];
  }
}
__device__ __forceinline__ void store_vector(float* p, const float (&from)[2]) {
  p[0] = from[0], p[1] = from[1];
}
__device__ __forceinline__ void store_vector(double* p, const double (&from)[2]) {
  if (reinterpret_cast<std::uintptr_t>(p) % 16 == 0) {
#if defined(__CUDACC__)
    __stwb(reinterpret_cast<double2*>(p), make_double2(from[0], from[1]));
#else
    *reinterpret_cast<double2*>(p) = {from[0], from[1]};
#endif
  } else {
    p[0] = from[0], p[1] = from[1];
  }
}

}  // namespace aruba_fast::cuda
