// The core's exceptions as Python's.
#pragma once

#include <pybind11/pybind11.h>

namespace aruba_fast::python {

// aruba_fast.CudaError lives in the extension that every build has.
void define_cuda_error(pybind11::module_& core);
// Every extension module needs its own translator.
void translate_errors();

}  // namespace aruba_fast::python
