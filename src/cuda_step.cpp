// The step functions on arrays of a CUDA device.
#include "cuda/ops_step.h"
#include "cuda_bindings.h"
#include "device_arrays.h"
#include "step_arguments.h"

namespace aruba_fast::python {
namespace {

void launch(DeviceArrays& arrays, const StepArguments& arguments) {
  arrays.enqueue([&](const cuda::Stream& stream) { cuda::step(arguments, stream); });
  arrays.written();
}

}  // namespace

void bind_cuda_step(py::module_& module) { bind_step_rules<DeviceArrays>(module, launch); }

}  // namespace aruba_fast::python
