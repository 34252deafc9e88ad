// What tasks spread, and the rates by the prior of one average task: sums in the order of a warp.
#pragma once

#include "kernels.h"
#include "registers-inl.h"

namespace aruba_fast::ARUBA_ISA {

// Sum of n <= kSegment terms in the order of warp_sum: term(i, lanes) of each register.
template <class Term>
ARUBA_RULE double segment_sum(std::int64_t n, Term term) {
  constexpr int kWidth = Doubles::kWidth, kParts = kLanes / kWidth;
  Doubles part[kParts];
#pragma GCC unroll 16
  for (int k = 0; k < kParts; ++k) part[k] = Doubles(0.0);
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
#pragma GCC unroll 16
    for (int k = 0; k < kParts; ++k) part[k] = part[k] + term(i + k * kWidth, kWidth);
  }
  for (int k = 0; k < kParts && i + k * kWidth < n; ++k) {
    const std::int64_t at = i + k * kWidth;
    part[k] = part[k] + term(at, static_cast<int>(n - at < kWidth ? n - at : kWidth));
  }
  double lanes[kLanes];
  for (int k = 0; k < kParts; ++k) store(lanes + k * kWidth, part[k]);
  return fold_lanes(lanes);
}

template <class T>
void spread(const SpreadCall& call) {
  const std::int64_t n = call.end - call.begin;
  const T *phi = static_cast<const T*>(call.phi) + call.begin,
          *rates = static_cast<const T*>(call.rates) + call.begin;
  // A division a column, not one a column and task.
  alignas(64) double per_rate[kSegment + Doubles::kWidth];
  for (std::int64_t j = 0; j < n; j += Doubles::kWidth) {
    const int lanes = static_cast<int>(n - j < Doubles::kWidth ? n - j : Doubles::kWidth);
    store(per_rate + j, reciprocal_rate(load_lanes(rates + j, lanes)));
  }
  for (std::int64_t task = call.first; task < call.last; ++task) {
    const T *theta_hat = static_cast<const T*>(call.theta_hat) + task * call.n + call.begin,
            *grad_sq = static_cast<const T*>(call.grad_sq) + task * call.n + call.begin;
    call.spreads[task - call.first] = segment_sum(n, [&](std::int64_t j, int lanes) {
      const Doubles distance = load_lanes(theta_hat + j, lanes) - load_lanes(phi + j, lanes);
      return aruba_fast::spread(distance * distance, load_lanes(grad_sq + j, lanes),
                                load_lanes(rates + j, lanes), load(per_rate + j));
    });
  }
}

inline double sum(const double* values, std::int64_t n) {
  return segment_sum(n, [=](std::int64_t i, int lanes) { return load_lanes(values + i, lanes); });
}

template <class T>
void rates(const RatesCall& call) {
  T* rates = static_cast<T*>(call.rates);
  *call.spread = segment_sum(call.n, [&](std::int64_t i, int lanes) {
    const Doubles b = load_lanes(call.b + i, lanes), g = load_lanes(call.g + i, lanes);
    if (!call.stay) store_lanes(rates + i, rate_by_prior(b, g, call.prior, call.step), lanes);
    const Doubles rate = load_lanes(rates + i, lanes);
    return aruba_fast::spread(Doubles(2 / call.per_distance) * b, g, rate, reciprocal_rate(rate));
  });
}

}  // namespace aruba_fast::ARUBA_ISA
