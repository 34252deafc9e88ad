// Float64 as pairs of float32, which is how programs without float64 hold it: there and back,
// compiled once per instruction set.
#pragma once

#include <limits>

#include "kernels.h"
#include "registers-inl.h"

namespace aruba_fast::ARUBA_ISA {

constexpr float kMostFloat = std::numeric_limits<float>::max();

// body(i, lanes) for every register of n columns.
template <class Body>
ARUBA_RULE void over_lanes(std::int64_t n, Body body) {
  constexpr int kWidth = Doubles::kWidth;
  std::int64_t i = 0;
  for (; i + kWidth <= n; i += kWidth) body(i, kWidth);
  if (i < n) body(i, static_cast<int>(n - i));
}

ARUBA_RULE Doubles within(Doubles x, Doubles least, Doubles most) {
  x = select(x < least, least, x);
  return select(most < x, most, x);
}

inline void widen_pairs(const float* high, const float* low, double* into, std::int64_t n) {
  over_lanes(n, [=](std::int64_t i, int lanes) {
    store_lanes(into + i, load_lanes(high + i, lanes) + load_lanes(low + i, lanes), lanes);
  });
}

inline void narrow_to_pairs(const NarrowCall& call) {
  const Doubles least(call.least), most(call.most), less(1 - 0x1p-24);
  over_lanes(call.n, [&](std::int64_t i, int lanes) {
    const Doubles x = within(load_lanes(call.from + i, lanes), least, most),
                  high = rounded_to_float(x), rest = rounded_to_float(x - high);
    store_lanes(call.high + i, high, lanes);
    // Half an ulp, rounded up to, would let the sum round to another high part.
    const auto is_its_own = rounded_to_float(high + rest) == high;
    store_lanes(call.low + i, select(is_its_own, rest, rest * less), lanes);
  });
}

// High parts of sums; what float32 has no room for is cut, and false is returned.
inline bool narrow_sums(const double* from, float* high, float* low, std::int64_t n) {
  const Doubles most(double{kMostFloat});
  Doubles::Mask fits = ~Doubles::Mask{};
  over_lanes(n, [&](std::int64_t i, int lanes) {
    const Doubles given = load_lanes(from + i, lanes), x = within(given, -most, most),
                  of_float = rounded_to_float(x);
    store_lanes(high + i, of_float, lanes);
    store_lanes(low + i, x - of_float, lanes);
    fits &= x == given;
  });
  Doubles::Bits all = -1;
  for (int lane = 0; lane < Doubles::kWidth; ++lane) all &= fits[lane];
  return all != 0;
}

// Ratios that are none become -1.
inline void narrow_ratios(const double* from, float* into, std::int64_t n) {
  const Doubles zero(0.0), none(-1.0), most(double{kMostFloat});
  over_lanes(n, [=](std::int64_t i, int lanes) {
    const Doubles ratio = load_lanes(from + i, lanes);
    const Doubles positive = select(ratio < zero, none, select(most < ratio, most, ratio));
    store_lanes(into + i, select(ratio - ratio == zero, positive, none), lanes);
  });
}

}  // namespace aruba_fast::ARUBA_ISA
