// What a compiled program of JAX asks of the kernels: all numbers are in device memory, memory to
// scribble on is the program's, and nothing is allocated, copied from the host or waited for, so
// that a call can be captured in a graph.
#pragma once

#include <span>

#include "cpp/array.h"
#include "device.h"

namespace aruba_fast::cuda {

// The stream of this handle (a cudaStream_t) on the device that is the thread's current one.
Stream stream_of_current_device(void* handle);

// Leaves of a tree for n_entries tasks, n coordinates each. What is written may be the memory of
// what is read.
struct StepLeaf {
  const void *grad, *state, *theta, *rest;  // rest: of a step that moves
  const void* first;                        // a row, or a number, in the type of theta
  const void* coef;                         // a number; null: the rule has none
  void *at, *state_after, *rest_after;
  Type theta_type, grad_type;
  bool coef_is_double;
  std::int64_t n, n_entries;
  std::int64_t row;                        // of the first parameter, shared by rows of n; 0: a number
  std::int64_t first_stride, coef_stride;  // from entry to entry; 0: shared
};

// The rule's step of all leaves, by ARUBA++ or at given rates; `moves`: `at` gets what is to be
// added to theta, after a step from theta + rest. A launch for every 128 leaves of a type.
void step_leaves(bool aruba, bool moves, std::span<const StepLeaf> leaves, const Stream& stream);

}  // namespace aruba_fast::cuda
