// Where arrays live: those of a CUDA device are the business of the extension aruba_fast._cuda.
#include "on_cuda.h"

#include "arrays.h"
#include "torch_tensors.h"

namespace aruba_fast::python {
namespace {

// Held, for what it is asked may change the list.
py::object first_of(py::handle object) {
  if (!PyList_Check(object.ptr()) && !PyTuple_Check(object.ptr()))
    return py::reinterpret_borrow<py::object>(object);
  const py::scoped_critical_section section(object);
  return py::reinterpret_borrow<py::object>(
      PySequence_Fast_GET_SIZE(object.ptr()) ? PySequence_Fast_GET_ITEM(object.ptr(), 0) : Py_None);
}

}  // namespace

bool foreign_on_cuda(py::handle object) {
  const py::object array = first_of(object);
  if (py::isinstance<py::array>(array)) return false;
  dlpack::Tensor tensor;
  if (describe(array, tensor)) return tensor.device.kind == dlpack::kCuda;
  // A tensor that could not be described may have no memory, and then its protocol crashes.
  if (is_instance_of(array, "torch", "Tensor"))
    if (const py::object is_cuda = attribute(array, "is_cuda")) return is_cuda.ptr() == Py_True;
  // Asked of the type: the attribute itself fails where a library finds no driver.
  const bool has_interface =
      static_cast<bool>(attribute(py::type::handle_of(array), "__cuda_array_interface__"));
  const py::object device_of = attribute(array, "__dlpack_device__");
  if (!device_of) return has_interface;
  try {
    const py::tuple device = device_of();
    return device[0].cast<int>() == dlpack::kCuda;
  } catch (const py::error_already_set& error) {
    require_failure(error);
  } catch (const py::builtin_exception&) {  // an answer that is no device
  }
  // JAX's have the attribute wherever they live.
  return has_interface && !is_instance_of(array, "jax", "Array");
}

}  // namespace aruba_fast::python
