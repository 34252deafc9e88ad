// The extension module aruba_fast._jax: kernels of _core as functions that XLA calls on the CPU,
// and those of _cuda, where that is there, as functions that it calls on CUDA.
#include <pybind11/pybind11.h>

#include "jax_device.h"

namespace aruba_fast::python {
namespace {

namespace py = pybind11;

const CoreEntries* entries = nullptr;
const CudaEntries* entries_of_cuda = nullptr;

py::capsule target(XLA_FFI_Error* (*handler)(XLA_FFI_CallFrame*)) {
  return py::capsule(reinterpret_cast<void*>(handler));
}

py::dict targets() {
  py::dict result;
  result["aruba_fast_step"] = target(aruba_fast_jax_step);
  result["aruba_fast_statistics"] = target(aruba_fast_jax_statistics);
  result["aruba_fast_learn"] = target(aruba_fast_jax_learn);
  return result;
}

// `table`: aruba_fast._cuda.entries.
py::dict cuda_targets(const py::capsule& table) {
  entries_of_cuda = table.get_pointer<const CudaEntries>();
  py::dict result;
  result["aruba_fast_cuda_step"] = target(aruba_fast_cuda_step);
  result["aruba_fast_cuda_statistics"] = target(aruba_fast_cuda_statistics);
  result["aruba_fast_cuda_learn"] = target(aruba_fast_cuda_learn);
  return result;
}

}  // namespace

const CoreEntries& core() { return *entries; }
const CudaEntries& cuda_entries() { return *entries_of_cuda; }

}  // namespace aruba_fast::python

PYBIND11_MODULE(_jax, module, pybind11::mod_gil_not_used()) {
  using namespace aruba_fast::python;
  module.doc() = "Functions that XLA calls.";
  const auto capsule = py::capsule(py::module_::import("aruba_fast._core").attr("entries"));
  entries = capsule.get_pointer<const CoreEntries>();
  module.def("targets", targets, "The functions by the names that they are registered under.");
  module.def("cuda_targets", cuda_targets, pybind11::arg("entries"),
             "The same for CUDA, by the kernels of these entries of _cuda.");
  bind_workspaces(module);
}
