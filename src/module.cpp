// The extension module aruba_fast._core: a table of contents.
#include "bindings.h"
#include "errors.h"

PYBIND11_MODULE(_core, module, pybind11::mod_gil_not_used()) {
  module.doc() = "Native core of aruba_fast.";
  aruba_fast::python::define_cuda_error(module);
  aruba_fast::python::translate_errors();
  aruba_fast::python::bind_step(module);
  aruba_fast::python::bind_meta(module);
  aruba_fast::python::bind_tasks(module);
  aruba_fast::python::bind_sparse(module);
  aruba_fast::python::bind_proximal(module);
  aruba_fast::python::bind_theory(module);
  aruba_fast::python::bind_info(module);
}
