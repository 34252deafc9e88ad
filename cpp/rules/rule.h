// What every rule is written in: + - * / sqrt, comparison, select and explicit fma.
//
// A rule is a stateless struct or function template over V, which is one register of numbers on the
// CPU (simd.h) and one number here and on a GPU. It owns no memory and no loop. All operations are
// correctly rounded and nothing is contracted, so V decides how many coordinates move at once and
// never which bits come out.
#pragma once

#include <cmath>
#include <cstdint>

#if defined(__CUDACC__)
#define ARUBA_RULE __host__ __device__ __forceinline__
#else
#define ARUBA_RULE __attribute__((always_inline)) inline
#endif

namespace aruba_fast {

// The scalar of V: Number<Pack<float>> and Number<float> are float.
template <class V>
struct NumberOf {
  using type = typename V::Number;
};
template <>
struct NumberOf<float> {
  using type = float;
};
template <>
struct NumberOf<double> {
  using type = double;
};
template <class V>
using Number = typename NumberOf<V>::type;

// Bits of the two formats that exp and log take apart.
template <class T>
struct Format;
template <>
struct Format<float> {
  using Bits = std::int32_t;
  static constexpr int kMantissa = 23;
  static constexpr Bits kOne = 0x3f800000;         // bits of 1
  static constexpr Bits kUnit = 0x4b000000;        // bits of 2^23, where one ulp is 1
  static constexpr float kUnitValue = 8388608.0F;  // 2^23
  static constexpr float kRound = 12582912.0F;     // 1.5 * 2^23: adding it rounds to an integer
  static constexpr float kLowestExp = -87.0F;      // exp of less is taken for zero
  static constexpr float kLn2High = 0.693359375F;  // ln 2 = high + low, high in 9 bits
  static constexpr float kLn2Low = -2.12194440e-4F;
  static constexpr float kShrink = 0x1p-70F;  // makes the square of any number a number
  static constexpr float kSmallestNormal = 0x1p-126F, kInfinity = __builtin_inff();
  static constexpr int kExpDegree = 7, kAtanhTerms = 7;
};
template <>
struct Format<double> {
  using Bits = std::int64_t;
  static constexpr int kMantissa = 52;
  static constexpr Bits kOne = 0x3ff0000000000000;
  static constexpr Bits kUnit = 0x4330000000000000;
  static constexpr double kUnitValue = 4503599627370496.0;
  static constexpr double kRound = 6755399441055744.0;
  static constexpr double kLowestExp = -708.0;
  static constexpr double kLn2High = 6.93147180369123816490e-01;
  static constexpr double kLn2Low = 1.90821492927058770002e-10;
  static constexpr double kShrink = 0x1p-600;
  static constexpr double kSmallestNormal = 0x1p-1022, kInfinity = __builtin_inf();
  static constexpr int kExpDegree = 13, kAtanhTerms = 16;
};

// One number as V. simd.h offers the same names for registers.
ARUBA_RULE float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
ARUBA_RULE double fma(double a, double b, double c) { return __builtin_fma(a, b, c); }
// a + b, as fma(a, 1, b) where the processor multiplies and adds in separate units (simd.h): the
// same bits.
ARUBA_RULE double add_as_fma(double a, double b) { return a + b; }
ARUBA_RULE float add_as_fma(float a, float b) { return a + b; }
ARUBA_RULE float sqrt(float a) { return __builtin_sqrtf(a); }
ARUBA_RULE double sqrt(double a) { return __builtin_sqrt(a); }
ARUBA_RULE float abs(float a) { return __builtin_fabsf(a); }
ARUBA_RULE double abs(double a) { return __builtin_fabs(a); }
ARUBA_RULE float select(bool mask, float a, float b) { return mask ? a : b; }
ARUBA_RULE double select(bool mask, double a, double b) { return mask ? a : b; }
ARUBA_RULE std::int32_t to_bits(float a) { return __builtin_bit_cast(std::int32_t, a); }
ARUBA_RULE std::int64_t to_bits(double a) { return __builtin_bit_cast(std::int64_t, a); }
template <class V, class Bits>
ARUBA_RULE V from_bits(Bits bits) {
  return __builtin_bit_cast(V, bits);
}

}  // namespace aruba_fast
