// Arrays of doubles a register at a time; the last, partial one moves through padded copies.
#pragma once

#include <cstring>

#include "simd.h"

namespace aruba_fast::ARUBA_ISA {

// Calls body(i, lanes, arrays at i) for every register of n doubles. The last, partial register
// moves through padded copies, of which the first kWritten are written back.
template <int kWritten, int kArrays, class Body>
ARUBA_RULE void over_registers(std::int64_t n, double* const (&arrays)[kArrays], Body body) {
  constexpr int kWidth = Doubles::kWidth;
  double* at[kArrays];
  std::int64_t i = 0;
  for (; i + kWidth <= n; i += kWidth) {
    for (int a = 0; a < kArrays; ++a) at[a] = arrays[a] + i;
    body(i, kWidth, at);
  }
  if (i == n) return;
  double tail[kArrays][kWidth] = {};
  const std::size_t bytes = static_cast<std::size_t>(n - i) * sizeof(double);
  for (int a = 0; a < kArrays; ++a) {
    std::memcpy(tail[a], arrays[a] + i, bytes);
    at[a] = tail[a];
  }
  body(i, static_cast<int>(n - i), at);
  for (int a = 0; a < kWritten; ++a) std::memcpy(arrays[a] + i, tail[a], bytes);
}

template <class T>
ARUBA_RULE Doubles load_lanes(const T* p, int lanes) {
  if (lanes == Doubles::kWidth) return load_doubles(p);
  T padded[Doubles::kWidth] = {};
  std::memcpy(padded, p, static_cast<std::size_t>(lanes) * sizeof(T));
  return load_doubles(padded);
}

template <class T>
ARUBA_RULE void store_lanes(T* p, Doubles a, int lanes) {
  if (lanes == Doubles::kWidth) return store_from_doubles(p, a);
  T padded[Doubles::kWidth];
  store_from_doubles(padded, a);
  std::memcpy(p, padded, static_cast<std::size_t>(lanes) * sizeof(T));
}

// False where a lane is nan.
template <class T>
ARUBA_RULE bool is_zero(Pack<T> zero) {
  T total(0);
  for (int lane = 0; lane < Pack<T>::kWidth; ++lane) total += zero.v[lane];
  return total == 0;
}

}  // namespace aruba_fast::ARUBA_ISA
