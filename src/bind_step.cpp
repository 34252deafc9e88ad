// The step functions on arrays in host memory: what steps.py stands on; and what step_plan.py does.
#include <pybind11/stl.h>

#include "bindings.h"
#include "planned_step-inl.h"
#include "step_arguments.h"
#include "torch_tensors.h"

namespace aruba_fast::python {
namespace {

// The sweep, without the interpreter where that pays.
void sweep(StepRule rule, const StepPlan& plan) {
  // Letting other Python threads run costs 0.1 us: not worth it for a call that takes less than 10.
  constexpr std::int64_t kShort = 16384;
  if (plan.n <= kShort) return run_steps(rule, plan);
  const py::gil_scoped_release release;
  run_steps(rule, plan);
}

void run(const Arrays& arrays, const StepArguments& arguments) {
  thread_local StepPlan plan;
  plan_step(arguments, plan);
  sweep(arguments.rule, plan);
  arrays.written();
}

struct OnHost {
  using Reader = Arrays;
  bool goes_on(const Arrays&, std::span<PyObject* const>) const { return true; }
  void take(const StepPlan&) {}
  void forget() {}
  void run(const Arrays&, StepRule rule, const StepPlan& plan) { sweep(rule, plan); }
};

}  // namespace

void bind_step(py::module_& module) {
  bind_step_rules<Arrays>(module, run);
  module.def(
      "step_rules",
      [] {
        py::dict n_parameters;
        for (const StepRuleFacts& facts : kStepFacts)
          n_parameters[facts.function] = facts.parameters.size();
        return n_parameters;
      },
      "The names of the step functions, and how many parameters their rules have.");
  module.def("is_number", &is_number, py::arg("object"), "Whether a rule takes it for a number.");
  module.def("gradients", &gradients, py::arg("tensors"),
             "The `.grad` of PyTorch's tensors, and whether one of them is None.");
  bind_step_plan<OnHost>(module, "A step of arrays in host memory that stay.");
}

}  // namespace aruba_fast::python
