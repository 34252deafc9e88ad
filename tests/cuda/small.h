// How much the tests run: under sanitizers, which are some ten times slower, less.
#pragma once

#include <cstdint>
#include <vector>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSmall = true;
#else
constexpr bool kSmall = false;
#endif

inline std::vector<std::int64_t> sizes() {
  std::vector<std::int64_t> all = {0,  1,  2,   3,   7,   15,   16,   17,  31,
                                   32, 33, 127, 128, 129, 4095, 4096, 4097};
  if (!kSmall) all.push_back(100003);
  return all;
}
