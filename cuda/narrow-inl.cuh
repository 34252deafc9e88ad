// Features in less than float32: words as they lie in memory, and what they become, to the bits of
// cpp/widening.h.
#pragma once

#include "cpp/rules/rule.h"
#include "cpp/widening.h"
#include "launch.cuh"

namespace aruba_fast::cuda {

__device__ __forceinline__ float float16_of(std::uint32_t word) {
#if defined(__CUDACC__)
  float wide;
  asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(static_cast<std::uint16_t>(word)));
  return wide;
#else
  return widen_float16<float>(word);
#endif
}

// body(widen): what makes a number of a word. A byte is a float16 of so many times 2^-24, and all
// products but the last are exact: two types share their code.
template <class Body>
__device__ __forceinline__ void with_widening(const Widening& widening, Body body) {
  if (widening.from == Narrow::kBFloat16) {
    body([](std::uint32_t word) { return widen_bfloat16<float>(word); });
  } else {
    const float unit = widening.from == Narrow::kUInt8 ? 0x1p24F : 1.0F, scale = widening.scale;
    body([=](std::uint32_t word) { return float16_of(word) * unit * scale; });
  }
}

// body(words): the words that begin at `x`.
template <class Body>
__device__ __forceinline__ void with_words(const void* x, Narrow from, Body body) {
  if (from == Narrow::kUInt8) body(static_cast<const std::uint8_t*>(x));
  else body(static_cast<const std::uint16_t*>(x));
}

}  // namespace aruba_fast::cuda
