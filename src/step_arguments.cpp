// What the three step functions are told, read the same way wherever the arrays live.
#include "step_arguments.h"

#include <cmath>

namespace aruba_fast::python {
namespace {

double hyperparameter(const char* function, const char* name, py::handle object,
                      bool zero_allowed) {
  const double value = number(function, name, object);
  if (!(value > 0 || (zero_allowed && value == 0)) || std::isinf(value))
    refuse(function, "`" + std::string(name) + "`",
           zero_allowed ? "be finite and not negative" : "be finite and positive",
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

StepArguments preconditioned_arguments(Arrays& arrays, py::handle theta, py::handle grad,
                                       py::handle learning_rate,
                                       const std::optional<ArraysArgument>& grad_sq,
                                       py::handle grad_type) {
  StepArguments arguments{arrays.function(), kOgdStep, {}, {}, {}, {}};
  arguments.theta = arrays.all(theta, "theta", Access::kModify);
  arrays.read_words_as(grad_type);
  arguments.grad = arrays.all(grad, "grad", Access::kRead);
  if (is_number(learning_rate))
    arguments.rate = hyperparameter(arrays.function(), "learning_rate", learning_rate, true);
  else
    arguments.rates = all_given(arrays, learning_rate, "learning_rate", Access::kRead, arguments);
  if (grad_sq) arguments.state = all_given(arrays, *grad_sq, "grad_sq", Access::kModify, arguments);
  return arguments;
}

StepArguments aruba_arguments(Arrays& arrays, py::handle theta, py::handle grad, py::handle b,
                              py::handle g, py::handle coef, py::handle grad_type) {
  StepArguments arguments{arrays.function(), kArubaStep, {}, {}, {}, {}};
  arguments.theta = arrays.all(theta, "theta", Access::kModify);
  arrays.read_words_as(grad_type);
  arguments.grad = arrays.all(grad, "grad", Access::kRead);
  arguments.rates = all_given(arrays, b, "b", Access::kRead, arguments);
  arguments.state = all_given(arrays, g, "g", Access::kModify, arguments);
  arguments.damping = hyperparameter(arrays.function(), "coef", coef, true);
  return arguments;
}

StepArguments adagrad_arguments(Arrays& arrays, py::handle theta, py::handle grad,
                                py::handle grad_sq, py::handle learning_rate, py::handle delta,
                                py::handle grad_type) {
  StepArguments arguments{arrays.function(), kAdaGradStep, {}, {}, {}, {}};
  arguments.theta = arrays.all(theta, "theta", Access::kModify);
  arrays.read_words_as(grad_type);
  arguments.grad = arrays.all(grad, "grad", Access::kRead);
  arguments.state = all_given(arrays, grad_sq, "grad_sq", Access::kModify, arguments);
  arguments.rate = hyperparameter(arrays.function(), "learning_rate", learning_rate, true);
  arguments.damping = hyperparameter(arrays.function(), "delta", delta, false);
  return arguments;
}

}  // namespace aruba_fast::python
