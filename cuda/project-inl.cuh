// Projection on the ball, as cpp/project-inl.h has it, by a team of threads.
#pragma once

#include "cpp/rules/project.h"
#include "launch.cuh"

namespace aruba_fast::cuda {

// State offers sum(term), the sum over all coordinates of term(theta, rate), and map(f), which
// makes theta f(theta, rate). Every thread of the team gets the same sums, and so goes the same
// way.
template <class T, class State>
__device__ __forceinline__ void project(State& state, bool one_rate, T radius) {
  constexpr int kIterations = 60;
  constexpr T kSlack = T(1) + T(8) / T(typename Format<T>::Bits(1) << Format<T>::kMantissa);
  T unit(1);
  const auto norm_sq_of = [&] {
    return state.sum([&](T theta, T) { return theta * unit * (theta * unit); });
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
    const T norm = aruba_fast::sqrt(norm_sq), scale = radius / norm;
    state.map(
        [=](T theta, T) { return ordinary ? theta * unit * scale : theta * unit / norm * radius; });
    return;
  }
  T lambda(0);
  if (!ordinary) {
    const T share = T(1) / state.sum([](T, T) { return T(1); });
    lambda =
        state.sum([&](T theta, T eta) { return share * least_lambda(theta * unit, eta, ball); });
  }
  const auto shrunk = [&](T theta, T eta) { return theta * unit / fma(lambda, eta, T(1)); };
  for (int iteration = 0; iteration < kIterations; ++iteration) {
    const T length_sq =
        state.sum([&](T theta, T eta) { return shrunk(theta, eta) * shrunk(theta, eta); });
    const T length = aruba_fast::sqrt(length_sq);
    if (!(length > ball * kSlack)) break;
    const T slope = state.sum([&](T theta, T eta) {
      const T at = shrunk(theta, eta);
      return at * at * (eta / fma(lambda, eta, T(1)));
    });
    if (!(slope > T(0))) break;  // only coordinates that cannot move are left
    lambda = lambda + length_sq / slope * ((length - ball) / ball);
  }
  unit = T(1);
  lambda = lambda + (lambda - lambda);  // an infinite one has found no point: nan says so
  state.map(shrunk);
}

}  // namespace aruba_fast::cuda
