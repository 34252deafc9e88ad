// Projection on the ball ||theta||_2 <= radius, in the norm of the step.
//
//   one rate for all      theta <- theta radius / ||theta||
//   eta per coordinate    argmin_u ||u - theta||_{1/eta}:  u_j = theta_j / (1 + lambda eta_j),
//                         ||u|| = radius
//
// lambda by Newton's method on 1/||u|| - 1/radius, which is concave in lambda and so approached
// from the left without overshooting. Where squares of lengths are no numbers, lengths are measured
// in another unit.
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

// `state` offers size(), the number of coordinates; sum(term), the sum over them of
// term(theta, eta), where both are numbers or registers; and map(f), theta <- f(theta, eta).
template <class T, class State>
ARUBA_ALGORITHM void project(State& state, bool one_rate, T radius) {
  // A handful of iterations suffice; the limit guards against rounding noise at the end.
  constexpr int kIterations = 60;
  constexpr T kSlack = T(1) + T(8) / T(typename Format<T>::Bits(1) << Format<T>::kMantissa);
  T unit(1);
  const auto norm_sq_of = [&] {
    return state.sum([&](auto theta, auto) {
      const auto at = theta * decltype(theta)(unit);
      return at * at;
    });
  };
  T norm_sq = norm_sq_of();
  const bool ordinary = are_squares<T>(radius * radius, norm_sq);
  if (!ordinary) {
    unit = unit_of(radius);
    norm_sq = norm_sq_of();
  }
  const T ball = radius * unit;
  if (!(norm_sq > ball * ball)) return;
  if (one_rate) {
    // The direction is all that stays.
    while (!ordinary && !(norm_sq < Format<T>::kInfinity) && unit > Format<T>::kShrink) {
      unit = unit * Format<T>::kShrink;
      norm_sq = norm_sq_of();
    }
    const T norm = sqrt(norm_sq), scale = radius / norm;
    state.map([&](auto theta, auto) {
      using V = decltype(theta);
      const V at = theta * V(unit);
      return ordinary ? at * V(scale) : at / V(norm) * V(radius);
    });
    return;
  }
  T lambda(0);
  if (!ordinary) {
    const T share = T(1) / state.size();
    lambda = state.sum([&](auto theta, auto eta) {
      using V = decltype(theta);
      return V(share) * least_lambda(theta * V(unit), eta, V(ball));
    });
  }
  const auto shrunk = [&](auto theta, auto eta) {
    using V = decltype(theta);
    return theta * V(unit) / fma(V(lambda), eta, V(T(1)));
  };
  for (int iteration = 0; iteration < kIterations; ++iteration) {
    const T length_sq = state.sum([&](auto theta, auto eta) {
      const auto at = shrunk(theta, eta);
      return at * at;
    });
    const T length = sqrt(length_sq);
    if (!(length > ball * kSlack)) break;
    const T slope = state.sum([&](auto theta, auto eta) {
      using V = decltype(theta);
      const V at = shrunk(theta, eta);
      return at * at * (eta / fma(V(lambda), eta, V(T(1))));
    });
    if (!(slope > T(0))) break;  // only coordinates that cannot move are left
    lambda = lambda + length_sq / slope * ((length - ball) / ball);
  }
  unit = T(1);
  lambda = lambda + (lambda - lambda);  // an infinite one has found no point: nan says so
  state.map(shrunk);
}

}  // namespace aruba_fast
