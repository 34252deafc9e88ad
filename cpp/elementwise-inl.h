// The one loop over coordinates of the step rules, compiled once per instruction set.
#pragma once

#include "kernels.h"
#include "rules/step.h"
#include "simd.h"

namespace aruba_fast::ARUBA_ISA {

// Up to one register of coordinates: the whole register when kWhole, else its first n lanes.
template <class Rule, class T, class G, bool kRates, bool kState, bool kWhole>
ARUBA_RULE void step_register(T* theta, const G* grad, const T* rates, T* state, Pack<T> rate,
                              Pack<T> damping, int n) {
  Pack<T> at, slope, sum(T(0));
  if constexpr (kWhole) {
    at = load(theta);
    slope = load_as<T>(grad);
    if constexpr (kRates) rate = load(rates);
    if constexpr (kState) sum = load(state);
  } else {
    at = load_first_as<T>(theta, n);
    slope = load_first_as<T>(grad, n);
    if constexpr (kRates) rate = load_first_as<T>(rates, n);
    if constexpr (kState) sum = load_first_as<T>(state, n);
  }
  Rule::step(at, sum, slope, rate, damping);
  if constexpr (kWhole) {
    store(theta, at);
    if constexpr (kState) store(state, sum);
  } else {
    store_first(theta, at, n);
    if constexpr (kState) store_first(state, sum, n);
  }
}

template <class Rule, class T, class G, bool kRates, bool kState>
void step_rows(const StepCall& call) {
  constexpr int kWidth = Pack<T>::kWidth;
  T* theta = static_cast<T*>(call.theta);
  T* state = static_cast<T*>(call.state);
  const G* grad = static_cast<const G*>(call.grad);
  const T* rates = static_cast<const T*>(call.rates);
  const Pack<T> rate(static_cast<T>(call.rate)), damping(static_cast<T>(call.damping));
  for (std::int64_t row = 0; row < call.n_rows; ++row) {
    std::int64_t i = 0;
    for (; i + kWidth <= call.n; i += kWidth)
      step_register<Rule, T, G, kRates, kState, true>(theta + i, grad + i, rates + i, state + i,
                                                      rate, damping, kWidth);
    if (i < call.n)
      step_register<Rule, T, G, kRates, kState, false>(theta + i, grad + i, rates + i, state + i,
                                                       rate, damping, static_cast<int>(call.n - i));
    theta += call.n;
    grad += call.n;
    if (kState) state += call.n;
  }
}

template <class Rule, class T, class G>
void step(const StepCall& call) {
  if (call.rates && call.state) step_rows<Rule, T, G, true, true>(call);
  else if (call.rates) step_rows<Rule, T, G, true, false>(call);
  else if (call.state) step_rows<Rule, T, G, false, true>(call);
  else step_rows<Rule, T, G, false, false>(call);
}

}  // namespace aruba_fast::ARUBA_ISA
