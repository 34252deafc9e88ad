// The step rules on arrays and lists of arrays in device memory: one kernel launch a call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cpp/ops_step.h"
#include "cpp/step_plan.h"
#include "device.h"

namespace aruba_fast::cuda {

// As aruba_fast::step, with the same checks and the same bits. A list of several arrays is one
// launch for each combination of types in it; its table is copied to the device when it was not
// seen lately. Nothing is synchronized, and the call can be captured in a graph.
void step(const StepArguments& arguments, const Stream& stream);

// What the kernels are told of the arrays of a plan, kept from step to step.
class StepTables {
 public:
  // Gradients have moved.
  void take_gradients(const StepPlan& plan);
  // It will be another plan.
  void forget() { tables_.clear(); }

  // Of the arrays of the same types: columns of numbers, and the array of each block.
  struct Table {
    Gradient kind;
    bool has_narrow_first;
    std::vector<std::size_t> pieces;
    std::vector<std::int64_t> numbers;
    std::size_t owners;  // where they begin
    std::int64_t n_blocks;
  };
  const std::vector<Table>& of(const StepPlan& plan);

 private:
  std::vector<Table> tables_;
};

// The same for a plan that has been checked, whose tables go on.
void step(StepRule rule, const StepPlan& plan, StepTables& tables, const Stream& stream);

}  // namespace aruba_fast::cuda
