// The step rules on whole arrays and lists of arrays: checks, then one parallel sweep.
#pragma once

#include <functional>
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

struct StepPlan;

// Called with coordinates begin..end of a piece of the plan, before and after they are stepped.
using StepVisit = std::function<void(std::size_t piece, std::int64_t begin, std::int64_t end)>;
struct StepVisits {
  StepVisit before, after;
};

// The sweep alone, of a plan whose arrays the caller has checked. With visits it goes tile by tile,
// so that what they read and write stays in the nearest cache.
void run_steps(StepRule rule, const StepPlan& plan, const StepVisits* visits = nullptr);

}  // namespace aruba_fast
