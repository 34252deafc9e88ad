// The core's exceptions as Python's.
#include "errors.h"

#include "aruba_fast/error.h"

namespace aruba_fast::python {
namespace {

namespace py = pybind11;

void translate(std::exception_ptr error) {
  try {
    if (error) std::rethrow_exception(error);
  } catch (const ValueError& e) {
    PyErr_SetString(PyExc_ValueError, e.what());
  } catch (const TypeError& e) {
    PyErr_SetString(PyExc_TypeError, e.what());
  } catch (const CudaError& e) {
    PyErr_SetString(py::module_::import("aruba_fast._core").attr("CudaError").ptr(), e.what());
  }
}

}  // namespace

void define_cuda_error(py::module_& core) {
  PyObject* type = PyErr_NewExceptionWithDoc(
      "aruba_fast._core.CudaError",
      "The CUDA driver or runtime refused, or there is none; the message tells what is missing.",
      PyExc_RuntimeError, nullptr);
  if (!type) throw py::error_already_set();
  core.attr("CudaError") = py::reinterpret_steal<py::object>(type);
}

void translate_errors() { py::register_local_exception_translator(translate); }

}  // namespace aruba_fast::python
