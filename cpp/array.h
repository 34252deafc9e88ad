// Foreign memory as the core sees it, and the sentences that refuse it.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "aruba_fast/error.h"

namespace aruba_fast {

enum class Type : std::uint8_t { kFloat32, kFloat64, kBFloat16, kFloat16 };

constexpr std::int64_t size_of(Type type) {
  return type == Type::kFloat64 ? 8 : type == Type::kFloat32 ? 4 : 2;
}
// Of the kernels of a type, where there are those of float32 and of float64.
constexpr int index_of(Type type) { return type == Type::kFloat64; }
constexpr const char* name_of(Type type) {
  constexpr const char* names[] = {"float32", "float64", "bfloat16", "float16"};
  return names[static_cast<int>(type)];
}

// Contiguous, aligned memory of a known type.
struct Array {
  static constexpr int kMaxDimensions = 8;

  const char* name = "";
  int position = -1;  // in a list of arrays
  void* data = nullptr;
  Type type = Type::kFloat32;
  int n_dimensions = 0;
  // The first n_dimensions count. Zeroing the rest is felt: 30 of a step's 450 ns from Python.
  std::int64_t shape[kMaxDimensions];

  Array() {}

  std::int64_t size() const {
    std::int64_t n = 1;
    for (int i = 0; i < n_dimensions; ++i) n *= shape[i];
    return n;
  }
  std::int64_t n_bytes() const { return size() * size_of(type); }
  bool same_shape(const Array& other) const {
    if (n_dimensions != other.n_dimensions) return false;
    for (int i = 0; i < n_dimensions; ++i)
      if (shape[i] != other.shape[i]) return false;
    return true;
  }
  std::string shape_text() const {
    std::string text = "(";
    for (int i = 0; i < n_dimensions; ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
    return text + (n_dimensions == 1 ? ",)" : ")");
  }
  std::string full_name() const {
    return std::string(name) + (position < 0 ? "" : "[" + std::to_string(position) + "]");
  }
  std::string quoted() const { return "`" + full_name() + "`"; }
};

// The shortest of 6, 9 and 17 digits that is the number again, or the float32 that it is.
inline std::string text_of(double value) {
  char text[32];
  for (const int digits : {6, 9, 17}) {
    std::snprintf(text, sizeof text, "%.*g", digits, value);
    const double again = std::strtod(text, nullptr);
    const bool fits = again > -3e38 && again < 3e38;
    if (again == value || (fits && static_cast<double>(static_cast<float>(again)) == value)) break;
  }
  return text;
}

// "step: `grad` must have the shape of `theta`: got (3, 4), expected (4, 3)"
inline std::string sentence(const char* function, const std::string& subject,
                            const std::string& rule, const std::string& got,
                            const std::string& expected = "") {
  return std::string(function) + ": " + subject + " must " + rule + ": got " + got +
         (expected.empty() ? "" : ", expected " + expected);
}

template <class Error = ValueError>
[[noreturn]] inline void refuse(const char* function, const std::string& subject,
                                const std::string& rule, const std::string& got,
                                const std::string& expected = "") {
  throw Error(sentence(function, subject, rule, got, expected));
}

// Refuses a hyperparameter that is not the same number in memory of `type`: one that becomes
// infinite there, or zero or a subnormal, which has lost its digits. `named` goes before the rule.
void require_within(const char* function, const std::string& subject, double value, Type type,
                    const std::string& named = "be");

}  // namespace aruba_fast
