// Steps of many arrays whose numbers, too, are in device memory, as a program that is compiled once
// has them; and what has to be added to theta instead of the sum. 16 bytes of theta a thread.
#pragma once

#include "cpp/rules/step.h"
#include "tuning.h"
#include "vector-inl.cuh"

namespace aruba_fast::cuda {

// A leaf as a kernel is told of it; pointers are addresses. Entries of a batch follow one another,
// n coordinates each, and share the first parameter or the second where its stride is 0.
struct LeafOfTable {
  std::int64_t grad, state, theta, rest, first, coef, at, state_after, rest_after;
  std::int64_t n, row;  // row: of the first parameter; 0: a number
  std::int64_t first_stride, coef_stride;
  unsigned first_block, blocks_of_entry;
  bool coef_is_double;
};

// The table travels as an argument of the kernel: a graph has its own, and nothing is allocated.
constexpr int kLeavesAtOnce = 128;
struct TableOfLeaves {
  LeafOfTable leaves[kLeavesAtOnce];
  int n;
};

// An entry of a leaf.
template <class T, class G>
struct EntryOfLeaf {
  const G* grad;
  const T *state, *theta, *rest, *first;
  T *at, *state_after, *rest_after;
  std::int64_t n, row;
};

// kWidth coordinates from i on. What is read is read before anything is written, which may be the
// same memory.
template <class Rule, bool kMoves, int kWidth, class T, class G>
__device__ __forceinline__ void step_columns(const EntryOfLeaf<T, G>& leaf,
                                             const Parameters<Rule, T>& numbers, std::int64_t i) {
  T theta[kWidth], grad[kWidth], sum[kWidth], rest[kWidth], first[kWidth];
  Parameters<Rule, T> parameters;
#pragma unroll
  for (int p = 0; p < kParametersOf<Rule>; ++p) parameters[p] = numbers[p];
  load_vector(leaf.theta + i, theta);
  if constexpr (kWidth == 1) grad[0] = static_cast<T>(widen(leaf.grad[i]));
  else load_vector(leaf.grad + i, grad);
  load_vector(leaf.state + i, sum);
  if constexpr (kMoves) load_vector(leaf.rest + i, rest);
  if (leaf.row > 0) {
    const std::int64_t j = leaf.row == leaf.n ? i : i % leaf.row;
    if (j + kWidth <= leaf.row) {
      load_vector(leaf.first + j, first);
    } else {
#pragma unroll
      for (int k = 0; k < kWidth; ++k) first[k] = leaf.first[(j + k) % leaf.row];
    }
  } else {
#pragma unroll
    for (int k = 0; k < kWidth; ++k) first[k] = numbers[0];
  }
#pragma unroll
  for (int k = 0; k < kWidth; ++k) {
    const T before = theta[k];
    T now = before;
    if constexpr (kMoves) now = before + rest[k];
    State<Rule, T> state = {sum[k]};
    parameters[0] = first[k];
    Rule::step(now, state, grad[k], parameters);
    sum[k] = state[0];
    theta[k] = now;
    if constexpr (kMoves) {
      // What has to be added, and how far that sum is from where the rule is.
      theta[k] = now - before;
      rest[k] = now - (before + theta[k]);
    }
  }
  store_vector(leaf.at + i, theta);
  store_vector(leaf.state_after + i, sum);
  if constexpr (kMoves) store_vector(leaf.rest_after + i, rest);
}

// Three blocks a multiprocessor, that is 80 registers: left to itself, ptxas takes 40 for float64,
// and spills. A thread has 64 bytes or more on their way, a multiprocessor 48 KB.
template <class Rule, class T, class G, bool kMoves>
__global__ void __launch_bounds__(kStepThreads, 3)
    step_leaves(const __grid_constant__ TableOfLeaves table) {
  int own = 0, beyond = table.n;
  while (beyond - own > 1) {
    const int middle = (own + beyond) / 2;
    (table.leaves[middle].first_block <= blockIdx.x ? own : beyond) = middle;
  }
  const unsigned block = blockIdx.x - table.leaves[own].first_block,
                 blocks_of_entry = table.leaves[own].blocks_of_entry;
  const std::int64_t entry = block / blocks_of_entry, n = table.leaves[own].n, begin = entry * n;
  const auto rest_of = [&](std::int64_t address) {
    return kMoves ? global_pointer<T>(address) + begin : nullptr;
  };
  const EntryOfLeaf<T, G> leaf = {
      .grad = global_pointer<const G>(table.leaves[own].grad) + begin,
      .state = global_pointer<const T>(table.leaves[own].state) + begin,
      .theta = global_pointer<const T>(table.leaves[own].theta) + begin,
      .rest = rest_of(table.leaves[own].rest),
      .first =
          global_pointer<const T>(table.leaves[own].first) + entry * table.leaves[own].first_stride,
      .at = global_pointer<T>(table.leaves[own].at) + begin,
      .state_after = global_pointer<T>(table.leaves[own].state_after) + begin,
      .rest_after = rest_of(table.leaves[own].rest_after),
      .n = n,
      .row = table.leaves[own].row};
  Parameters<Rule, T> numbers = {leaf.row > 0 ? T(0) : leaf.first[0]};
  if constexpr (kParametersOf<Rule> > 1) {
    const std::int64_t at = entry * table.leaves[own].coef_stride;
    numbers[1] = static_cast<T>(
        table.leaves[own].coef_is_double
            ? global_pointer<const double>(table.leaves[own].coef)[at]
            : static_cast<double>(global_pointer<const float>(table.leaves[own].coef)[at]));
  }
  // Counted from the 16-byte boundary at or before what is written: the first vector and the last
  // one may be partial.
  constexpr int kWidth = kVector<T>;
  const auto before =
      static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(leaf.at) % 16 / sizeof(T));
  const std::int64_t thread =
      static_cast<std::int64_t>(block % blocks_of_entry) * kStepThreads + threadIdx.x;
  const std::int64_t i = thread * kWidth - before;
  if (i >= 0 && i + kWidth <= n) {
    step_columns<Rule, kMoves, kWidth>(leaf, numbers, i);
  } else {
#pragma unroll
    for (int k = 0; k < kWidth; ++k)
      if (i + k >= 0 && i + k < n) step_columns<Rule, kMoves, 1>(leaf, numbers, i + k);
  }
}

}  // namespace aruba_fast::cuda
