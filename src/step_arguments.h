// What the three step functions are told, read the same way wherever the arrays live.
#pragma once

#include <optional>

#include "arrays.h"
#include "ops_step.h"

namespace aruba_fast::python {

// The result points into `arrays`. All checks that need Python are made here, in signature order.
StepArguments preconditioned_arguments(Arrays& arrays, py::handle theta, py::handle grad,
                                       py::handle learning_rate,
                                       const std::optional<ArraysArgument>& grad_sq,
                                       py::handle grad_type);
StepArguments aruba_arguments(Arrays& arrays, py::handle theta, py::handle grad, py::handle b,
                              py::handle g, py::handle coef, py::handle grad_type);
StepArguments adagrad_arguments(Arrays& arrays, py::handle theta, py::handle grad,
                                py::handle grad_sq, py::handle learning_rate, py::handle delta,
                                py::handle grad_type);

}  // namespace aruba_fast::python
