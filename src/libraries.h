// Whose an array is, and the stream that its library works on, by its numbers.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>

#include "objects.h"

namespace aruba_fast::python {

inline bool is_cupy(pybind11::handle object) { return is_instance_of(object, "cupy", "ndarray"); }
inline bool is_torch(pybind11::handle object) { return is_instance_of(object, "torch", "Tensor"); }
inline bool is_jax(pybind11::handle object) { return is_instance_of(object, "jax", "Array"); }

inline void* pointer_of(pybind11::handle number) {
  return PyLong_AsVoidPtr(
      pybind11::int_(pybind11::reinterpret_borrow<pybind11::object>(number)).ptr());
}

// The stream that the caller works on, where its library has one.
inline void* current_stream(pybind11::handle object, int device) {
  if (is_cupy(object))
    return pointer_of(
        pybind11::module_::import("cupy").attr("cuda").attr("get_current_stream")(device).attr(
            "ptr"));
  if (is_torch(object))
    return pointer_of(
        pybind11::module_::import("torch").attr("cuda").attr("current_stream")(device).attr(
            "cuda_stream"));
  return nullptr;
}

// DLPack's and the array interface's numbers for the legacy default stream are 1 and, for CUDA
// itself, 0.
inline void* stream_from(pybind11::handle number) {
  void* stream = pointer_of(number);
  return stream == reinterpret_cast<void*>(1) ? nullptr : stream;
}
inline pybind11::int_ stream_number(void* stream) {
  return pybind11::int_(stream ? reinterpret_cast<std::uintptr_t>(stream) : 1);
}

}  // namespace aruba_fast::python
