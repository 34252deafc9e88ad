// Rows of features in less than float32 become rows of float32 just before the loops read them: no
// loop is compiled for each type of features, and memory moves the narrow ones.
#pragma once

#include "simd.h"
#include "widening.h"

namespace aruba_fast::ARUBA_ISA {

ARUBA_RULE Floats load_as_floats(const BFloat16* p, Floats) { return load_as<float>(p); }
ARUBA_RULE Floats load_as_floats(const Float16* p, Floats) { return load_as<float>(p); }
ARUBA_RULE Floats load_as_floats(const std::uint8_t* p, Floats scale) {
#if defined(__AVX512F__)
  const __m512i whole = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  return Floats(Floats::Register(_mm512_cvtepi32_ps(whole))) * scale;
#elif defined(__AVX2__)
  const __m256i whole = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  return Floats(Floats::Register(_mm256_cvtepi32_ps(whole))) * scale;
#else
  RegisterOf<std::uint8_t, ARUBA_REGISTER_BYTES / 4>::type bytes;
  std::memcpy(&bytes, p, sizeof bytes);
  return Floats(__builtin_convertvector(bytes, Floats::Register)) * scale;
#endif
}

// The first n < kWidth of them, zero in the other lanes.
template <class Number>
ARUBA_RULE Floats load_first_as_floats(const Number* p, Floats scale, std::int64_t n) {
  Number some[Floats::kWidth] = {};
  std::memcpy(some, p, static_cast<std::size_t>(n) * sizeof(Number));
  return load_as_floats(some, scale);
}

// The first n numbers of x.
template <class Number>
ARUBA_RULE void widen(const Number* x, Floats scale, std::int64_t n, float* to) {
  constexpr int kWidth = Floats::kWidth;
  const std::int64_t tail = n % kWidth, full = n - tail;
#pragma GCC unroll 4
  for (std::int64_t j = 0; j < full; j += kWidth) store(to + j, load_as_floats(x + j, scale));
  if (tail)
    store_first(to + full, load_first_as_floats(x + full, scale, tail), static_cast<int>(tail));
}

// body(x, scale) with the table as what it holds.
template <class Body>
ARUBA_RULE void as_narrow(const void* x, Widening widening, Body body) {
  switch (widening.from) {
    case Narrow::kBFloat16:
      return body(static_cast<const BFloat16*>(x), Floats(1));
    case Narrow::kFloat16:
      return body(static_cast<const Float16*>(x), Floats(1));
    case Narrow::kUInt8:
      return body(static_cast<const std::uint8_t*>(x), Floats(widening.scale));
    case Narrow::kNone:
      return;
  }
}

// Features first..first + n of the table.
inline void widen(const void* x, Widening widening, std::int64_t first, std::int64_t n, float* to) {
  as_narrow(x, widening,
            [&](const auto* from, Floats scale) { widen(from + first, scale, n, to); });
}

// body(j, x) for the features of row `row` of the table as T, some at a time: x[i] is feature j +
// i, and there are n.
template <class T, class Body>
void over_row(const void* x, Widening widening, std::int64_t row, std::int64_t d, Body body) {
  if (!widening) return body(0, d, static_cast<const T*>(x) + row * d);
  if constexpr (sizeof(T) == sizeof(float)) {
    constexpr std::int64_t kTogether = 256;
    alignas(ARUBA_REGISTER_BYTES) float some[kTogether];
    for (std::int64_t j = 0; j < d; j += kTogether) {
      const std::int64_t n = d - j < kTogether ? d - j : kTogether;
      widen(x, widening, row * d + j, n, some);
      body(j, n, some);
    }
  }
}

}  // namespace aruba_fast::ARUBA_ISA
