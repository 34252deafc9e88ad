// What the tests of the step kernels share: all rules, and the call on the emulated device.
#pragma once

#include <type_traits>
#include <vector>

#include "cuda/ops_step.h"

namespace aruba_fast::test {

inline std::vector<StepRule> all_rules() {
  std::vector<StepRule> rules;
  for (int i = 0; i < kStepRules; ++i) rules.push_back(static_cast<StepRule>(i));
  return rules;
}
const std::vector<StepRule> kRules = all_rules();

// Whether a rule reads rates of type F beside parameters of type T: one that takes a number alone
// reads no narrower array.
template <class T, class F>
bool reads(StepRule rule) {
  return std::is_same_v<T, F> || facts_of(rule).parameters[0].takes != Takes::kNumber;
}

const cuda::Stream kStream{0, nullptr};
inline void on_device(const StepArguments& arguments) { cuda::step(arguments, kStream); }

}  // namespace aruba_fast::test
