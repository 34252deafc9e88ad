// What the tests of the step kernels share: all rules, and the call on the emulated device.
#pragma once

#include <vector>

#include "cuda/ops_step.h"

namespace aruba_fast::test {

inline std::vector<StepRule> all_rules() {
  std::vector<StepRule> rules;
  for (int i = 0; i < kStepRules; ++i) rules.push_back(static_cast<StepRule>(i));
  return rules;
}
const std::vector<StepRule> kRules = all_rules();

const cuda::Stream kStream{0, nullptr};
inline void on_device(const StepArguments& arguments) { cuda::step(arguments, kStream); }

}  // namespace aruba_fast::test
