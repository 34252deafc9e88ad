// Objects of the caller, whose own code runs when they are asked for something.
#include "objects.h"

namespace aruba_fast::python {

namespace py = pybind11;

std::string type_name(py::handle object) {
  return py::str(py::type::handle_of(object).attr("__name__"));
}

bool is_instance_of(py::handle object, const char* library, const char* name) {
  const py::dict modules = py::reinterpret_borrow<py::dict>(PyImport_GetModuleDict());
  PyObject* module = PyDict_GetItemString(modules.ptr(), library);
  if (!module) return false;
  const py::object type = attribute(module, name);
  return type && py::isinstance(object, type);
}

void require_failure(const py::error_already_set& error) {
  if (!error.matches(PyExc_Exception) || error.matches(PyExc_MemoryError)) throw error;
}

py::object attribute(py::handle object, const char* name) {
  if (PyObject* found = PyObject_GetAttrString(object.ptr(), name))
    return py::reinterpret_steal<py::object>(found);
  if (PyErr_ExceptionMatches(PyExc_AttributeError)) PyErr_Clear();
  else require_failure(py::error_already_set());
  return py::object();
}

void refuse_because(py::error_already_set& cause, const char* function, const std::string& subject,
                    const std::string& rule, const std::string& got) {
  require_failure(cause);
  std::string reason;
  if (PyObject* text = PyObject_Str(cause.value().ptr())) {
    reason = py::reinterpret_steal<py::str>(text);
  } else {
    require_failure(py::error_already_set());
    reason = type_name(cause.value());
  }
  py::raise_from(cause, PyExc_TypeError,
                 sentence(function, subject, rule, got + " (" + reason + ")").c_str());
  throw py::error_already_set();
}

}  // namespace aruba_fast::python
