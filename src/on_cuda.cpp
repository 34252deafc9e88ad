// Where arrays live: calls about those of a CUDA device go to the extension aruba_fast._cuda.
#include "on_cuda.h"

#include "arrays.h"

namespace aruba_fast::python {
namespace {

constexpr int kDlpackCuda = 2;

py::handle first_of(py::handle object) {
  if (!PyList_Check(object.ptr()) && !PyTuple_Check(object.ptr())) return object;
  return PySequence_Fast_GET_SIZE(object.ptr()) ? PySequence_Fast_GET_ITEM(object.ptr(), 0)
                                                : Py_None;
}

}  // namespace

bool foreign_on_cuda(py::handle object) {
  const py::handle array = first_of(object);
  if (py::isinstance<py::array>(array)) return false;
  // Asked of the type: the attribute itself fails where a library finds no driver.
  const bool has_interface = py::hasattr(py::type::handle_of(array), "__cuda_array_interface__");
  if (!py::hasattr(array, "__dlpack_device__")) return has_interface;
  try {
    const py::tuple device = array.attr("__dlpack_device__")();
    return device[0].cast<int>() == kDlpackCuda;
  } catch (py::error_already_set&) {
    return has_interface;
  }
}

// The Python layer finds the module for its own calls too: the sentence of a build without CUDA is
// there.
py::object cuda_function(const char* function, const char* name, py::handle object) {
  return py::module_::import("aruba_fast._arrays")
      .attr("cuda_module")(function, name, object)
      .attr(function);
}

}  // namespace aruba_fast::python
