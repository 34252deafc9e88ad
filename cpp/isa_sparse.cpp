// The kernels of sparse tasks, and of losses alone, as isa.cpp has the others.
#include "sparse-inl.h"
#include "tasks-inl.h"

namespace aruba_fast::ARUBA_ISA {

template <class T>
void add_sparse_kernels(Kernels& table) {
  constexpr bool is_double = sizeof(T) == sizeof(double);
#define ARUBA_ADD(Rule) \
  table.sparse_tasks[static_cast<int>(TaskRule::k##Rule)][is_double] = run_sparse_tasks<T, Rule>;
  ARUBA_TASK_RULES(ARUBA_ADD)
#undef ARUBA_ADD
  table.losses[is_double] = run_losses<T>;
  table.sparse_losses[is_double] = sparse_losses<T>;
  table.sparse_terms[is_double] = sparse_terms<T>;
  table.sparse_update[is_double] = sparse_update<T>;
  table.sparse_undo[is_double] = sparse_undo<T>;
  table.sparse_spread[is_double] = sparse_spread<T>;
}

template void add_sparse_kernels<ARUBA_NUMBER>(Kernels&);

}  // namespace aruba_fast::ARUBA_ISA
