// One register of numbers, in the instruction set of the including file.
//
// Arithmetic and comparison come from the compiler's vector extension (GCC, Clang); only what that
// does not spell (fma, sqrt, masked loads, half precision) is written per instruction set below.
// The includer defines ARUBA_ISA, the namespace it compiles into, so that no two instruction sets
// ever share a symbol.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "half.h"
#include "rules/rule.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#if defined(__AVX512F__)
#define ARUBA_REGISTER_BYTES 64
#elif defined(__AVX2__)
#define ARUBA_REGISTER_BYTES 32
#else
#define ARUBA_REGISTER_BYTES 16
#endif

namespace aruba_fast::ARUBA_ISA {

template <class T, int kBytes>
struct RegisterOf {
  typedef T type __attribute__((vector_size(kBytes), aligned(kBytes)));
  typedef T unaligned __attribute__((vector_size(kBytes), aligned(alignof(T))));
};

template <class T>
struct Pack {
  using Number = T;
  using Bits = typename Format<T>::Bits;
  static constexpr int kWidth = ARUBA_REGISTER_BYTES / static_cast<int>(sizeof(T));
  using Register = typename RegisterOf<T, ARUBA_REGISTER_BYTES>::type;
  using Mask = typename RegisterOf<Bits, ARUBA_REGISTER_BYTES>::type;

  Register v;

  Pack() = default;
  ARUBA_RULE Pack(Register r) : v(r) {}
  ARUBA_RULE explicit Pack(T s) : v(s - Register{}) {}

  friend ARUBA_RULE Pack operator+(Pack a, Pack b) { return a.v + b.v; }
  friend ARUBA_RULE Pack operator-(Pack a, Pack b) { return a.v - b.v; }
  friend ARUBA_RULE Pack operator*(Pack a, Pack b) { return a.v * b.v; }
  friend ARUBA_RULE Pack operator/(Pack a, Pack b) { return a.v / b.v; }
  friend ARUBA_RULE Pack operator-(Pack a) { return -a.v; }
  friend ARUBA_RULE Mask operator<(Pack a, Pack b) { return a.v < b.v; }
  friend ARUBA_RULE Mask operator>(Pack a, Pack b) { return a.v > b.v; }
  friend ARUBA_RULE Mask operator==(Pack a, Pack b) { return a.v == b.v; }
  friend ARUBA_RULE Mask to_bits(Pack a) { return reinterpret_cast<Mask>(a.v); }
  friend ARUBA_RULE Pack abs(Pack a) {
    return reinterpret_cast<Register>(reinterpret_cast<Mask>(a.v) &
                                      ~(Bits(1) << (8 * sizeof(T) - 1)));
  }
};

// 0, 1, ..., kWidth - 1.
template <class T>
using Lanes = std::make_integer_sequence<int, Pack<T>::kWidth>;

using Floats = Pack<float>;
using Doubles = Pack<double>;

ARUBA_RULE Floats select(Floats::Mask mask, Floats a, Floats b) { return mask ? a.v : b.v; }
ARUBA_RULE Doubles select(Doubles::Mask mask, Doubles a, Doubles b) { return mask ? a.v : b.v; }

#if defined(__AVX512F__)
ARUBA_RULE Floats fma(Floats a, Floats b, Floats c) {
  return Floats(Floats::Register(_mm512_fmadd_ps(a.v, b.v, c.v)));
}
ARUBA_RULE Doubles fma(Doubles a, Doubles b, Doubles c) {
  return Doubles(Doubles::Register(_mm512_fmadd_pd(a.v, b.v, c.v)));
}
ARUBA_RULE Floats sqrt(Floats a) { return Floats(Floats::Register(_mm512_sqrt_ps(a.v))); }
ARUBA_RULE Doubles sqrt(Doubles a) { return Doubles(Doubles::Register(_mm512_sqrt_pd(a.v))); }
#elif defined(__AVX2__)
ARUBA_RULE Floats fma(Floats a, Floats b, Floats c) {
  return Floats(Floats::Register(_mm256_fmadd_ps(a.v, b.v, c.v)));
}
ARUBA_RULE Doubles fma(Doubles a, Doubles b, Doubles c) {
  return Doubles(Doubles::Register(_mm256_fmadd_pd(a.v, b.v, c.v)));
}
ARUBA_RULE Floats sqrt(Floats a) { return Floats(Floats::Register(_mm256_sqrt_ps(a.v))); }
ARUBA_RULE Doubles sqrt(Doubles a) { return Doubles(Doubles::Register(_mm256_sqrt_pd(a.v))); }
#elif defined(ARUBA_NEON)
ARUBA_RULE Floats fma(Floats a, Floats b, Floats c) {
  return Floats(Floats::Register(vfmaq_f32(c.v, a.v, b.v)));
}
ARUBA_RULE Doubles fma(Doubles a, Doubles b, Doubles c) {
  return Doubles(Doubles::Register(vfmaq_f64(c.v, a.v, b.v)));
}
ARUBA_RULE Floats sqrt(Floats a) { return Floats(Floats::Register(vsqrtq_f32(a.v))); }
ARUBA_RULE Doubles sqrt(Doubles a) { return Doubles(Doubles::Register(vsqrtq_f64(a.v))); }
#else
// The baseline has no fma instruction to count on: the C library's, exact by definition and slow.
template <class T, int... lane>
ARUBA_RULE Pack<T> fma(Pack<T> a, Pack<T> b, Pack<T> c, std::integer_sequence<int, lane...>) {
  return typename Pack<T>::Register{aruba_fast::fma(a.v[lane], b.v[lane], c.v[lane])...};
}
template <class T>
ARUBA_RULE Pack<T> fma(Pack<T> a, Pack<T> b, Pack<T> c) {
  return fma(a, b, c, Lanes<T>());
}
template <class T, int... lane>
ARUBA_RULE Pack<T> sqrt(Pack<T> a, std::integer_sequence<int, lane...>) {
  return typename Pack<T>::Register{aruba_fast::sqrt(a.v[lane])...};
}
template <class T>
ARUBA_RULE Pack<T> sqrt(Pack<T> a) {
  return sqrt(a, Lanes<T>());
}
#endif

// Lane k of the result is lane from[k] of a, b being its continuation.
template <int... from, class T>
ARUBA_RULE Pack<T> shuffle(Pack<T> a, Pack<T> b) {
#if defined(__clang__)
  return __builtin_shufflevector(a.v, b.v, from...);
#else
  // GCC has the other only since 12.
  return __builtin_shuffle(a.v, b.v, typename Pack<T>::Mask{from...});
#endif
}

// Adders and multipliers are separate units on many processors, and sums of pairs are nothing but
// additions: every other one goes to the multiplier (reduction of [1000, 100 000] on Zen 5: AVX2 31
// instead of 42 ms, AVX-512 23 instead of 26).
ARUBA_RULE Doubles add_as_fma(Doubles a, Doubles b) {
#if defined(__AVX2__)
  return fma(a, Doubles(1.0), b);
#else
  return a + b;
#endif
}

// Of numbers that are none, either.
ARUBA_RULE Doubles larger(Doubles a, Doubles b) {
#if defined(__AVX512F__)
  return Doubles::Register(_mm512_max_pd(a.v, b.v));
#elif defined(__AVX2__)
  return Doubles::Register(_mm256_max_pd(a.v, b.v));
#elif defined(__SSE2__)
  return Doubles::Register(_mm_max_pd(a.v, b.v));
#else
  return select(a < b, b, a);
#endif
}
ARUBA_RULE Doubles smaller(Doubles a, Doubles b) {
#if defined(__AVX512F__)
  return Doubles::Register(_mm512_min_pd(a.v, b.v));
#elif defined(__AVX2__)
  return Doubles::Register(_mm256_min_pd(a.v, b.v));
#elif defined(__SSE2__)
  return Doubles::Register(_mm_min_pd(a.v, b.v));
#else
  return select(a < b, a, b);
#endif
}

// ---- memory ----

template <class T>
ARUBA_RULE Pack<T> load(const T* p) {
  return typename Pack<T>::Register(
      *reinterpret_cast<const typename RegisterOf<T, ARUBA_REGISTER_BYTES>::unaligned*>(p));
}

template <class T>
ARUBA_RULE void store(T* p, Pack<T> a) {
  *reinterpret_cast<typename RegisterOf<T, ARUBA_REGISTER_BYTES>::unaligned*>(p) = a.v;
}

// All ones in the first n lanes.
template <class T>
ARUBA_RULE typename Pack<T>::Mask first_lanes(int n) {
  typename Pack<T>::Mask lane;
  for (int i = 0; i < Pack<T>::kWidth; ++i) lane[i] = i;
  return lane < static_cast<typename Pack<T>::Bits>(n);
}

template <class T>
ARUBA_RULE Pack<T> keep(typename Pack<T>::Mask mask, Pack<T> a) {
  return from_bits<Pack<T>>(to_bits(a) & mask);
}

// The first n < kWidth lanes from memory, zero in the others; nothing beyond is touched.
template <class T>
ARUBA_RULE Pack<T> load_first(const T* p, [[maybe_unused]] int n,
                              [[maybe_unused]] typename Pack<T>::Mask mask) {
#if defined(__AVX2__) && !defined(__AVX512F__)
  if constexpr (sizeof(T) == 4)
    return Pack<T>(typename Pack<T>::Register(_mm256_maskload_ps(p, (__m256i)mask)));
  else return Pack<T>(typename Pack<T>::Register(_mm256_maskload_pd(p, (__m256i)mask)));
#elif defined(__AVX512F__)
  if constexpr (sizeof(T) == 4)
    return Pack<T>(typename Pack<T>::Register(
        _mm512_maskz_loadu_ps(static_cast<__mmask16>((1U << n) - 1), p)));
  else
    return Pack<T>(
        typename Pack<T>::Register(_mm512_maskz_loadu_pd(static_cast<__mmask8>((1U << n) - 1), p)));
#else
  typename Pack<T>::Register r{};
  for (int i = 0; i < Pack<T>::kWidth; ++i)
    if (i < n) r[i] = p[i];
  return r;
#endif
}

#if defined(__AVX512F__)
// The first n <= 8 lanes as half a register.
ARUBA_RULE RegisterOf<float, 32>::type load_first_half(const float* p, int n) {
  return RegisterOf<float, 32>::type(
      _mm256_maskz_loadu_ps(static_cast<__mmask8>((1U << n) - 1), p));
}
ARUBA_RULE Floats join(RegisterOf<float, 32>::type low, RegisterOf<float, 32>::type high) {
  return Floats(Floats::Register(_mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1)));
}
#endif

template <class T>
ARUBA_RULE void store_first(T* p, Pack<T> a, int n) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4)
    _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1U << n) - 1), a.v);
  else _mm512_mask_storeu_pd(p, static_cast<__mmask8>((1U << n) - 1), a.v);
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4) _mm256_maskstore_ps(p, (__m256i)first_lanes<T>(n), a.v);
  else _mm256_maskstore_pd(p, (__m256i)first_lanes<T>(n), a.v);
#else
  alignas(ARUBA_REGISTER_BYTES) T lanes[Pack<T>::kWidth];
  store(lanes, a);
  for (int i = 0; i < n; ++i) p[i] = lanes[i];
#endif
}

// Asks for the cache line at p; beyond the data it does nothing.
ARUBA_RULE void prefetch(const void* p) { __builtin_prefetch(p, 0, 3); }

// ---- widening ----

ARUBA_RULE Doubles load_doubles(const double* p) { return load(p); }

ARUBA_RULE Doubles load_doubles(const float* p) {
#if defined(__AVX512F__)
  return Doubles(Doubles::Register(_mm512_cvtps_pd(_mm256_loadu_ps(p))));
#elif defined(__AVX2__)
  return Doubles(Doubles::Register(
      _mm256_cvtps_pd(_mm_loadu_ps(p))));  // GCC 12 makes four instructions of the line below
#else
  using Half = RegisterOf<float, ARUBA_REGISTER_BYTES / 2>::unaligned;
  return __builtin_convertvector(*reinterpret_cast<const Half*>(p), Doubles::Register);
#endif
}

ARUBA_RULE void store_from_doubles(double* p, Doubles a) { store(p, a); }

ARUBA_RULE void store_from_doubles(float* p, Doubles a) {
  using Half = RegisterOf<float, ARUBA_REGISTER_BYTES / 2>;
  *reinterpret_cast<Half::unaligned*>(p) = __builtin_convertvector(a.v, Half::type);
}

// The next float32, as a double.
ARUBA_RULE Doubles rounded_to_float(Doubles a) {
#if defined(__AVX512F__)
  return Doubles(Doubles::Register(_mm512_cvtps_pd(_mm512_cvtpd_ps(a.v))));
#elif defined(__AVX2__)
  return Doubles(Doubles::Register(_mm256_cvtps_pd(_mm256_cvtpd_ps(a.v))));
#else
  using Half = RegisterOf<float, ARUBA_REGISTER_BYTES / 2>;
  return __builtin_convertvector(__builtin_convertvector(a.v, Half::type), Doubles::Register);
#endif
}

using Words = RegisterOf<std::uint16_t, ARUBA_REGISTER_BYTES / 2>;
using WideWords = RegisterOf<std::uint32_t, ARUBA_REGISTER_BYTES>::type;

ARUBA_RULE WideWords load_words(const void* p) {
#if defined(__AVX512F__)
  // GCC makes two halves of what is below (features of bfloat16: 108 instead of 100 ns a row of
  // 512).
  return (WideWords)_mm512_cvtepu16_epi32(_mm256_loadu_si256(static_cast<const __m256i*>(p)));
#else
  Words::type words;
  std::memcpy(&words, p, sizeof words);
  return __builtin_convertvector(words, WideWords);
#endif
}

template <class T>
ARUBA_RULE Pack<T> load_as(const T* p) {
  return load(p);
}

template <class T>
ARUBA_RULE Floats load_as(const BFloat16* p) {
  return widen_bfloat16<Floats>(load_words(p));
}

template <class T>
ARUBA_RULE Floats load_as(const Float16* p) {
#if defined(__AVX512F__)
  return Floats(
      Floats::Register(_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))));
#elif defined(__AVX2__)
  return Floats(
      Floats::Register(_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))));
#else
  return widen_float16<Floats>(load_words(p));
#endif
}

template <class T, class G>
ARUBA_RULE Pack<T> load_first_as(const G* p, int n) {
  if constexpr (std::is_same_v<T, G>) return load_first(p, n, first_lanes<T>(n));
  G lanes[Pack<T>::kWidth] = {};
  std::memcpy(lanes, p, static_cast<std::size_t>(n) * sizeof(G));
  return load_as<T>(lanes);
}

}  // namespace aruba_fast::ARUBA_ISA
