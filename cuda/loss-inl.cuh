// The compensated sum of a task's losses.
#pragma once

#include "cpp/rules/loss.h"
#include "launch.cuh"

namespace aruba_fast::cuda {

// Kahan's sum, in the order of cpp/loss-inl.h.
template <class T>
struct Compensated {
  T sum = T(0), error = T(0);

  __device__ __forceinline__ void add(T loss) {
    const T term = loss - error, next = sum + term;
    error = (next - sum) - term;
    sum = next;
  }
  __device__ __forceinline__ double value() const {
    return static_cast<double>(sum) - static_cast<double>(error);
  }
};

}  // namespace aruba_fast::cuda
