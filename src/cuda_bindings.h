// The parts of the extension module aruba_fast._cuda, each in its file.
#pragma once

#include <pybind11/pybind11.h>

namespace aruba_fast::python {

void bind_cuda_step(pybind11::module_& module);
void bind_cuda_meta(pybind11::module_& module);
void bind_cuda_tasks(pybind11::module_& module);
void bind_cuda_info(pybind11::module_& module);

}  // namespace aruba_fast::python
