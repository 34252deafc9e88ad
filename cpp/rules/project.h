// What a projection on a ball needs where squares of lengths are no numbers: a unit of length, and
// a start for its multiplier. The projection itself is a loop, cpp/project-inl.h.
#pragma once

#include "rule.h"

namespace aruba_fast {

// Whether two squares of lengths can be compared: neither is infinite, and the radius' has its
// digits.
template <class T>
ARUBA_RULE bool are_squares(T radius_sq, T norm_sq) {
  using F = Format<T>;
  return radius_sq >= F::kSmallestNormal && radius_sq < F::kInfinity && norm_sq < F::kInfinity;
}

// A power of two that takes the radius to [1, 4), the smaller half but for the largest.
template <class T>
ARUBA_RULE T unit_of(T radius) {
  using F = Format<T>;
  constexpr auto kExponent = (F::kOne >> F::kMantissa) * 2;  // of 1 twice: 1/2^e for 2^e
  const auto exponent = kExponent - (to_bits(radius) >> F::kMantissa);
  return from_bits<T>((exponent < 1 ? 1 : exponent) << F::kMantissa);
}

// A coordinate's share of the least lambda that the projection can need: no coordinate of what is
// left is longer than the radius. The mean over the coordinates is a start from the left.
template <class V>
ARUBA_RULE V least_lambda(V theta, V eta, V radius) {
  const V zero = V(Number<V>(0)), beyond = abs(theta) / radius - V(Number<V>(1));
  return select(beyond > zero, select(eta > zero, beyond / eta, zero), zero);
}

}  // namespace aruba_fast
