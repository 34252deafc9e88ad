// The extension module aruba_fast._core: a table of contents.
#include "bindings.h"
#include "error.h"

PYBIND11_MODULE(_core, module, pybind11::mod_gil_not_used()) {
  namespace py = pybind11;
  module.doc() = "Native core of aruba_fast.";
  py::register_local_exception_translator([](std::exception_ptr error) {
    try {
      if (error) std::rethrow_exception(error);
    } catch (const aruba_fast::ValueError& e) {
      PyErr_SetString(PyExc_ValueError, e.what());
    } catch (const aruba_fast::TypeError& e) {
      PyErr_SetString(PyExc_TypeError, e.what());
    }
  });
  aruba_fast::python::bind_step(module);
  aruba_fast::python::bind_meta(module);
  aruba_fast::python::bind_tasks(module);
  aruba_fast::python::bind_theory(module);
  aruba_fast::python::bind_info(module);
}
