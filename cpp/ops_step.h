// The step rules on whole arrays and lists of arrays: checks, then one parallel sweep.
#pragma once

#include <span>

#include "array.h"
#include "kernels.h"

namespace aruba_fast {

// One call of a step rule. Spans have one entry per array, or none: `rates` for a scalar rate,
// `state` for no statistics.
struct StepArguments {
  const char* function;
  StepRule rule;
  std::span<const Array> theta, grad, rates, state;
  double rate = 0, damping = 0;
};

void step(const StepArguments& arguments);

}  // namespace aruba_fast
