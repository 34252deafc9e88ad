// The extension module aruba_fast._cuda: a table of contents. It needs no driver to be imported.
#include "cuda_bindings.h"
#include "errors.h"

PYBIND11_MODULE(_cuda, module, pybind11::mod_gil_not_used()) {
  module.doc() = "What aruba_fast._core does, on the arrays of a CUDA device.";
  aruba_fast::python::translate_errors();
  aruba_fast::python::bind_cuda_step(module);
  aruba_fast::python::bind_cuda_meta(module);
  aruba_fast::python::bind_cuda_tasks(module);
  aruba_fast::python::bind_cuda_info(module);
}
