// Finds labels that lie outside a loss's domain.
#pragma once

#include "cpp/rules/loss.h"
#include "launch.cuh"
#include "tuning.h"

namespace aruba_fast::cuda {

// The lowest number of a row whose label is none, to *first, which starts above all of them.
template <class T>
__global__ void __launch_bounds__(kMetaThreads)
    find_wrong_label(const T* y, std::int64_t n_rows, Loss loss, double n_classes,
                     unsigned long long* first) {
  const std::int64_t n_threads = static_cast<std::int64_t>(gridDim.x) * kMetaThreads;
  for (std::int64_t i = global_index(); i < n_rows; i += n_threads)
    if (!is_label(loss, y[i], n_classes)) atomicMin(first, static_cast<unsigned long long>(i));
}

}  // namespace aruba_fast::cuda
