// The extension module aruba_fast._cuda: a table of contents. It needs no driver to be imported.
#include "cuda_bindings.h"
#include "cuda_entries.h"
#include "errors.h"

namespace aruba_fast::python {
namespace {

constexpr CudaEntries kCudaEntries = {
    .step_leaves = cuda::step_leaves,
    .sum_tasks_bytes = cuda::sum_tasks_bytes,
    .sum_tasks = cuda::sum_tasks,
    .learn_bytes = cuda::learn_bytes,
    .learn_sums = cuda::learn,
    .learn_tasks = cuda::learn,
    .copy = cuda::copy,
};

}  // namespace
}  // namespace aruba_fast::python

PYBIND11_MODULE(_cuda, module, pybind11::mod_gil_not_used()) {
  module.doc() = "What aruba_fast._core does, on the arrays of a CUDA device.";
  aruba_fast::python::translate_errors();
  aruba_fast::python::bind_cuda_step(module);
  aruba_fast::python::bind_cuda_meta(module);
  aruba_fast::python::bind_cuda_tasks(module);
  aruba_fast::python::bind_cuda_info(module);
  module.attr("entries") =
      pybind11::capsule(&aruba_fast::python::kCudaEntries, aruba_fast::python::CudaEntries::kName);
}
