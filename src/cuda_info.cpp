// What CUDA offers here, asked without making a context.
#include "cuda/device.h"
#include "cuda_bindings.h"
#include "device_arrays.h"

namespace aruba_fast::python {
namespace {

py::dict info() {
  const int n_devices = cuda::n_devices();
  py::dict result;
  result["built"] = true;
  result["versions"] = cuda::versions();
  result["devices"] = n_devices;
  result["problem"] = n_devices ? py::object(py::none()) : py::object(py::str(cuda::problem()));
  return result;
}

}  // namespace

void bind_cuda_info(py::module_& module) {
  module.def("info", info, "The part `cuda` of aruba_fast.info().");
  module.def("require_device", require_device, py::arg("function"),
             "Raises CudaError, in the name of `function`, when there is no device to work on.");
}

}  // namespace aruba_fast::python
