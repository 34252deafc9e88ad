// bfloat16 and IEEE binary16 as storage types: gradients arrive in them and are widened before
// anything is computed.
#pragma once

#include <cstdint>

#include "rules/rule.h"

namespace aruba_fast {

struct BFloat16 {
  std::uint16_t bits;
};

struct Float16 {
  std::uint16_t bits;
};

// V is float or a register of floats, Words as many unsigned 32-bit words, each a half's bits.
template <class V, class Words>
ARUBA_RULE V widen_bfloat16(Words bits) {
  return from_bits<V>(bits << 16);
}

// Exponent and mantissa are shifted into place, and a multiplication by 2^112 corrects the bias,
// subnormals included.
template <class V, class Words>
ARUBA_RULE V widen_float16(Words bits) {
  const Words magnitude = (bits & 0x7fffU) << 13, sign = (bits & 0x8000U) << 16;
  const V finite = from_bits<V>(magnitude) * V(0x1p112F),
          infinite_or_nan = from_bits<V>(magnitude | 0x7f800000U);
  const V value = select((bits & 0x7c00U) == 0x7c00U, infinite_or_nan, finite);
  return from_bits<V>(from_bits<Words>(to_bits(value)) | sign);
}

}  // namespace aruba_fast
