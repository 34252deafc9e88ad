// The step rules on whole arrays and lists of arrays: checks, then one parallel sweep.
#pragma once

#include <span>

#include "array.h"
#include "kernels.h"

namespace aruba_fast {

// One call of a step rule. Spans have one entry per array, or none: `first`, the rule's first
// parameter for each coordinate, where that is a number; `state` for no statistics.
struct StepArguments {
  const char* function;
  StepRule rule;
  std::span<const Array> theta, grad, first, state;
  double parameters[kMostParameters] = {};
};

void step(const StepArguments& arguments);

}  // namespace aruba_fast
