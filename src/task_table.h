// What every entry that takes tasks reads from Python.
#pragma once

#include <string>

#include "arrays.h"
#include "ops_tasks.h"

namespace aruba_fast::python {

Loss loss_named(const char* function, const std::string& name);
TaskTable table_of(const char* function, py::handle x, py::handle y, py::handle starts,
                   py::handle stops);
// Ctrl-C, seen from native code: true when a signal handler raised.
bool interrupted();

}  // namespace aruba_fast::python
