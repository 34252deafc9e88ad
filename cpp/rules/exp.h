// exp and log from correctly rounded operations only, so that they are the same bits on every
// machine.
//
//   exp(x)   = 2^n e^r,  n = round(x / ln 2),  |r| <= ln 2 / 2:   Taylor polynomial of e^r
//   log1p(e) = 2 atanh(e / (2 + e)),           e in [0, 1]:       Taylor series of atanh
//   log(x)   = k ln 2 + 2 atanh((f-1)/(f+1)),  x = 2^k f, f in [1/sqrt 2, sqrt 2]
//
// Degrees are the lowest whose remainder is below a quarter ulp; the errors (at most 2 ulp) are a
// test.
#pragma once

#include "rule.h"

namespace aruba_fast {

// e^x for x <= 0, and zero where that underflows; nan stays nan.
template <class V>
ARUBA_RULE V exp_nonpositive(V x) {
  using T = Number<V>;
  using F = Format<T>;
  const V clamped = select(x < V(F::kLowestExp), V(F::kLowestExp), x);
  const V shifted = fma(clamped, V(T(1.44269504088896340736)), V(F::kRound));  // n in its last bits
  const V n = shifted - V(F::kRound);
  const V r = fma(n, V(-F::kLn2Low), fma(n, V(-F::kLn2High), clamped));
  T factorial[F::kExpDegree + 1] = {T(1)};
  for (int k = 1; k <= F::kExpDegree; ++k) factorial[k] = factorial[k - 1] * T(k);
  V power_series = V(T(1) / factorial[F::kExpDegree]);
#pragma GCC unroll 16
  for (int k = F::kExpDegree - 1; k >= 0; --k)
    power_series = fma(power_series, r, V(T(1) / factorial[k]));
  const V scale = from_bits<V>((to_bits(shifted) << F::kMantissa) + F::kOne);  // 2^n
  return select(x < V(F::kLowestExp), V(T(0)), power_series * scale);
}

// 2 atanh(s) for |s| <= 1/3.
template <class V>
ARUBA_RULE V twice_atanh(V s) {
  using T = Number<V>;
  const V s2 = s * s;
  V series = V(T(1) / T(2 * Format<T>::kAtanhTerms - 1));
#pragma GCC unroll 16
  for (int k = Format<T>::kAtanhTerms - 2; k >= 1; --k)
    series = fma(series, s2, V(T(1) / T(2 * k + 1)));
  const V twice = s + s;
  return fma(series * s2, twice, twice);
}

// log(1 + e) for e in [0, 1], to full relative accuracy.
template <class V>
ARUBA_RULE V log1p_unit(V e) {
  return twice_atanh(e / (e + V(Number<V>(2))));
}

// log(x) for x >= 0, infinity included; nan stays nan.
template <class V>
ARUBA_RULE V log_positive(V x) {
  using T = Number<V>;
  using F = Format<T>;
  const auto subnormal = x < V(F::kSmallestNormal);
  const auto bits = to_bits(select(subnormal, x * V(F::kUnitValue), x));
  const V exponent = (from_bits<V>((bits >> F::kMantissa) | F::kUnit) -
                      V(F::kUnitValue + T((F::kOne >> F::kMantissa)))) -
                     select(subnormal, V(T(F::kMantissa)), V(T(0)));
  const auto kFraction = (typename F::Bits(1) << F::kMantissa) - 1;
  const V fraction = from_bits<V>((bits & kFraction) | F::kOne);  // in [1, 2)
  const auto large = fraction > V(T(1.41421356237309504880));
  const V f = select(large, fraction * V(T(0.5)), fraction);
  const V k = select(large, exponent + V(T(1)), exponent);
  const V one = V(T(1));
  const V log = fma(k, V(F::kLn2High), fma(k, V(F::kLn2Low), twice_atanh((f - one) / (f + one))));
  return select(x == V(T(0)), V(-F::kInfinity), select(x < V(F::kInfinity), log, x));
}

// log(x / y) for x, y >= 0 that are not both zero, also where the quotient overflows.
template <class V>
ARUBA_RULE V log_quotient(V x, V y) {
  const V quotient = x / y;
  return select(quotient < V(Format<Number<V>>::kInfinity), log_positive(quotient),
                log_positive(x) - log_positive(y));
}

}  // namespace aruba_fast
