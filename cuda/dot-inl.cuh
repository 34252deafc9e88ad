// Teams of threads that run one task, and their sums along its coordinates, in the order of
// cpp/dot-inl.h: 32 lanes folded 16-8-4-2-1, segments in order.
#pragma once

#include "cpp/rules/sums.h"
#include "launch.cuh"

namespace aruba_fast::cuda {

constexpr int kWarp = kLanes;

// The sum of kLanes neighbouring lanes, to each of them. Of 32 lanes in all, those beyond kLanes
// hold zero: left out, they change nothing but the sign of a zero, which the last step settles.
template <int kLanes, class T>
__device__ __forceinline__ T fold(T v, unsigned mask) {
#pragma unroll
  for (int bits = kLanes / 2; bits > 0; bits /= 2) v = v + __shfl_xor_sync(mask, v, bits);
  return v + T(0);
}

// cpp/rules/sums.h by a whole warp, a lane a thread: the sum of term(load(begin)), ..., to each of
// them. What is loaded is on its way kAtOnce at a time.
template <int kAtOnce, class Load, class Term>
__device__ __forceinline__ double warp_sum(std::int64_t begin, std::int64_t end, Load load,
                                           Term term) {
  double sum = 0;
  for (std::int64_t i = begin + threadIdx.x % kWarp; i < end; i += kAtOnce * kWarp) {
    const auto n_left = static_cast<int>(end - i);  // asked for where there are few
    decltype(load(i)) loaded[kAtOnce] = {};
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k)
      if (k == 0 || k * kWarp < n_left) loaded[k] = load(i + k * kWarp);
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k)
      if (k == 0 || k * kWarp < n_left) sum = sum + term(loaded[k]);
  }
  return fold<kWarp>(sum, 0xffffffffU);
}

// The sum of term(begin), ..., of any number of them.
template <class Term>
__device__ __forceinline__ double warp_sum(std::int64_t begin, std::int64_t end, Term term) {
  return warp_sum<1>(begin, end, term, [](double each) { return each; });
}

// kLanes lanes of a warp: coordinates up to kLanes, or up to a segment for a whole warp. The teams
// of a warp go their own ways.
template <class T, int kLanes>
class WarpTeam {
 public:
  __device__ explicit WarpTeam(T*)
      : mask_(kLanes == kWarp
                  ? 0xffffffffU
                  : ((1U << kLanes % kWarp) - 1) << (threadIdx.x % kWarp / kLanes * kLanes)) {}
  __device__ static std::int64_t number() { return global_index() / kLanes; }
  __device__ static int first_coordinate() { return static_cast<int>(threadIdx.x) % kLanes; }
  __device__ T sum(T v) { return fold<kLanes>(v, mask_); }

 private:
  unsigned mask_;
};

// A block, a segment a warp.
template <class T>
class BlockTeam {
 public:
  // `slots`: shared memory for two numbers a warp.
  __device__ explicit BlockTeam(T* slots) : slots_(slots) {}
  __device__ static std::int64_t number() { return blockIdx.x; }
  __device__ static int first_coordinate() {
    return static_cast<int>(threadIdx.x) / kWarp * kSegment + static_cast<int>(threadIdx.x) % kWarp;
  }
  __device__ T sum(T v) {
    const T part = fold<kWarp>(v, 0xffffffffU);
    const int n_warps = static_cast<int>(blockDim.x) / kWarp;
    T* slots = slots_ + turn_ * n_warps;
    // The next sum takes the other slots: whoever is there has seen everybody past this barrier.
    turn_ = 1 - turn_;
    if (threadIdx.x % kWarp == 0) slots[threadIdx.x / kWarp] = part;
    __syncthreads();
    T total(0);
    for (int warp = 0; warp < n_warps; ++warp) total = total + slots[warp];
    return total;
  }

 private:
  T* slots_;
  int turn_ = 0;
};

}  // namespace aruba_fast::cuda
