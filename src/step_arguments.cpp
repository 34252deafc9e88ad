// The step functions: one for each rule of the list, read the same way wherever the arrays live.
#include "step_arguments.h"

#include <cmath>

namespace aruba_fast::python {
namespace {

double hyperparameter(const char* function, const Parameter& parameter, py::handle object) {
  const double value = number(function, parameter.name, object);
  if (!(value > 0 || (parameter.may_be_zero && value == 0)) || std::isinf(value))
    refuse(function, "`" + std::string(parameter.name) + "`",
           parameter.may_be_zero ? "be finite and not negative" : "be finite and positive",
           py::str(py::float_(value)));
  return value;
}

// An empty list beside parameters: what it should hold would be taken for not given.
std::span<const Array> all_given(Arrays& arrays, py::handle object, const char* name, Access access,
                                 const StepArguments& arguments) {
  const std::span<const Array> given = arrays.all(object, name, access);
  if (given.empty() && !arguments.theta.empty())
    refuse(arrays.function(), "`" + std::string(name) + "`", "have as many arrays as `theta`", "0",
           std::to_string(arguments.theta.size()));
  return given;
}

}  // namespace

StepRule step_rule_named(std::string_view function) {
  for (const StepRuleFacts& facts : kStepFacts)
    if (function == facts.function) return static_cast<StepRule>(&facts - kStepFacts);
  throw ValueError("StepPlan: no step is named '" + std::string(function) + "'");
}

void read_numbers(const char* function, StepRule rule, std::span<const py::handle> parameters,
                  bool first_is_array, double* numbers) {
  for (std::size_t i = first_is_array ? 1 : 0; i < parameters.size(); ++i)
    numbers[i] = hyperparameter(function, facts_of(rule).parameters[i], parameters[i]);
}

StepArguments step_arguments(Arrays& arrays, StepRule rule, py::handle theta, py::handle grad,
                             py::handle grad_type, py::handle state,
                             std::span<const py::handle> parameters) {
  const StepRuleFacts& facts = facts_of(rule);
  StepArguments arguments{.function = arrays.function(),
                          .rule = rule,
                          .theta = {},
                          .grad = {},
                          .first = {},
                          .state = {}};
  arguments.theta = arrays.all(theta, "theta", Access::kModify);
  arrays.read_words_as(grad_type);
  arguments.grad = arrays.all(grad, "grad", Access::kRead);
  const Parameter& first = facts.parameters[0];
  const py::handle given = parameters[0];
  const bool has_array =
      first.takes == Takes::kArray || (first.takes == Takes::kEither && !is_number(given));
  if (has_array) arguments.first = all_given(arrays, given, first.name, Access::kRead, arguments);
  else if (first.takes == Takes::kEither)
    arguments.parameters[0] = hyperparameter(arrays.function(), first, given);
  if (!(facts.state_is_optional && state.is_none()))
    arguments.state = all_given(arrays, state, facts.state, Access::kModify, arguments);
  read_numbers(arrays.function(), rule, parameters, first.takes != Takes::kNumber,
               arguments.parameters);
  return arguments;
}

}  // namespace aruba_fast::python
