// Sums along coordinates in 32 virtual lanes, folded 16-8-4-2-1, so that every width of register
// gives the same bits.
//
// Coordinate j goes to lane j mod 32. A lane without a coordinate holds zero and may be left out:
// adding zero changes nothing but the sign of a zero, and the last step, adding +0, settles that.
// More than a segment (rules/sums.h) is summed segment by segment.
#pragma once

#include <type_traits>

#include "rules/sums.h"
#include "simd.h"

namespace aruba_fast::ARUBA_ISA {

template <class T>
constexpr int kRegisters = kLanes / Pack<T>::kWidth;  // registers that the virtual lanes fill

// Lane l of the result: a where l's bit kBit is clear, then b where it is set; the other lanes of
// each move by kBit.
template <int kBit, class T, int... l>
ARUBA_RULE Pack<T> blend_and_add(Pack<T> a, Pack<T> b, std::integer_sequence<int, l...>) {
  constexpr int w = Pack<T>::kWidth;
  return shuffle<((l & kBit) ? l + w : l)...>(a, b) +
         shuffle<((l & kBit) ? (l ^ kBit) + w : l ^ kBit)...>(a, b);
}

// Lane k of the result is the sum of the lanes of sums[k], folded from the outside in; sums is
// overwritten.
template <class T, int kBit = Pack<T>::kWidth / 2>
ARUBA_RULE Pack<T> fold_each(Pack<T>* sums) {
  if constexpr (kBit == 0) {
    return sums[0] + Pack<T>(T(0));
  } else {
#pragma GCC unroll 16
    for (int k = 0; k < kBit; ++k)
      sums[k] = blend_and_add<kBit>(sums[k], sums[k + kBit], Lanes<T>());
    return fold_each<T, kBit / 2>(sums);
  }
}

// The registers of the virtual lanes, of which the first n are in use, folded into one.
template <int n, int kHalf, class T>
ARUBA_RULE Pack<T> fold_registers(Pack<T>* lanes) {
  if constexpr (kHalf == 0) {
    return lanes[0];
  } else {
#pragma GCC unroll 16
    for (int i = 0; i < (n < 2 * kHalf ? n - kHalf : kHalf); ++i)
      lanes[i] = lanes[i] + lanes[i + kHalf];
    return fold_registers<(n < kHalf ? n : kHalf), kHalf / 2>(lanes);
  }
}

template <int n, class T>
ARUBA_RULE Pack<T> fold_registers(Pack<T>* lanes) {
  return fold_registers<n, kRegisters<T> / 2>(lanes);
}

// Memory to ask for meanwhile, `step` bytes on for each cache line of T that is read.
struct Ahead {
  const char* at;
  std::int64_t step;
};

// Over the n coordinates of one segment: each of the virtual lanes becomes add(j, whole, lane) for
// the registers at j that it meets, the last of which may not be whole; folded into one register.
template <class T, class Add>
ARUBA_RULE Pack<T> sum_lanes(std::int64_t n, Ahead ahead, Add add) {
  constexpr int kWidth = Pack<T>::kWidth, kAll = kRegisters<T>;
  Pack<T> lanes[kAll];
#pragma GCC unroll 16
  for (int i = 0; i < kAll; ++i) lanes[i] = Pack<T>(T(0));
  std::int64_t j = 0;
  for (; j + kLanes <= n; j += kLanes) {
#pragma GCC unroll 4
    for (int line = 0; line < kLanes * static_cast<int>(sizeof(T)); line += 64) {
      prefetch(ahead.at);
      ahead.at += ahead.step;
    }
#pragma GCC unroll 16
    for (int i = 0; i < kAll; ++i) lanes[i] = add(j + i * kWidth, std::true_type(), lanes[i]);
  }
  if (j < n) {
#pragma GCC unroll 16
    for (int i = 0; i < kAll; ++i, j += kWidth) {
      if (j + kWidth <= n) lanes[i] = add(j, std::true_type(), lanes[i]);
      else if (j < n) lanes[i] = add(j, std::false_type(), lanes[i]);
    }
  }
  return fold_registers<kAll>(lanes);
}

// sum_j a_j b_j of one segment folded into one register. a has n entries; b is padded with zeros to
// whole registers. kBlocks > 0 promises ceil(n / width) == kBlocks; 0 is any length.
template <int kBlocks, class T>
ARUBA_RULE Pack<T> dot_lanes(const T* a, const T* b, std::int64_t n, Ahead ahead,
                             typename Pack<T>::Mask tail_mask) {
  constexpr int kWidth = Pack<T>::kWidth, kAll = kRegisters<T>;
  const int tail = static_cast<int>(n % kWidth);
  if constexpr (kBlocks == 0) {
    return sum_lanes<T>(n, ahead, [&](std::int64_t j, auto whole, Pack<T> sum) {
      return fma(whole ? load(a + j) : load_first(a + j, tail, tail_mask), load(b + j), sum);
    });
  } else {
    constexpr int kUsed = kBlocks > kAll ? kAll : kBlocks;
    Pack<T> lanes[kUsed];
#pragma GCC unroll 16
    for (int i = 0; i < kUsed; ++i) lanes[i] = Pack<T>(T(0));
    const auto multiply_add = [&](int lane, std::int64_t j, Pack<T> a_j) {
      lanes[lane] = fma(a_j, load(b + j), lanes[lane]);
    };
    // Rows of a task follow each other, but the processor's own prefetcher cannot follow that many
    // tasks (AVX-512, 64 features, two threads: 8.9 ns a round without, 6.4 with). To the end of
    // each line: rows rarely begin with one (from line to line 10.2 ns, 7.7 so).
#pragma GCC unroll 16
    for (int line = 0; line < kBlocks * kWidth * static_cast<int>(sizeof(T)); line += 64)
      prefetch(ahead.at + line + 63);
#pragma GCC unroll 16
    for (int i = 0; i + 1 < kBlocks; ++i) multiply_add(i % kAll, i * kWidth, load(a + i * kWidth));
    constexpr int last = (kBlocks - 1) * kWidth;
    multiply_add((kBlocks - 1) % kAll, last,
                 tail ? load_first(a + last, tail, tail_mask) : load(a + last));
    return fold_registers<kUsed>(lanes);
  }
}

template <int kHalf, class T, int... l>
ARUBA_RULE Pack<T> add_half(Pack<T> a, std::integer_sequence<int, l...>) {
  return a + shuffle<(l + kHalf) % Pack<T>::kWidth...>(a, a);
}

// The same sum of one register's lanes, as a number.
template <class T, int kHalf = Pack<T>::kWidth / 2>
ARUBA_RULE T fold(Pack<T> sum) {
  if constexpr (kHalf == 0) return sum.v[0] + T(0);
  else return fold<T, kHalf / 2>(add_half<kHalf>(sum, Lanes<T>()));
}

}  // namespace aruba_fast::ARUBA_ISA
