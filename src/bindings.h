// The parts of the extension module, each in its file.
#pragma once

#include <pybind11/pybind11.h>

namespace aruba_fast::python {

void bind_step(pybind11::module_& module);
void bind_meta(pybind11::module_& module);
void bind_sparse(pybind11::module_& module);
void bind_tasks(pybind11::module_& module);
void bind_proximal(pybind11::module_& module);
void bind_theory(pybind11::module_& module);
void bind_info(pybind11::module_& module);

}  // namespace aruba_fast::python
