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
  else arguments.rates = arrays.all(learning_rate, "learning_rate", Access::kRead);
  if (grad_sq) arguments.state = arrays.all(*grad_sq, "grad_sq", Access::kModify);
  return arguments;
}

StepArguments aruba_arguments(Arrays& arrays, py::handle theta, py::handle grad, py::handle b,
                              py::handle g, py::handle coef, py::handle grad_type) {
  StepArguments arguments{arrays.function(), kArubaStep, {}, {}, {}, {}};
  arguments.theta = arrays.all(theta, "theta", Access::kModify);
  arrays.read_words_as(grad_type);
  arguments.grad = arrays.all(grad, "grad", Access::kRead);
  arguments.rates = arrays.all(b, "b", Access::kRead);
  arguments.state = arrays.all(g, "g", Access::kModify);
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
  arguments.state = arrays.all(grad_sq, "grad_sq", Access::kModify);
  arguments.rate = hyperparameter(arrays.function(), "learning_rate", learning_rate, true);
  arguments.damping = hyperparameter(arrays.function(), "delta", delta, false);
  return arguments;
}

}  // namespace aruba_fast::python
