// Finds labels that lie outside a loss's domain.
#pragma once

#include "cpp/rules/loss.h"
#include "launch.cuh"
#include "tuning.h"

namespace aruba_fast::cuda {

// As the domains in cpp/ops_checks.cpp.
__device__ __forceinline__ bool is_label(Loss loss, double y, double n_classes) {
  switch (loss) {
    case Loss::kLogistic:
      return y == 0 || y == 1;
    case Loss::kHinge:
      return y == -1 || y == 1;
    case Loss::kSoftmax:
      return y >= 0 && y < n_classes && y == static_cast<double>(static_cast<std::int64_t>(y));
    default:
      return true;
  }
}

// The lowest number of a row whose label is none, to *first; it starts at the number of rows.
template <class T>
__global__ void __launch_bounds__(kMetaThreads)
    find_wrong_label(const T* y, std::int64_t n_rows, int loss, double n_classes,
                     unsigned long long* first) {
  const std::int64_t n_threads = static_cast<std::int64_t>(gridDim.x) * kMetaThreads;
  for (std::int64_t i = global_index(); i < n_rows; i += n_threads)
    if (!is_label(static_cast<Loss>(loss), y[i], n_classes))
      atomicMin(first, static_cast<unsigned long long>(i));
}

}  // namespace aruba_fast::cuda
