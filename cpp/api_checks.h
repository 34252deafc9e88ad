// What the functions of the public headers are told, as the entries below them take it.
#pragma once

#include <span>
#include <string_view>

#include "aruba_fast/tasks.h"
#include "ops_tasks.h"

namespace aruba_fast {

template <class T>
constexpr Type kTypeOf = sizeof(T) == 8 ? Type::kFloat64 : Type::kFloat32;

// The numbers of a span, which nobody writes to where it is of constants.
template <class T>
Array array_of(const char* name, std::span<T> values) {
  using Number = std::remove_const_t<T>;
  Array array;
  array.name = name;
  array.data = const_cast<Number*>(values.data());
  array.type = kTypeOf<Number>;
  array.n_dimensions = 1;
  array.shape[0] = std::ssize(values);
  return array;
}

// Refuse numbers that are not finite, or not above zero, not below it, not from 0 to below 1, less
// than one.
void require_positive(const char* function, const std::string& name, double value);
void require_not_negative(const char* function, const std::string& name, double value);
void require_fraction(const char* function, const std::string& name, double value);
void require_at_least_one(const char* function, const std::string& name, std::int64_t value);

// Refuses an array that does not have `expected` values.
void require_size(const char* function, const std::string& subject, const std::string& rule,
                  std::int64_t size, std::int64_t expected);

// Refuses one with a value that is not finite.
template <class T>
void require_finite(const char* function, const std::string& name, std::span<const T> values);

// A table whose tasks have rows, and whose labels are those of the loss.
template <class T>
TaskTable checked_table(const char* function, const Tasks<T>& tasks, Loss loss,
                        std::int64_t n_parameters);

// Options of a run with so many parameters, named `parameters`.
TaskOptions checked_options(const char* function, const TaskTable& table, Loss loss,
                            const std::string& parameters, std::int64_t n_parameters,
                            const RunOptions& options);

}  // namespace aruba_fast
