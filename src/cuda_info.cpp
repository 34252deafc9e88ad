// What CUDA offers here, asked without making a context; how long memory is needed.
#include <optional>
#include <utility>

#include "cuda/device.h"
#include "cuda_bindings.h"
#include "device_arrays.h"
#include "held.h"

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

cuda::Stream stream_of(int device, std::uintptr_t handle) {
  return {device, reinterpret_cast<void*>(handle)};
}

// cuda::Mark for Python.
class PyMark {
 public:
  PyMark(int device, std::uintptr_t stream) { mark_.set(stream_of(device, stream)); }
  bool has_passed() const { return mark_.has_passed(); }
  void await(int device, std::uintptr_t stream) const { mark_.await(stream_of(device, stream)); }

 private:
  cuda::Mark mark_;
};

// cuda::RelaxedCapture as a context.
class PyRelaxedCapture {
 public:
  void enter() { relaxed_.emplace(); }
  void exit(py::handle, py::handle, py::handle) { relaxed_.reset(); }

 private:
  std::optional<cuda::RelaxedCapture> relaxed_;
};

void bind_lifetimes(py::module_& module) {
  module.def(
      "is_capturing",
      [](int device, std::uintptr_t stream) {
        return cuda::is_capturing(stream_of(device, stream));
      },
      py::arg("device"), py::arg("stream"), "Whether the stream is being captured into a graph.");
  module.def(
      "hold",
      [](int device, std::uintptr_t stream, py::object object) {
        let_go();
        hold(stream_of(device, stream), {std::move(object)});
      },
      py::arg("device"), py::arg("stream"), py::arg("object"),
      "Keeps an object until what is on the stream is done; of a captured one, its graph gone.");
  module.def(
      "wait_for",
      [](int device, std::uintptr_t stream, std::uintptr_t producer) {
        cuda::wait_for(stream_of(device, stream), reinterpret_cast<void*>(producer));
      },
      py::arg("device"), py::arg("stream"), py::arg("producer"),
      "Has a stream wait for what is on another by now; unless one of them is captured.");
  py::class_<PyMark>(module, "Mark", py::module_local(), "A point in the work of a stream.")
      .def(py::init<int, std::uintptr_t>(), py::arg("device"), py::arg("stream"))
      .def("has_passed", &PyMark::has_passed, "Whether the device is beyond it.")
      .def("wait", &PyMark::await, py::arg("device"), py::arg("stream"),
           "Has the stream wait for it; for a captured one, the host.");
  py::class_<PyRelaxedCapture>(module, "RelaxedCapture", py::module_local(),
                               "A context in which a capture does not forbid to allocate.")
      .def(py::init<>())
      .def("__enter__", &PyRelaxedCapture::enter)
      .def("__exit__", &PyRelaxedCapture::exit);
}

}  // namespace

void bind_cuda_info(py::module_& module) {
  module.def("info", info, "The part `cuda` of aruba_fast.info().");
  module.def("require_device", require_device, py::arg("function"),
             "Raises CudaError, in the name of `function`, when there is no device to work on.");
  bind_lifetimes(module);
}

}  // namespace aruba_fast::python
