// Features that a table holds in less than float32: what they are, and how they become float32.
#pragma once

#include <cstdint>

#include "half.h"

namespace aruba_fast {

enum class Narrow : std::uint8_t { kNone, kBFloat16, kFloat16, kUInt8 };

// Each feature is widened exactly; bytes are then multiplied by `scale`, with one rounding.
struct Widening {
  Narrow from = Narrow::kNone;
  float scale = 1;

  explicit operator bool() const { return from != Narrow::kNone; }
  std::int64_t bytes_of(std::int64_t n) const { return from == Narrow::kUInt8 ? n : 2 * n; }
};

// Number i of a narrow table.
inline float widened(const void* x, Widening widening, std::int64_t i) {
  switch (widening.from) {
    case Narrow::kBFloat16:
      return widen_bfloat16<float>(std::uint32_t{static_cast<const BFloat16*>(x)[i].bits});
    case Narrow::kFloat16:
      return widen_float16<float>(std::uint32_t{static_cast<const Float16*>(x)[i].bits});
    case Narrow::kUInt8:
      return static_cast<float>(static_cast<const std::uint8_t*>(x)[i]) * widening.scale;
    case Narrow::kNone:
      break;
  }
  return 0;
}

}  // namespace aruba_fast
