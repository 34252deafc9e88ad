// Numbers of float64 as XLA has them: themselves, or pairs of float32 where it has none.
#pragma once

#include <cmath>
#include <limits>

#include "jax_buffers.h"

namespace aruba_fast::python {

// Float64 as XLA has it: itself, or a pair of float32, whose sum it is but for the digits beyond
// 48. The low part of a float64 is nothing, or what a pair of float64 has.
class Columns {
 public:
  Columns() = default;
  Columns(const JaxBuffer& high, std::int64_t entry, const JaxBuffer& whole)
      : high_(high.at(entry, whole)), is_double_(high.is_double()) {}
  Columns(const JaxBuffer& high, const JaxBuffer& low, std::int64_t entry, const JaxBuffer& whole)
      : Columns(high, entry, whole) {
    low_ = low.at(entry, whole);
  }

  void load(std::int64_t begin, std::int64_t end, double* into) const {
    if (is_double_) {
      if (into != doubles(high_) + begin)
        std::copy(doubles(high_) + begin, doubles(high_) + end, into);
      return;
    }
    core().kernels().widen_pairs(floats(high_) + begin, floats(low_) + begin, into, end - begin);
  }
  // Within least and most.
  void store(std::int64_t begin, std::int64_t end, const double* from, double least,
             double most) const {
    if (is_double_) {
      if (from != doubles(high_) + begin)
        std::copy(from, from + (end - begin), doubles(high_) + begin);
      return;
    }
    core().kernels().narrow_to_pairs({.from = from,
                                      .high = floats(high_) + begin,
                                      .low = floats(low_) + begin,
                                      .n = end - begin,
                                      .least = least,
                                      .most = most});
  }
  // A pair of float64. False where float32 has no room for it.
  bool store_pair(std::int64_t begin, std::int64_t end, const double* highs,
                  const double* lows) const {
    if (is_double_) {
      std::copy(highs, highs + (end - begin), doubles(high_) + begin);
      std::copy(lows, lows + (end - begin), doubles(low_) + begin);
      return true;
    }
    return core().kernels().narrow_sums(highs, floats(high_) + begin, floats(low_) + begin,
                                        end - begin);
  }
  void load_pair(std::int64_t begin, std::int64_t end, double* highs, double* lows) const {
    load(begin, end, highs);
    if (is_double_) std::copy(doubles(low_) + begin, doubles(low_) + end, lows);
    else std::fill(lows, lows + (end - begin), 0.0);
  }
  double* whole() const { return is_double_ ? doubles(high_) : nullptr; }

 private:
  static double* doubles(char* p) { return reinterpret_cast<double*>(p); }
  static float* floats(char* p) { return reinterpret_cast<float*>(p); }

  char *high_ = nullptr, *low_ = nullptr;
  bool is_double_ = false;
};

inline double largest_of(const JaxBuffer& buffer) {
  return buffer.is_double() ? std::numeric_limits<double>::max()
                            : double{std::numeric_limits<float>::max()};
}

// A number in any of the types that XLA holds numbers in.
inline void write(const JaxBuffer& into, std::int64_t at, double value) {
  switch (into.type) {
    case ffi::F64:
      reinterpret_cast<double*>(into.data)[at] = value;
      return;
    case ffi::F32:
      reinterpret_cast<float*>(into.data)[at] = static_cast<float>(value);
      return;
    case ffi::S64:
      reinterpret_cast<std::int64_t*>(into.data)[at] = static_cast<std::int64_t>(value);
      return;
    default:
      reinterpret_cast<std::int32_t*>(into.data)[at] = static_cast<std::int32_t>(value);
  }
}

inline void write_pair(const JaxBuffer& high, const JaxBuffer& low, std::int64_t at,
                       Twofold<double> x) {
  if (high.is_double()) {
    write(high, at, x.high);
    return write(low, at, x.low);
  }
  const float value = static_cast<float>(x.value());
  write(high, at, double{value});
  write(low, at, x.value() - double{value});
}

inline Twofold<double> pair_at(const JaxBuffer& high, const JaxBuffer& low, std::int64_t at) {
  Twofold<double> x = {0, 0};
  add(x, high.number(at));
  add(x, low.number(at));
  return x;
}

// The weights of a round's tasks as native code takes them; what is none becomes nan, so that its
// task is left out.
class Weights {
 public:
  Weights(const JaxBuffer& given, std::int64_t entry, const JaxBuffer& whole)
      : values_(static_cast<std::size_t>(given.n())) {
    const bool is_double = given.is_double();
    const double least = is_double ? kLeastWeight : double{1e-30f},
                 most = is_double ? kMostWeight : double{1e30f};
    const std::int64_t first = given.row(entry, whole) * given.n();
    for (std::size_t task = 0; task < values_.size(); ++task) {
      const double w = given.number(first + static_cast<std::int64_t>(task));
      const bool is_valid = w == 0 || (w >= least && w <= most);
      values_[task] = is_valid ? w : std::numeric_limits<double>::quiet_NaN();
      all_one_ &= w == 1;
    }
  }
  double* data() { return values_.data(); }
  const double* or_null() const { return all_one_ ? nullptr : values_.data(); }

 private:
  std::vector<double> values_;
  bool all_one_ = true;
};

}  // namespace aruba_fast::python
