// Objects of the caller, whose own code runs when they are asked for something.
#include "objects.h"

#include <pybind11/numpy.h>

#include <cmath>

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

// Python's and NumPy's numbers; an array of another library is none, even where it would turn into
// one.
bool is_number(py::handle object) {
  if (PyFloat_Check(object.ptr()) || PyLong_Check(object.ptr())) return true;
  const PyNumberMethods* methods = Py_TYPE(object.ptr())->tp_as_number;
  return methods && methods->nb_float && !py::isinstance<py::array>(object) &&
         !attribute(object, "__dlpack__");
}

double number(const char* function, const char* name, py::handle object) {
  const double value = PyFloat_AsDouble(object.ptr());
  if (value != -1 || !PyErr_Occurred()) return value;
  // An integer beyond all floats.
  if (PyLong_Check(object.ptr()) && PyErr_ExceptionMatches(PyExc_OverflowError)) {
    PyErr_Clear();
    return object < py::int_(0) ? -HUGE_VAL : HUGE_VAL;
  }
  py::error_already_set error;
  const std::string subject = "`" + std::string(name) + "`";
  const PyNumberMethods* methods = Py_TYPE(object.ptr())->tp_as_number;
  if (methods && (methods->nb_float || methods->nb_index))
    refuse_because(error, function, subject, "be a number", type_name(object));
  refuse<TypeError>(function, subject, "be a number", type_name(object));
}

}  // namespace aruba_fast::python
