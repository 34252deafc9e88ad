// The softmax over several outputs, for a register of tasks.
#pragma once

#include "kernels.h"
#include "simd.h"

namespace aruba_fast::ARUBA_ISA {

// z and slope hold kMaxSlots tasks for each of n_outputs classes. Returns the losses and fills in
// the slopes.
template <class T>
Pack<T> softmax(const T* z, T* slope, Pack<T> y, std::int64_t n_outputs) {
  using P = Pack<T>;
  P maximum = load(z), sum(T(0)), chosen(T(0));
  for (std::int64_t c = 1; c < n_outputs; ++c)
    maximum = softmax_maximum(maximum, load(z + c * kMaxSlots));
  for (std::int64_t c = 0; c < n_outputs; ++c) {
    const P at = load(z + c * kMaxSlots), term = softmax_term(at, maximum);
    chosen = select(y == P(static_cast<T>(c)), at, chosen);
    sum = sum + term;
    store(slope + c * kMaxSlots, term);
  }
  for (std::int64_t c = 0; c < n_outputs; ++c)
    store(slope + c * kMaxSlots,
          softmax_slope(load(slope + c * kMaxSlots), sum, y, static_cast<T>(c)));
  return log_positive(sum) - (chosen - maximum);
}

}  // namespace aruba_fast::ARUBA_ISA
