// The one loop over coordinates of the step rules, compiled once per instruction set.
#pragma once

#include "kernels.h"
#include "rules/step.h"
#include "simd.h"

namespace aruba_fast::ARUBA_ISA {

// Up to one register of coordinates: the whole register when kWhole, else its first n lanes.
template <class Rule, class T, class G, bool kFirst, bool kState, bool kWhole>
ARUBA_RULE void step_array_register(T* theta, const G* grad, const T* first, T* state,
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

template <class Rule, class T, class G, bool kFirst, bool kState>
void step_rows(const StepCall& call) {
  constexpr int kWidth = Pack<T>::kWidth;
  T* theta = static_cast<T*>(call.theta);
  T* state = static_cast<T*>(call.state);
  const G* grad = static_cast<const G*>(call.grad);
  const T* first = static_cast<const T*>(call.first);
  Parameters<Rule, Pack<T>> numbers;
  for (int i = 0; i < kParametersOf<Rule>; ++i)
    numbers[i] = Pack<T>(static_cast<T>(call.parameters[i]));
  for (std::int64_t row = 0; row < call.n_rows; ++row) {
    std::int64_t i = 0;
    for (; i + kWidth <= call.n; i += kWidth)
      step_array_register<Rule, T, G, kFirst, kState, true>(theta + i, grad + i, first + i,
                                                            state + i, numbers, kWidth);
    if (i < call.n)
      step_array_register<Rule, T, G, kFirst, kState, false>(
          theta + i, grad + i, first + i, state + i, numbers, static_cast<int>(call.n - i));
    theta += call.n;
    grad += call.n;
    if (kState) state += call.n;
  }
}

template <class Rule, class T, class G>
void step(const StepCall& call) {
  if (call.first && call.state) step_rows<Rule, T, G, true, true>(call);
  else if (call.first) step_rows<Rule, T, G, true, false>(call);
  else if (call.state) step_rows<Rule, T, G, false, true>(call);
  else step_rows<Rule, T, G, false, false>(call);
}

}  // namespace aruba_fast::ARUBA_ISA
