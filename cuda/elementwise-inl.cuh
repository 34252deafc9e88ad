// The step rules over coordinates: 16 bytes of theta a thread.
#pragma once

#include <type_traits>

#include "cpp/rules/step.h"
#include "tuning.h"
#include "vector-inl.cuh"

namespace aruba_fast::cuda {

// One array: n coordinates, in rows of `row` that share the array `first` of the rule's first
// parameter, of type F. Null first: its number for all; null state: no statistics.
template <class Rule, class T, class G, class F>
struct Steps {
  T *theta, *state;
  const G* grad;
  const F* first;
  Parameters<Rule, double> numbers;
  std::int64_t n, row;

  // Of a coordinate, but for an array of the first.
  __device__ __forceinline__ void parameters(Parameters<Rule, T>& to) const {
#pragma unroll
    for (int i = 0; i < kParametersOf<Rule>; ++i) to[i] = static_cast<T>(numbers[i]);
  }
  // Where F is not T there always is one.
  __device__ __forceinline__ bool has_first() const { return !std::is_same_v<T, F> || first; }
};

// The numbers of a vector that an array has: kWidth from i on, but for those beyond either end.
struct Span {
  std::int64_t i, n;
  bool is_whole;
  __device__ __forceinline__ bool has(int k) const { return i + k >= 0 && i + k < n; }
};
template <class N, class T, int kWidth>
__device__ __forceinline__ void load_span(const N* from, T (&to)[kWidth], const Span& span) {
  if (span.is_whole) {
    load_vector(from + span.i, to);
  } else {
#pragma unroll
    for (int k = 0; k < kWidth; ++k)
      to[k] = span.has(k) ? static_cast<T>(widen(from[span.i + k])) : T(0);
  }
}
template <class T, int kWidth>
__device__ __forceinline__ void store_span(T* to, const T (&from)[kWidth], const Span& span) {
  if (span.is_whole) {
    store_vector(to + span.i, from);
  } else {
#pragma unroll
    for (int k = 0; k < kWidth; ++k)
      if (span.has(k)) to[span.i + k] = from[k];
  }
}

// The `thread`th vector, counted from the 16-byte boundary at or before theta. The first and the
// last one may be partial: what they lack is zero, and is not written. So every kernel has the
// rule's arithmetic once, which is most of its code.
template <class Rule, class T, class G, class F>
__device__ __forceinline__ void step_at(const Steps<Rule, T, G, F>& at, std::int64_t thread) {
  constexpr int kWidth = kVector<T>;
  const auto before =
      static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(at.theta) % 16 / sizeof(T));
  const std::int64_t i = thread * kWidth - before;
  if (i >= at.n) return;
  const Span span = {i, at.n, i >= 0 && i + kWidth <= at.n};
  T theta[kWidth], grad[kWidth], sum[kWidth] = {}, first[kWidth];
  Parameters<Rule, T> parameters;
  at.parameters(parameters);
  load_span(at.theta, theta, span);
  load_span(at.grad, grad, span);
  if (at.state) load_span(at.state, sum, span);
  if (at.has_first()) {
    const std::int64_t j = at.row == at.n ? i : i % at.row;
    if (span.is_whole && j + kWidth <= at.row) {
      load_vector(at.first + j, first);
    } else {
#pragma unroll
      for (int k = 0; k < kWidth; ++k)
        first[k] = span.has(k) ? widen(at.first[(i + k) % at.row]) : T(0);
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
  store_span(at.theta, theta, span);
  if (at.state) store_span(at.state, sum, span);
}

template <class Rule, class T, class G, class F>
__global__ void __launch_bounds__(kStepThreads) step_array(Steps<Rule, T, G, F> steps) {
  step_at(steps, global_index());
}

// Columns of the table of arrays; each has an entry for every array.
enum TableColumn { kTheta, kState, kGrad, kFirst, kSize, kRow, kFirstBlock, kTableColumns };

// Many arrays: owners[b] is the array that block b belongs to. Of `steps` the numbers count.
template <class Rule, class T, class G, class F>
__global__ void __launch_bounds__(kStepThreads)
    step_arrays(Steps<Rule, T, G, F> steps, const std::int64_t* table, const std::int32_t* owners,
                std::int64_t n_arrays) {
  const std::int64_t* entry = table + owners[blockIdx.x];
  const auto value = [&](TableColumn column) { return entry[column * n_arrays]; };
  steps.theta = global_pointer<T>(value(kTheta));
  steps.state = global_pointer<T>(value(kState));
  steps.grad = global_pointer<const G>(value(kGrad));
  steps.first = global_pointer<const F>(value(kFirst));
  steps.n = value(kSize);
  steps.row = value(kRow);
  step_at(steps, (blockIdx.x - value(kFirstBlock)) * kStepThreads + threadIdx.x);
}

}  // namespace aruba_fast::cuda
