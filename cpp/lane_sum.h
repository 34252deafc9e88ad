// Long sums in float64, compensated, in an order that a thousand threads of a GPU can follow.
//
// Term i goes to lane i mod 1024; every lane is summed in order, and the lanes are folded
// 512-256-...-1, those without a term left out. An array of more than a segment is the sum of its
// segments' sums.
#pragma once

#include <algorithm>
#include <cstdint>

#include "rules/meta.h"

namespace aruba_fast {

constexpr int kSumLanes = 1024;
constexpr std::int64_t kSumSegment = 8 * kSumLanes;

// Sum of term(0), ..., term(n - 1): numbers or Twofolds.
template <class Term>
Twofold<double> lane_sum(std::int64_t n, Term term) {
  if (n == 0) return {0, 0};
  Twofold<double> lanes[kSumLanes];
  const std::int64_t used = std::min<std::int64_t>(n, kSumLanes);
  for (std::int64_t i = 0; i < used; ++i) {
    lanes[i] = {0, 0};
    add(lanes[i], term(i));
  }
  for (std::int64_t i = used; i < n; ++i) add(lanes[i % kSumLanes], term(i));
  for (std::int64_t half = kSumLanes / 2; half > 0; half /= 2)
    for (std::int64_t i = 0; i < half && i + half < used; ++i) add(lanes[i], lanes[i + half]);
  return lanes[0];
}

}  // namespace aruba_fast
