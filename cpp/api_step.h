// A public step on one array, as the entries for host and device memory take it.
#pragma once

#include "api_checks.h"
#include "ops_step.h"

namespace aruba_fast {

// Calls step(StepArguments). `rates` null: the number.
template <class T, class Step>
void step_by(std::span<T> theta, std::span<const T> grad, const Array* rates, double rate,
             std::span<T> grad_sq, Step step) {
  if (!rates) require_not_negative("step", "learning_rate", rate);
  const Array parameters = array_of("theta", theta), gradient = array_of("grad", grad),
              state = array_of("grad_sq", grad_sq);
  step(StepArguments{.function = "step",
                     .rule = StepRule::kOgd,
                     .theta = {&parameters, 1},
                     .grad = {&gradient, 1},
                     .first = {rates, rates ? std::size_t{1} : 0},
                     .state = {&state, grad_sq.data() ? std::size_t{1} : 0},
                     .parameters = {rate}});
}

}  // namespace aruba_fast
