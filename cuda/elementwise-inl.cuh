// The step rules over coordinates: 16 bytes of theta a thread.
#pragma once

#include "cpp/rules/step.h"
#include "tuning.h"
#include "vector-inl.cuh"

namespace aruba_fast::cuda {

// One array: n coordinates, in rows of `row` that share the array `first` of the rule's first
// parameter. Null first: its number for all; null state: no statistics.
template <class Rule, class T, class G>
struct Steps {
  T *theta, *state;
  const G* grad;
  const T* first;
  Parameters<Rule, double> numbers;
  std::int64_t n, row;

  // Of a coordinate, but for an array of the first.
  __device__ __forceinline__ void parameters(Parameters<Rule, T>& to) const {
#pragma unroll
    for (int i = 0; i < kParametersOf<Rule>; ++i) to[i] = static_cast<T>(numbers[i]);
  }
};

template <class Rule, class T, class G>
__device__ __forceinline__ void step_one(const Steps<Rule, T, G>& at, std::int64_t i) {
  T theta = at.theta[i];
  State<Rule, T> state = {at.state ? at.state[i] : T(0)};
  Parameters<Rule, T> parameters;
  at.parameters(parameters);
  if (at.first) parameters[0] = at.first[at.row == at.n ? i : i % at.row];
  Rule::step(theta, state, static_cast<T>(widen(at.grad[i])), parameters);
  at.theta[i] = theta;
  if (at.state) at.state[i] = state[0];
}

// The kVector coordinates from i on; i + kVector <= n.
template <class Rule, class T, class G>
__device__ __forceinline__ void step_vector(const Steps<Rule, T, G>& at, std::int64_t i) {
  constexpr int kWidth = kVector<T>;
  T theta[kWidth], grad[kWidth], sum[kWidth] = {}, first[kWidth];
  Parameters<Rule, T> parameters;
  at.parameters(parameters);
  load_vector(at.theta + i, theta);
  load_vector(at.grad + i, grad);
  if (at.state) load_vector(at.state + i, sum);
  if (at.first) {
    const std::int64_t j = at.row == at.n ? i : i % at.row;
    if (j + kWidth <= at.row) {
      load_vector(at.first + j, first);
    } else {
#pragma unroll
      for (int k = 0; k < kWidth; ++k) first[k] = at.first[(j + k) % at.row];
    }
  } else {
#pragma unroll
    for (int k = 0; k < kWidth; ++k) first[k] = parameters[0];
  }
#pragma unroll
  for (int k = 0; k < kWidth; ++k) {
    State<Rule, T> state = {sum[k]};
    parameters[0] = first[k];
    Rule::step(theta[k], state, grad[k], parameters);
    sum[k] = state[0];
  }
  store_vector(at.theta + i, theta);
  if (at.state) store_vector(at.state + i, sum);
}

// The `thread`th vector, counted from the 16-byte boundary at or before theta: the first and the
// last one may be partial.
template <class Rule, class T, class G>
__device__ __forceinline__ void step_at(const Steps<Rule, T, G>& at, std::int64_t thread) {
  constexpr int kWidth = kVector<T>;
  const auto before =
      static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(at.theta) % 16 / sizeof(T));
  const std::int64_t i = thread * kWidth - before;
  if (i >= 0 && i + kWidth <= at.n) {
    step_vector(at, i);
  } else {
#pragma unroll
    for (int k = 0; k < kWidth; ++k)
      if (i + k >= 0 && i + k < at.n) step_one(at, i + k);
  }
}

template <class Rule, class T, class G>
__global__ void __launch_bounds__(kStepThreads) step_array(Steps<Rule, T, G> steps) {
  step_at(steps, global_index());
}

// Columns of the table of arrays; each has an entry for every array.
enum TableColumn { kTheta, kState, kGrad, kFirst, kSize, kRow, kFirstBlock, kTableColumns };

// Many arrays: owners[b] is the array that block b belongs to. Of `steps` the numbers count.
template <class Rule, class T, class G>
__global__ void __launch_bounds__(kStepThreads)
    step_arrays(Steps<Rule, T, G> steps, const std::int64_t* table, const std::int32_t* owners,
                std::int64_t n_arrays) {
  const std::int64_t* entry = table + owners[blockIdx.x];
  const auto value = [&](TableColumn column) { return entry[column * n_arrays]; };
  steps.theta = global_pointer<T>(value(kTheta));
  steps.state = global_pointer<T>(value(kState));
  steps.grad = global_pointer<const G>(value(kGrad));
  steps.first = global_pointer<const T>(value(kFirst));
  steps.n = value(kSize);
  steps.row = value(kRow);
  step_at(steps, (blockIdx.x - value(kFirstBlock)) * kStepThreads + threadIdx.x);
}

}  // namespace aruba_fast::cuda
