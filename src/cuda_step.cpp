// step, aruba_step, adagrad_step on arrays of a CUDA device.
#include <pybind11/stl.h>

#include "cuda/ops_step.h"
#include "cuda_bindings.h"
#include "device_arrays.h"
#include "step_arguments.h"

namespace aruba_fast::python {
namespace {

void launch(const StepArguments& arguments, DeviceArrays& arrays) {
  arrays.enqueue([&](const cuda::Stream& stream) { cuda::step(arguments, stream); });
  arrays.written();
}

void preconditioned_step(ArraysArgument theta, ArraysArgument grad, RatesArgument learning_rate,
                         std::optional<ArraysArgument> grad_sq, GradTypeArgument grad_type) {
  DeviceArrays arrays("step");
  launch(preconditioned_arguments(arrays, theta, grad, learning_rate, grad_sq, grad_type), arrays);
}

void aruba_step(ArraysArgument theta, ArraysArgument grad, ArraysArgument b, ArraysArgument g,
                py::handle coef, GradTypeArgument grad_type) {
  DeviceArrays arrays("aruba_step");
  launch(aruba_arguments(arrays, theta, grad, b, g, coef, grad_type), arrays);
}

void adagrad_step(ArraysArgument theta, ArraysArgument grad, ArraysArgument grad_sq,
                  py::handle learning_rate, py::handle delta, GradTypeArgument grad_type) {
  DeviceArrays arrays("adagrad_step");
  launch(adagrad_arguments(arrays, theta, grad, grad_sq, learning_rate, delta, grad_type), arrays);
}

}  // namespace

void bind_cuda_step(py::module_& module) {
  module.def("step", preconditioned_step, py::arg("theta"), py::arg("grad"),
             py::arg("learning_rate"), py::kw_only(), py::arg("grad_sq") = py::none(),
             py::arg("grad_type") = py::none(), "As aruba_fast.step, on the arrays' device.");
  module.def("aruba_step", aruba_step, py::arg("theta"), py::arg("grad"), py::arg("b"),
             py::arg("g"), py::kw_only(), py::arg("coef"), py::arg("grad_type") = py::none(),
             "As aruba_fast.aruba_step, on the arrays' device.");
  module.def("adagrad_step", adagrad_step, py::arg("theta"), py::arg("grad"), py::arg("grad_sq"),
             py::kw_only(), py::arg("learning_rate"), py::arg("delta"),
             py::arg("grad_type") = py::none(),
             "As aruba_fast.adagrad_step, on the arrays' device.");
}

}  // namespace aruba_fast::python
