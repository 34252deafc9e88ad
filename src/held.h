// Objects that outlive their call, because a device is not done with their memory.
#pragma once

#include <pybind11/pybind11.h>

#include <vector>

#include "cuda/device.h"

namespace aruba_fast::python {

// Keeps objects until the device has done what is on the stream by now; while that is captured, for
// as long as the graph lives. They are let go in a later call.
void hold(const cuda::Stream& stream, std::vector<pybind11::object> objects);
void let_go();

}  // namespace aruba_fast::python
