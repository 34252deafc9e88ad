// The tensors that phi is made of, where each has a prior of its own, in pieces of a segment.
#pragma once

#include <cstdint>

#include "sums.h"

namespace aruba_fast {

struct Piece {
  std::int64_t tensor, begin, end;
};

// Where the tensors begin, and their first pieces: two rows of n + 1 integers, in the memory where
// the learner is.
struct Tensors {
  const std::int64_t *begins = nullptr, *first_pieces = nullptr;
  std::int64_t n = 0, n_pieces = 0;

  Tensors() = default;
  Tensors(const std::int64_t* table, std::int64_t n_tensors, std::int64_t pieces)
      : begins(table), first_pieces(table + n_tensors + 1), n(n_tensors), n_pieces(pieces) {}
  // A table in host memory.
  Tensors(const std::int64_t* table, std::int64_t n_tensors)
      : Tensors(table, n_tensors, table[2 * n_tensors + 1]) {}

  ARUBA_RULE Piece piece(std::int64_t i) const {
    std::int64_t tensor = 0, beyond = n;
    while (beyond - tensor > 1) {
      const std::int64_t middle = (tensor + beyond) / 2;
      (first_pieces[middle] <= i ? tensor : beyond) = middle;
    }
    const std::int64_t begin = begins[tensor] + (i - first_pieces[tensor]) * kSegment,
                       end = begins[tensor + 1];
    return {tensor, begin, begin + kSegment < end ? begin + kSegment : end};
  }
};

}  // namespace aruba_fast
