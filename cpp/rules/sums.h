// Sums that keep what rounding takes from them: pairs, Kahan's sum, and sums of sums; and where a
// sum along coordinates is cut.
#pragma once

#include "rule.h"

namespace aruba_fast {

// More coordinates than these are summed in segments, whose sums are added in order: on a GPU a
// segment is what one warp holds in its registers.
constexpr int kSegment = 512;

// Tasks are summed in chunks of this many, in order, whoever sums them: the chunk is what makes the
// bits independent of threads.
constexpr std::int64_t kTaskChunk = 128;

// An unevaluated sum of two numbers: about 106 bits.
template <class V>
struct Twofold {
  V high, low;

  ARUBA_RULE V value() const { return high + low; }
};

// Knuth's TwoSum: high + x exactly, the rounding error kept in low.
template <class V>
ARUBA_RULE void add(Twofold<V>& sum, V x) {
  const V s = sum.high + x;
  const V part = add_as_fma(s, -sum.high);
  const V error = add_as_fma(add_as_fma(sum.high, part - s), x - part);
  sum = {s, sum.low + error};
}

// The same of numbers that are not negative: Dekker's sum of the larger and the smaller one.
template <class V>
ARUBA_RULE void add_not_negative(Twofold<V>& sum, V x) {
  const V s = sum.high + x, large = larger(sum.high, x), small = smaller(sum.high, x);
  sum = {s, sum.low + add_as_fma(small, -add_as_fma(s, -large))};
}

template <class V>
ARUBA_RULE void add(Twofold<V>& sum, const Twofold<V>& other) {
  add(sum, other.high);
  const V low = sum.low + other.low;
  const V high = sum.high + low;
  sum = {high, low - (high - sum.high)};
}

// Kahan's sum: cheaper, and enough for losses.
template <class V>
struct Compensated {
  V sum = V(Number<V>(0)), error = V(Number<V>(0));

  ARUBA_RULE void add(V x) {
    const V term = x - error, next = sum + term;
    error = (next - sum) - term;
    sum = next;
  }
  ARUBA_RULE double value() const { return static_cast<double>(sum) - static_cast<double>(error); }
};

// What was summed in `part` goes to the sum of such sums, the pair of total and rest, or starts it;
// `part` begins anew.
template <class V>
ARUBA_RULE void gather(V& part, V& total, V& rest, bool start = false) {
  const V zero = V(Number<V>(0));
  Twofold<V> sum = start ? Twofold<V>{zero, zero} : Twofold<V>{total, rest};
  add(sum, part);
  total = sum.high;
  rest = sum.low;
  part = zero;
}

// The whole sum, to `part`; the sum of sums begins anew.
template <class V>
ARUBA_RULE void collect(V& part, V& total, V& rest) {
  part = total + rest;
  total = rest = V(Number<V>(0));
}

// ---- plain sums in the order of a warp ----

// Term i goes to lane i mod 32; every lane is summed in order, and the lanes are folded 16-8-4-2-1.
constexpr int kLanes = 32;

ARUBA_RULE double fold_lanes(double* lanes) {
  for (int half = kLanes / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) lanes[i] = lanes[i] + lanes[i + half];
  return lanes[0];
}

ARUBA_RULE double warp_sum(const double* terms, std::int64_t n, std::int64_t stride) {
  double lanes[kLanes] = {};
  for (std::int64_t i = 0; i < n; ++i) lanes[i % kLanes] += terms[i * stride];
  return fold_lanes(lanes);
}

}  // namespace aruba_fast
