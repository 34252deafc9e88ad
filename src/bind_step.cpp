// step, aruba_step, adagrad_step.
#include <pybind11/stl.h>

#include "bindings.h"
#include "on_cuda.h"
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

void preconditioned_step(ArraysArgument theta, ArraysArgument grad, RatesArgument learning_rate,
                         std::optional<ArraysArgument> grad_sq, GradTypeArgument grad_type) {
  if (on_cuda(theta)) {
    cuda_function("step", "theta", theta)(theta, grad, learning_rate, py::arg("grad_sq") = grad_sq,
                                          py::arg("grad_type") = grad_type);
    return;
  }
  Arrays arrays("step");
  run(arrays, preconditioned_arguments(arrays, theta, grad, learning_rate, grad_sq, grad_type));
}

void aruba_step(ArraysArgument theta, ArraysArgument grad, ArraysArgument b, ArraysArgument g,
                py::handle coef, GradTypeArgument grad_type) {
  if (on_cuda(theta)) {
    cuda_function("aruba_step", "theta", theta)(theta, grad, b, g, py::arg("coef") = coef,
                                                py::arg("grad_type") = grad_type);
    return;
  }
  Arrays arrays("aruba_step");
  run(arrays, aruba_arguments(arrays, theta, grad, b, g, coef, grad_type));
}

void adagrad_step(ArraysArgument theta, ArraysArgument grad, ArraysArgument grad_sq,
                  py::handle learning_rate, py::handle delta, GradTypeArgument grad_type) {
  if (on_cuda(theta)) {
    cuda_function("adagrad_step", "theta", theta)(
        theta, grad, grad_sq, py::arg("learning_rate") = learning_rate, py::arg("delta") = delta,
        py::arg("grad_type") = grad_type);
    return;
  }
  Arrays arrays("adagrad_step");
  run(arrays, adagrad_arguments(arrays, theta, grad, grad_sq, learning_rate, delta, grad_type));
}

// pybind11 looks up every keyword that is absent: 0.08 us, an eighth of a short call. So the
// gradients' type is a keyword of an overload, which only a call that names it gets to.
GradTypeArgument no_type() { return py::reinterpret_borrow<GradTypeArgument>(Py_None); }

}  // namespace

void bind_step(py::module_& module) {
  module.def(
      "step",
      [](ArraysArgument theta, ArraysArgument grad, RatesArgument learning_rate,
         std::optional<ArraysArgument> grad_sq) {
        preconditioned_step(theta, grad, learning_rate, grad_sq, no_type());
      },
      py::arg("theta"), py::arg("grad"), py::arg("learning_rate"), py::kw_only(),
      py::arg("grad_sq") = py::none());
  module.def("step", preconditioned_step, py::arg("theta"), py::arg("grad"),
             py::arg("learning_rate"), py::kw_only(), py::arg("grad_sq") = py::none(),
             py::arg("grad_type"),
             R"(Preconditioned gradient step, with the statistics of ARUBA in the same pass.

    grad_sq <- grad_sq + grad^2
    theta   <- theta - learning_rate * grad

Args:
    theta: Parameters, float32 or float64, of any shape, or a list of such arrays (a whole model in one call). Modified. NumPy's,
        or another library's through DLPack or __cuda_array_interface__; all arrays of a call live on one device.
    grad: Gradients, shaped as theta; for float32 parameters also bfloat16 or float16, widened before use.
    learning_rate: A number for all, or an array of theta's type: one rate for each coordinate, or for each of the last
        dimension (theta [n_tasks, d] with rates [d]). For a list of parameters, a number or a list. In units of theta / grad.
    grad_sq: Sums of squared gradients, as theta. Modified. None: no statistics are kept.
    grad_type: "bfloat16" or "float16": gradients of type uint16 are the words of that type, for whoever has no such type in NumPy
        (torch: grad.view(torch.uint16)). None: such gradients are refused.

Returns:
    None: theta and grad_sq are modified in place. Large arrays are worked on by all threads, and the result is the same bits for
    any number of them. On a CUDA device it is one kernel launch on the caller's current stream (of CuPy or PyTorch), which waits for
    the streams that other arrays come from; nothing waits for the device, and the call can be captured in a graph.

Raises:
    ValueError: A wrong shape or value, or a modified argument that overlaps another one. Nothing was changed.
    TypeError: A wrong type, arrays on different devices, or a modified argument that is read-only or not C-contiguous.
    CudaError: On a CUDA device, the driver refused or is missing.

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
             py::arg("g"), py::kw_only(), py::arg("coef"), py::arg("grad_type") = py::none(),
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
    grad_type: As in `step`.

Returns:
    None: theta and g are modified in place.

Raises:
    ValueError: A wrong shape or value, or a modified argument that overlaps another one. Nothing was changed.
    TypeError: A wrong type, arrays on different devices, or a modified argument that is read-only or not C-contiguous.
    CudaError: On a CUDA device, the driver refused or is missing.

Example:
    >>> import numpy as np, aruba_fast as af
    >>> theta, b, g = np.zeros(2), np.array([1.0, 4.0]), np.ones(2)
    >>> af.aruba_step(theta, np.ones(2), b, g, coef=3.0)
    >>> theta, g
    (array([-1., -2.]), array([4., 4.]))

Source: Khodak, Balcan, Talwalkar, "Adaptive Gradient-Based Meta-Learning Methods", NeurIPS 2019.)");
  module.def("adagrad_step", adagrad_step, py::arg("theta"), py::arg("grad"), py::arg("grad_sq"),
             py::kw_only(), py::arg("learning_rate"), py::arg("delta"),
             py::arg("grad_type") = py::none(),
             R"(AdaGrad step, the single-task rule that ARUBA extends.

    grad_sq <- grad_sq + grad^2
    theta   <- theta - learning_rate * grad / sqrt(grad_sq + delta)

Args:
    theta: Parameters, float32 or float64, of any shape, or a list of such arrays. Modified.
    grad: Gradients, shaped as theta; for float32 parameters also bfloat16 or float16.
    grad_sq: Accumulated squared gradients, of theta's type and shape. Modified.
    learning_rate: The base rate, not negative, in units of theta.
    delta: Smoothing, positive, in units of grad^2.
    grad_type: As in `step`.

Returns:
    None: theta and grad_sq are modified in place.

Raises:
    ValueError: A wrong shape or value, or a modified argument that overlaps another one. Nothing was changed.
    TypeError: A wrong type, arrays on different devices, or a modified argument that is read-only or not C-contiguous.
    CudaError: On a CUDA device, the driver refused or is missing.

Example:
    >>> import numpy as np, aruba_fast as af
    >>> theta, grad_sq = np.zeros(1), np.zeros(1)
    >>> af.adagrad_step(theta, np.array([3.0]), grad_sq, learning_rate=0.5, delta=7.0)
    >>> theta, grad_sq
    (array([-0.375]), array([9.]))

Source: Duchi, Hazan, Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic Optimization", JMLR 2011.)");
}

}  // namespace aruba_fast::python
