// The step rules on arrays and lists of arrays in device memory: one kernel launch a call.
#pragma once

#include "cpp/ops_step.h"
#include "device.h"

namespace aruba_fast::cuda {

// As aruba_fast::step, with the same checks and the same bits. A list of several arrays is one
// launch for each pair of types in it; its table is copied to the device when it was not seen
// lately. Nothing is synchronized, and the call can be captured in a graph.
void step(const StepArguments& arguments, const Stream& stream);

}  // namespace aruba_fast::cuda
