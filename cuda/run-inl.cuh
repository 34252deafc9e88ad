// What the kernels of both task engines are told: a round of tasks, and the rows of each.
#pragma once

#include "cpp/rules/loss.h"
#include "cpp/rules/step.h"
#include "cpp/widening.h"
#include "launch.cuh"

namespace aruba_fast::cuda {

// One parameter of a rule: a number for every coordinate or, without an array, one for all.
template <class T>
struct PerCoordinate {
  const T* array;
  std::int64_t step;  // 0: the array's first number is that of every coordinate
  T number;

  __device__ __forceinline__ T at(std::int64_t j) const {
    if (!array) return number;
#if defined(__CUDACC__)
    // Of a plain load and the number the compiler makes one load from anywhere.
    return __ldg(array + j * step);
#else
    return array[j * step];
#endif
  }
};

// What the kernels are told of a round of tasks.
template <class T>
struct TaskRun {
  const unsigned char* x;  // numbers, or what `widening` makes numbers of
  std::int64_t row_bytes;
  Widening widening;
  const T* y;
  const std::int64_t *starts, *stops, *order;  // null order: 0, 1, 2, ...
  std::int64_t n_tasks, n_features;
  int n_outputs;
  const T* phi;
  std::int64_t phi_stride;
  PerCoordinate<T> parameters[kMostParameters];
  Loss loss_kind;
  std::int64_t batch_size, n_epochs;
  T radius;       // 0: unbounded
  bool one_rate;  // of all coordinates: the projection is Euclidean
  T *theta_hat, *grad_sq, *theta_bar;
  double* loss;
};

// The rows of the task that a team runs.
struct TaskRows {
  std::int64_t first, n;

  template <class T>
  __device__ TaskRows(const TaskRun<T>& run, std::int64_t position) {
    const std::int64_t task = run.order ? run.order[position] : position;
    first = run.starts[task];
    n = run.stops[task] - first;
  }
};

}  // namespace aruba_fast::cuda
