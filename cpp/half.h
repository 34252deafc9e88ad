// bfloat16 and IEEE binary16 as storage types: gradients arrive in them and are widened before
// anything is computed.
#pragma once

#include <cstdint>

namespace aruba_fast {

struct BFloat16 {
  std::uint16_t bits;
};

struct Float16 {
  std::uint16_t bits;
};

}  // namespace aruba_fast
