// The step functions: one for each rule of the list, read the same way wherever the arrays live.
#pragma once

#include <span>
#include <string_view>
#include <utility>

#include "arrays.h"
#include "ops_step.h"

namespace aruba_fast::python {

// The result points into `arrays`. All checks that need Python are made here: first the arrays, in
// the order of the public functions, then the numbers. `state` may be None.
StepArguments step_arguments(Arrays& arrays, StepRule rule, py::handle theta, py::handle grad,
                             py::handle grad_type, py::handle state,
                             std::span<const py::handle> parameters);
// The numbers among them, as they are checked there.
void read_numbers(const char* function, StepRule rule, std::span<const py::handle> parameters,
                  bool first_is_array, double* numbers);

StepRule step_rule_named(std::string_view function);

template <std::size_t>
using Handle = py::handle;

template <class Rule, class Here, class Run, std::size_t... i>
void bind_step_rule(py::module_& module, StepRule rule, Run run, std::index_sequence<i...>) {
  const auto call = [=](py::handle theta, py::handle grad, py::handle grad_type, py::handle state,
                        Handle<i>... parameters) {
    Here arrays(Rule::kFunction);
    const py::handle given[] = {parameters...};
    run(arrays, step_arguments(arrays, rule, theta, grad, grad_type, state, given));
  };
  module.def(Rule::kFunction, call, py::arg("theta"), py::arg("grad"), py::arg("grad_type"),
             py::arg(Rule::kStates[0]), py::arg(Rule::kParameters[i].name)...,
             "What the function of this name in steps.py stands on.");
}

// Arrays are read by Here, an Arrays, and run(arrays, arguments) does the step.
template <class Here, class Run>
void bind_step_rules(py::module_& module, Run run) {
#define ARUBA_BIND(Rule)                                     \
  bind_step_rule<Rule, Here>(module, StepRule::k##Rule, run, \
                             std::make_index_sequence<kParametersOf<Rule>>());
  ARUBA_STEP_RULES(ARUBA_BIND)
#undef ARUBA_BIND
}

}  // namespace aruba_fast::python
