// Projection on the ball, as cpp/project-inl.h has it, by a team of threads.
#pragma once

#include <limits>

#include "cpp/rules/rule.h"
#include "launch.cuh"

namespace aruba_fast::cuda {

template <class T>
constexpr T kLargest = std::numeric_limits<T>::max();

// State offers sum(term), the sum over all coordinates of term(theta, rate), and map(f), which
// makes theta f(theta, rate). Every thread of the team gets the same sums, and so goes the same
// way.
template <class T, class State>
__device__ __forceinline__ void project(State& state, bool one_rate, T radius) {
  constexpr int kIterations = 60;
  constexpr T kSlack = T(1) + T(8) / T(typename Format<T>::Bits(1) << Format<T>::kMantissa);
  const T norm_sq = state.sum([](T theta, T) { return theta * theta; });
  if (!(norm_sq > radius * radius)) return;
  if (one_rate) {
    // Too long for its square to be a number: shorter first, the direction is all that stays.
    const T shrink = norm_sq > kLargest<T> ? Format<T>::kShrink : T(1);
    const T short_sq = shrink == T(1) ? norm_sq : state.sum([shrink](T theta, T) {
      const T shorter = theta * shrink;
      return shorter * shorter;
    });
    const T scale = radius / aruba_fast::sqrt(short_sq);
    state.map([=](T theta, T) { return theta * shrink * scale; });
    return;
  }
  T lambda(0);
  const auto shrunk = [&lambda](T theta, T eta) { return theta / fma(lambda, eta, T(1)); };
  for (int iteration = 0; iteration < kIterations; ++iteration) {
    const T length_sq =
        state.sum([&](T theta, T eta) { return shrunk(theta, eta) * shrunk(theta, eta); });
    const T length = aruba_fast::sqrt(length_sq);
    if (!(length > radius * kSlack)) break;
    const T slope = state.sum([&](T theta, T eta) {
      const T at = shrunk(theta, eta);
      return at * at * (eta / fma(lambda, eta, T(1)));
    });
    if (!(slope > T(0))) break;  // only coordinates that cannot move are left
    lambda = lambda + length_sq / slope * ((length - radius) / radius);
  }
  state.map(shrunk);
}

}  // namespace aruba_fast::cuda
