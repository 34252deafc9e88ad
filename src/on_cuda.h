// Where arrays live: those of a CUDA device are the business of the extension aruba_fast._cuda.
#pragma once

#include <pybind11/critical_section.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

namespace aruba_fast::python {

// Of an array that is not NumPy's, or of the first one of a list.
bool foreign_on_cuda(pybind11::handle object);

// NumPy's arrays, the common case, are told by their type alone.
inline bool on_cuda(pybind11::handle object) {
  return !pybind11::isinstance<pybind11::array>(object) && foreign_on_cuda(object);
}

}  // namespace aruba_fast::python
