// What of the core another extension of the package calls: the same kernels, threads and watch for
// forks as those of _core, in whose capsule the table travels.
#pragma once

#include "kernels.h"
#include "ops_meta.h"
#include "ops_statistics.h"
#include "step_plan.h"

namespace aruba_fast::python {

struct CoreEntries {
  static constexpr const char* kName = "aruba_fast._core.entries";

  const Kernels& (*kernels)();
  void (*run_steps)(StepRule rule, const StepPlan& plan, const StepVisits* visits);
  void (*sum_elsewhere)(const char* function, const RoundArrays& round, Statistics& counts,
                        const std::function<void(const SumsOfColumns&)>& body);
  bool (*apply_elsewhere)(MetaState& state, const Statistics& statistics, const double* meta_step,
                          const ColumnsElsewhere& columns);
  bool (*learn_elsewhere)(MetaState& state, const char* function, const RoundArrays& tasks,
                          const double* meta_step, const ColumnsElsewhere& columns);
};

}  // namespace aruba_fast::python
