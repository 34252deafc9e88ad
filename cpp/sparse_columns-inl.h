// The columns of a task with sparse rows, numbered as they come: arrays by that number stay in the
// nearer caches, whatever the number of features is.
#pragma once

#include <cstring>

#include "simd.h"
#include "sparse_calls.h"

namespace aruba_fast::ARUBA_ISA {

// Of tasks without an entry there are no numbers, and perhaps no memory.
template <class V>
ARUBA_RULE void copy_numbers(const V* from, std::int64_t n, V* to) {
  if (n) std::memcpy(to, from, static_cast<std::size_t>(n) * sizeof(V));
}

template <class T>
class SparseColumns {
 protected:
  static constexpr std::int64_t kAhead = 64;

  explicit SparseColumns(const SparseCall& call)
      : call_(call),
        outputs_(call.n_outputs),
        ids_(static_cast<std::uint32_t*>(call.scratch)),
        local_(ids_ + call.n_features),
        columns_(reinterpret_cast<std::int32_t*>(local_ + call.most_entries)) {}

  // The memory behind, aligned.
  char* free_memory() const {
    const auto free = reinterpret_cast<std::uintptr_t>(columns_ + call_.most_columns);
    return reinterpret_cast<char*>((free + 63) / 64 * 64);
  }

  static const auto* learned(const LearnedRates& rates) {
    return static_cast<const LearnedCoordinate<T>*>(rates.coordinates);
  }

  // Without a branch: whether an entry's column is new is anybody's guess.
  void number_columns(std::int64_t n) {
    const std::int32_t* columns = call_.rows.columns + first_entry_;
    const auto* coordinates = call_.learned && outputs_ == 1 ? learned(*call_.learned) : nullptr;
    const auto ask = [&](std::int64_t i) {
      prefetch(ids_ + columns[i]);
      if (coordinates) prefetch(coordinates + columns[i]);
    };
    std::uint32_t known = 0;
    for (std::int64_t i = 0; i < n && i < kAhead; ++i) ask(i);
    for (std::int64_t i = 0; i < n; ++i) {
      if (i + kAhead < n) ask(i + kAhead);
      const std::int32_t column = columns[i];
      const std::uint32_t old = ids_[column];
      known += old == 0;
      const std::uint32_t id = old == 0 ? known : old;
      ids_[column] = id;
      columns_[id - 1] = column;
      local_[i] = id - 1;
    }
    n_columns_ = known;
    n_ = n_columns_ * outputs_;
  }

  // The next task's columns have no numbers yet.
  void forget_columns() {
    for (std::int64_t k = 0; k < n_columns_; ++k) ids_[columns_[k]] = 0;
  }

  // to[k, c] = from[c, column k].
  template <class V>
  void gather(V* to, const V* from) const {
    for (std::int64_t c = 0; c < outputs_; ++c) {
      const V* row = from + c * call_.n_features;
      for (std::int64_t k = 0; k < n_columns_; ++k) {
        if (k + kAhead < n_columns_) prefetch(row + columns_[k + kAhead]);
        to[k * outputs_ + c] = row[columns_[k]];
      }
    }
  }
  // to[c, column k] = f(from[k, c]).
  template <class V, class Function>
  void scatter(T* to, const V* from, Function f) const {
    for (std::int64_t c = 0; c < outputs_; ++c)
      for (std::int64_t k = 0; k < n_columns_; ++k)
        to[c * call_.n_features + columns_[k]] = f(from[k * outputs_ + c]);
  }

  template <class V>
  void clear(V* part) const {
    if (n_) std::memset(part, 0, static_cast<std::size_t>(n_) * sizeof(V));
  }

  template <class Body>
  ARUBA_RULE void over_entries(const std::uint32_t* local, std::int64_t n, Body body) const {
    if (outputs_ == 1) {
      for (std::int64_t i = 0; i < n; ++i) body(i, 0, local[i]);
      return;
    }
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t c = 0; c < outputs_; ++c) body(i, c, local[i] * outputs_ + c);
  }

  const SparseCall& call_;
  const std::int64_t outputs_;
  std::uint32_t *const ids_, *const local_;  // a column's number plus one, zero: none; an entry's
  std::int32_t* const columns_;
  std::int64_t first_entry_ = 0, n_columns_ = 0, n_ = 0;
};

}  // namespace aruba_fast::ARUBA_ISA
