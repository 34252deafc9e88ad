// step, aruba_step, adagrad_step.
#include <pybind11/stl.h>

#include <cmath>
#include <optional>

#include "arrays.h"
#include "bindings.h"
#include "ops_step.h"

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

void run(const StepArguments& arguments) {
  // Letting other Python threads run costs 0.1 us: not worth it for a call that takes less than 10.
  constexpr std::int64_t kShort = 16384;
  std::int64_t n = 0;
  for (const Array& theta : arguments.theta) n += theta.size();
  if (n <= kShort) return step(arguments);
  const py::gil_scoped_release release;
  step(arguments);
}

void preconditioned_step(ArraysArgument theta, ArraysArgument grad, RatesArgument learning_rate,
                         std::optional<ArraysArgument> grad_sq) {
  Arrays arrays("step");
  StepArguments arguments{arrays.function(), kOgdStep, {}, {}, {}, {}};
  arguments.theta = arrays.all(theta, "theta", Access::kModify);
  arguments.grad = arrays.all(grad, "grad", Access::kRead);
  if (is_number(learning_rate))
    arguments.rate = hyperparameter(arrays.function(), "learning_rate", learning_rate, true);
  else arguments.rates = arrays.all(learning_rate, "learning_rate", Access::kRead);
  if (grad_sq) arguments.state = arrays.all(*grad_sq, "grad_sq", Access::kModify);
  run(arguments);
}

void aruba_step(ArraysArgument theta, ArraysArgument grad, ArraysArgument b, ArraysArgument g,
                py::handle coef) {
  Arrays arrays("aruba_step");
  StepArguments arguments{arrays.function(), kArubaStep, {}, {}, {}, {}};
  arguments.theta = arrays.all(theta, "theta", Access::kModify);
  arguments.grad = arrays.all(grad, "grad", Access::kRead);
  arguments.rates = arrays.all(b, "b", Access::kRead);
  arguments.state = arrays.all(g, "g", Access::kModify);
  arguments.damping = hyperparameter(arrays.function(), "coef", coef, true);
  run(arguments);
}

void adagrad_step(ArraysArgument theta, ArraysArgument grad, ArraysArgument grad_sq,
                  py::handle learning_rate, py::handle delta) {
  Arrays arrays("adagrad_step");
  StepArguments arguments{arrays.function(), kAdaGradStep, {}, {}, {}, {}};
  arguments.theta = arrays.all(theta, "theta", Access::kModify);
  arguments.grad = arrays.all(grad, "grad", Access::kRead);
  arguments.state = arrays.all(grad_sq, "grad_sq", Access::kModify);
  arguments.rate = hyperparameter(arrays.function(), "learning_rate", learning_rate, true);
  arguments.damping = hyperparameter(arrays.function(), "delta", delta, false);
  run(arguments);
}

}  // namespace

void bind_step(py::module_& module) {
  module.def("step", preconditioned_step, py::arg("theta"), py::arg("grad"),
             py::arg("learning_rate"), py::kw_only(), py::arg("grad_sq") = py::none(),
             R"(Preconditioned gradient step, with the statistics of ARUBA in the same pass.

    grad_sq <- grad_sq + grad^2
    theta   <- theta - learning_rate * grad

Args:
    theta: Parameters, float32 or float64, of any shape, or a list of such arrays (a whole model in one call). Modified.
    grad: Gradients, shaped as theta; for float32 parameters also bfloat16 or float16, widened before use.
    learning_rate: A number for all, or an array of theta's type: one rate for each coordinate, or for each of the last
        dimension (theta [n_tasks, d] with rates [d]). For a list of parameters, a number or a list. In units of theta / grad.
    grad_sq: Sums of squared gradients, as theta. Modified. None: no statistics are kept.

Returns:
    None: theta and grad_sq are modified in place. Large arrays are worked on by all threads, and the result is the same bits for
    any number of them.

Raises:
    ValueError: A wrong shape or value, or a modified argument that overlaps another one. Nothing was changed.
    TypeError: A wrong type, an array on another device, or a modified argument that is read-only or not C-contiguous.

Example:
    >>> import numpy as np, aruba_fast as af
    >>> theta, grad_sq = np.ones(3, np.float32), np.zeros(3, np.float32)
    >>> af.step(theta, np.array([1, 2, 4], np.float32), 0.25, grad_sq=grad_sq)
    >>> theta
    array([0.75, 0.5 , 0.  ], dtype=float32)
    >>> grad_sq
    array([ 1.,  4., 16.], dtype=float32)

Source: Khodak, Balcan, Talwalkar, "Adaptive Gradient-Based Meta-Learning Methods", NeurIPS 2019.)");
  module.def("aruba_step", aruba_step, py::arg("theta"), py::arg("grad"), py::arg("b"),
             py::arg("g"), py::kw_only(), py::arg("coef"),
             R"(ARUBA++ step: the meta-learned rate, refined by the task's own gradients.

    eta   = sqrt(b) / sqrt(g)          with the old g
    g     <- g + coef * grad^2
    theta <- theta - eta * grad

Args:
    theta: Parameters, float32 or float64, of any shape, or a list of such arrays. Modified.
    grad: Gradients, shaped as theta; for float32 parameters also bfloat16 or float16.
    b: Accumulated squared distances, of theta's type and shape, or [d] for theta [n_tasks, d]. Not modified.
    g: The task's own copy of the accumulated squared gradients, of theta's type and shape, positive. Modified.
    coef: Weight of the task's own squared gradients, not negative; 0 keeps the meta-learned rate.

Returns:
    None: theta and g are modified in place.

Raises:
    ValueError: A wrong shape or value, or a modified argument that overlaps another one. Nothing was changed.
    TypeError: A wrong type, an array on another device, or a modified argument that is read-only or not C-contiguous.

Example:
    >>> import numpy as np, aruba_fast as af
    >>> theta, b, g = np.zeros(2), np.array([1.0, 4.0]), np.ones(2)
    >>> af.aruba_step(theta, np.ones(2), b, g, coef=3.0)
    >>> theta, g
    (array([-1., -2.]), array([4., 4.]))

Source: Khodak, Balcan, Talwalkar, "Adaptive Gradient-Based Meta-Learning Methods", NeurIPS 2019.)");
  module.def("adagrad_step", adagrad_step, py::arg("theta"), py::arg("grad"), py::arg("grad_sq"),
             py::kw_only(), py::arg("learning_rate"), py::arg("delta"),
             R"(AdaGrad step, the single-task rule that ARUBA extends.

    grad_sq <- grad_sq + grad^2
    theta   <- theta - learning_rate * grad / sqrt(grad_sq + delta)

Args:
    theta: Parameters, float32 or float64, of any shape, or a list of such arrays. Modified.
    grad: Gradients, shaped as theta; for float32 parameters also bfloat16 or float16.
    grad_sq: Accumulated squared gradients, of theta's type and shape. Modified.
    learning_rate: The base rate, not negative, in units of theta.
    delta: Smoothing, positive, in units of grad^2.

Returns:
    None: theta and grad_sq are modified in place.

Raises:
    ValueError: A wrong shape or value, or a modified argument that overlaps another one. Nothing was changed.
    TypeError: A wrong type, an array on another device, or a modified argument that is read-only or not C-contiguous.

Example:
    >>> import numpy as np, aruba_fast as af
    >>> theta, grad_sq = np.zeros(1), np.zeros(1)
    >>> af.adagrad_step(theta, np.array([3.0]), grad_sq, learning_rate=0.5, delta=7.0)
    >>> theta, grad_sq
    (array([-0.375]), array([9.]))

Source: Duchi, Hazan, Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic Optimization", JMLR 2011.)");
}

}  // namespace aruba_fast::python
