// The one loop over coordinates of the step rules, compiled once per instruction set.
#pragma once

#include "kernels.h"
#include "rules/step.h"
#include "simd.h"

namespace aruba_fast::ARUBA_ISA {

// Up to one register of coordinates: the whole register when kWhole, else its first n lanes.
template <class Rule, class T, class G, class F, bool kFirst, bool kState, bool kWhole>
ARUBA_RULE void step_array_register(T* theta, const G* grad, const F* first, T* state,
                                    const Parameters<Rule, Pack<T>>& numbers, int n) {
  const auto read = [&](const auto* p) {
    if constexpr (kWhole) return load_as<T>(p);
    else return load_first_as<T>(p, n);
  };
  const auto write = [&](T* p, Pack<T> values) {
    if constexpr (kWhole) store(p, values);
    else store_first(p, values, n);
  };
  Parameters<Rule, Pack<T>> parameters;
#pragma GCC unroll 4
  for (int i = 0; i < kParametersOf<Rule>; ++i) parameters[i] = numbers[i];
  Pack<T> moved = read(theta);
  State<Rule, Pack<T>> sum = {Pack<T>(T(0))};
  if constexpr (kFirst) parameters[0] = read(first);
  if constexpr (kState) sum[0] = read(state);
  Rule::step(moved, sum, read(grad), parameters);
  write(theta, moved);
  if constexpr (kState) write(state, sum[0]);
}

template <class Rule, class T, class G, class F, bool kFirst, bool kState>
void step_rows(const StepCall& call) {
  constexpr int kWidth = Pack<T>::kWidth;
  T* theta = static_cast<T*>(call.theta);
  T* state = static_cast<T*>(call.state);
  const G* grad = static_cast<const G*>(call.grad);
  const F* first = static_cast<const F*>(call.first);
  Parameters<Rule, Pack<T>> numbers;
  for (int i = 0; i < kParametersOf<Rule>; ++i)
    numbers[i] = Pack<T>(static_cast<T>(call.parameters[i]));
  for (std::int64_t row = 0; row < call.n_rows; ++row) {
    std::int64_t i = 0;
    for (; i + kWidth <= call.n; i += kWidth)
      step_array_register<Rule, T, G, F, kFirst, kState, true>(theta + i, grad + i, first + i,
                                                               state + i, numbers, kWidth);
    if (i < call.n)
      step_array_register<Rule, T, G, F, kFirst, kState, false>(
          theta + i, grad + i, first + i, state + i, numbers, static_cast<int>(call.n - i));
    theta += call.n;
    grad += call.n;
    if (kState) state += call.n;
  }
}

template <class Rule, class T, class G, class F, bool kFirst>
void step_with(const StepCall& call) {
  if constexpr (Rule::kStateIsOptional) {
    if (!call.state) return step_rows<Rule, T, G, F, kFirst, false>(call);
  }
  step_rows<Rule, T, G, F, kFirst, true>(call);
}

// F is the type of `first`, the rates of a rule: where it is not T, there always is one.
template <class Rule, class T, class G, class F>
void step(const StepCall& call) {
  if constexpr (std::is_same_v<T, F>) {
    if (!call.first) return step_with<Rule, T, G, F, false>(call);
  }
  step_with<Rule, T, G, F, true>(call);
}

}  // namespace aruba_fast::ARUBA_ISA
