// The softmax over several outputs, for a register of tasks.
#pragma once

#include "kernels.h"
#include "rules/softmax.h"
#include "simd.h"

namespace aruba_fast::ARUBA_ISA {

// Of a register of rows: z and term, which may be the same memory, hold a row of `stride` for each
// class. Returns the losses, and calls body(c, probability) for every class.
template <class T, class Body>
ARUBA_RULE Pack<T> softmax(const T* z, T* term, std::int64_t stride, std::int64_t n_classes,
                           Pack<T> y, Body body) {
  using P = Pack<T>;
  P maximum = load(z), sum(T(0)), chosen(T(0));
  for (std::int64_t c = 1; c < n_classes; ++c)
    maximum = softmax_maximum(maximum, load(z + c * stride));
  for (std::int64_t c = 0; c < n_classes; ++c) {
    const P score = load(z + c * stride), own = softmax_term(score, maximum);
    chosen = select(y == P(static_cast<T>(c)), score, chosen);
    sum = sum + own;
    store(term + c * stride, own);
  }
  for (std::int64_t c = 0; c < n_classes; ++c) body(c, load(term + c * stride) / sum);
  return softmax_loss(sum, chosen, maximum);
}

}  // namespace aruba_fast::ARUBA_ISA
