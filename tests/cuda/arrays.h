// Arrays of the tests: the same numbers on every machine, placed where it hurts, compared by bits.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "cpp/array.h"
#include "cpp/half.h"
#include "expect.h"

namespace aruba_fast::test {

// Reproducible numbers.
class Numbers {
 public:
  explicit Numbers(std::uint64_t seed) : state_(seed * 2654435769U + 12345) {}
  std::uint64_t bits() {
    state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
    return state_ >> 16;
  }
  // In [-1, 1).
  double next() { return static_cast<double>(bits() % 2000003) / 1000001.5 - 1; }
  template <class T>
  std::vector<T> vector(std::int64_t n, double shift = 0) {
    std::vector<T> values(static_cast<std::size_t>(n));
    for (T& value : values) value = static_cast<T>(next() + shift);
    return values;
  }
  // The same with zeros, subnormals, the largest, infinities and nans among them.
  template <class T>
  std::vector<T> wild_vector(std::int64_t n, double shift = 0) {
    using Limits = std::numeric_limits<T>;
    const std::array<T, 8> wild = {T(0),
                                   -T(0),
                                   Limits::denorm_min(),
                                   Limits::min(),
                                   Limits::max(),
                                   Limits::infinity(),
                                   -Limits::infinity(),
                                   Limits::quiet_NaN()};
    std::vector<T> values = vector<T>(n, shift);
    for (T& value : values)
      if (bits() % 19 == 0) value = wild[bits() % wild.size()];
    return values;
  }
  // Every pattern of 16 bits.
  template <class Half>
  std::vector<Half> halves(std::int64_t n) {
    std::vector<Half> values(static_cast<std::size_t>(n));
    for (Half& value : values) value.bits = static_cast<std::uint16_t>(bits());
    return values;
  }

  // Gradients, or rates, of any type.
  template <class G>
  std::vector<G> gradients(std::int64_t n, double shift = 0) {
    if constexpr (sizeof(G) == 2) return halves<G>(n);
    else return wild_vector<G>(n, shift);
  }

 private:
  std::uint64_t state_;
};

// Device memory: `offset` elements beyond a 16-byte boundary, with nothing after the last element
// where AddressSanitizer watches, and sentinels around it otherwise.
template <class T>
class DeviceArray {
 public:
#if defined(__SANITIZE_ADDRESS__)
  static constexpr std::size_t kAfter = 0;
#else
  static constexpr std::size_t kAfter = 16;
#endif

  explicit DeviceArray(const std::vector<T>& values, std::size_t offset = 0)
      : n_(values.size()),
        before_(16 + offset),
        memory_(new(std::align_val_t{16}) unsigned char[(before_ + n_ + kAfter) * sizeof(T)]) {
    std::memset(memory_.get(), kSentinel, (before_ + n_ + kAfter) * sizeof(T));
    if (n_ > 0) std::memcpy(data(), values.data(), n_ * sizeof(T));
  }
  ~DeviceArray() { expect(is_intact(), "something was written beside an array"); }
  DeviceArray(DeviceArray&&) = default;

  T* data() const { return reinterpret_cast<T*>(memory_.get()) + before_; }
  std::vector<T> values() const { return std::vector<T>(data(), data() + n_); }

 private:
  struct Free {
    void operator()(unsigned char* p) const { ::operator delete[](p, std::align_val_t{16}); }
  };
  static constexpr unsigned char kSentinel = 0x5a;

  bool is_intact() const {
    if (!memory_) return true;
    const auto clean = [&](std::size_t first, std::size_t n) {
      for (std::size_t i = first * sizeof(T); i < (first + n) * sizeof(T); ++i)
        if (memory_[i] != kSentinel) return false;
      return true;
    };
    return clean(0, before_) && clean(before_ + n_, kAfter);
  }

  std::size_t n_, before_;
  std::unique_ptr<unsigned char[], Free> memory_;
};

template <class T>
bool same_bits(const T& a, const T& b) {
  return (a != a && b != b) || std::memcmp(&a, &b, sizeof(T)) == 0;
}

// Equal bits; any nan equals any other, since processors differ in its sign and payload.
template <class T>
void expect_same(const std::vector<T>& got, const std::vector<T>& expected, const std::string& what,
                 std::source_location at = std::source_location::current()) {
  expect(got.size() == expected.size(), what + ": sizes", at);
  std::size_t n_different = 0, first = 0;
  for (std::size_t i = got.size(); i-- > 0;) {
    if (same_bits(got[i], expected[i])) continue;
    ++n_different;
    first = i;
  }
  expect(n_different == 0,
         n_different == 0
             ? what
             : what + ": " + std::to_string(n_different) + " of " + std::to_string(got.size()) +
                   " differ, first [" + std::to_string(first) + "]: got " +
                   std::to_string(got[first]) + ", expected " + std::to_string(expected[first]),
         at);
}

template <class T>
constexpr Type kType = sizeof(T) == 8 ? Type::kFloat64 : Type::kFloat32;
template <>
inline constexpr Type kType<BFloat16> = Type::kBFloat16;
template <>
inline constexpr Type kType<Float16> = Type::kFloat16;

template <class T>
Array view(const char* name, T* data, std::initializer_list<std::int64_t> shape,
           int position = -1) {
  Array array;
  array.name = name;
  array.position = position;
  array.data = const_cast<std::remove_const_t<T>*>(data);
  array.type = kType<std::remove_const_t<T>>;
  for (const std::int64_t n : shape) array.shape[array.n_dimensions++] = n;
  return array;
}

}  // namespace aruba_fast::test
