// Whether a sum was rounded, which processors tell by a flag that stays set.
#pragma once

#include <cstdint>

#include "rules/rule.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace aruba_fast {

// The operations of this thread between clear() and is_set() have to read their operands from
// memory and write their results to it: neither moves beyond the two.
class InexactFlag {
 public:
  ARUBA_RULE static void clear() {
    fence();
    write(read() & ~kFlag);
    fence();
  }
  ARUBA_RULE static bool is_set() {
    fence();
    return (read() & kFlag) != 0;
  }
  // Whether it is ever set: what emulates a processor (Valgrind) may leave that out.
  static bool tells() {
    clear();
    const volatile double tiny = 0x1p-60;
    const volatile double sum = 1 + tiny;
    return sum == 1 && is_set();
  }

 private:
  ARUBA_RULE static void fence() { asm volatile("" ::: "memory"); }

#if defined(__x86_64__)
  static constexpr std::uint32_t kFlag = 0x20;
  ARUBA_RULE static std::uint32_t read() { return _mm_getcsr(); }
  ARUBA_RULE static void write(std::uint32_t flags) { _mm_setcsr(flags); }
#elif defined(__aarch64__)
  static constexpr std::uint64_t kFlag = 0x10;
  ARUBA_RULE static std::uint64_t read() {
    std::uint64_t flags;
    asm volatile("mrs %0, fpsr" : "=r"(flags));
    return flags;
  }
  ARUBA_RULE static void write(std::uint64_t flags) { asm volatile("msr fpsr, %0" ::"r"(flags)); }
#else
  // Nothing is known: whatever was added may have been rounded.
  static constexpr bool kFlag = true;
  ARUBA_RULE static int read() { return 1; }
  ARUBA_RULE static void write(int) {}
#endif
};

}  // namespace aruba_fast
