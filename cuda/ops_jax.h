// What a compiled program of JAX asks of the kernels: all numbers are in device memory, memory to
// scribble on is the program's, and nothing is allocated, copied from the host or waited for, so
// that a call can be captured in a graph.
#pragma once

#include <span>

#include "ops_meta.h"

namespace aruba_fast::cuda {

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
  std::int64_t row;  // of the first parameter, shared by rows of n; 0: a number
  std::int64_t first_stride, coef_stride;  // from entry to entry; 0: shared
};

// The rule's step of all leaves, by ARUBA++ or at given rates; `moves`: `at` gets what is to be
// added to theta, after a step from theta + rest. A launch for every 128 leaves of a type.
void step_leaves(bool aruba, bool moves, std::span<const StepLeaf> leaves, const Stream& stream);

// Numbers of float64 as the program has them: themselves, or pairs of float32 where it has none. Of
// a pair of float64 the low part counts where there is one.
struct Wide {
  void *high, *low;
  bool is_double;
};

// How many tasks count, and how many were left out.
struct Counts {
  void *n_tasks, *n_skipped;
  bool are_64_bits;
};

// The tasks of a round, n_tasks rows of n numbers of `type`; weights, rates and limit as
// RoundArrays has them, but for where a limit is the largest number: then there is none.
struct JaxTasks {
  const void *theta_hat, *grad_sq, *phi, *rates;
  Wide weights, limit;
  bool is_limited;
  std::int64_t n_tasks, n;
  Type type;
};

// Sums of a round: distance, grad_sq and theta; the weight; and the counts.
struct JaxSums {
  Wide columns[3], weight;
  Counts counts;
};

// Memory that sum_tasks may scribble on; 16-byte aligned.
std::size_t sum_tasks_bytes(std::int64_t n_tasks, std::int64_t n);

// add_round to nothing. In pairs of float32 a task that they have no room for is left out.
void sum_tasks(const JaxTasks& tasks, const JaxSums& into, void* workspace, const Stream& stream);

// A learner's state, changed. Of rates there are n, or one, or one for every tensor.
struct JaxState {
  Wide b, g, phi, rho, weight, limit;  // rho and limit have one part
  void* rates;
  Counts counts;
  std::int64_t n, n_rates;
  Type type;  // of rates
  MetaParameters parameters;
  Tensors tensors;               // a table in device memory
  double most_b, most_g, least;  // that pairs of float32 may hold
};

// Memory that learn may scribble on; 16-byte aligned. n_tasks negative: by sums. Pointers of the
// state are not looked at.
std::size_t learn_bytes(const JaxState& state, std::int64_t n_tasks);

// MetaState::apply_elsewhere by sums, or learn_elsewhere by the tasks themselves, whose phi, rates
// and limit are the state's. `step`: of the initialization, one number; without high part none.
void learn(const JaxState& state, const JaxSums& round, const Wide& step, void* workspace,
           const Stream& stream);
void learn(const JaxState& state, const JaxTasks& round, const Wide& step, void* workspace,
           const Stream& stream);

}  // namespace aruba_fast::cuda
