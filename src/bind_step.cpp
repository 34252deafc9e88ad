// The step functions on arrays in host memory: what steps.py stands on.
#include "bindings.h"
#include "step_arguments.h"

namespace aruba_fast::python {
namespace {

void run(const Arrays& arrays, const StepArguments& arguments) {
  // Letting other Python threads run costs 0.1 us: not worth it for a call that takes less than 10.
  constexpr std::int64_t kShort = 16384;
  std::int64_t n = 0;
  for (const Array& theta : arguments.theta) n += theta.size();
  if (n <= kShort) {
    step(arguments);
  } else {
    const py::gil_scoped_release release;
    step(arguments);
  }
  arrays.written();
}

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
}

}  // namespace aruba_fast::python
