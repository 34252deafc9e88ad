// A task's parameters as rows of registers: their sums, and their projection on a ball.
#pragma once

#include "dot-inl.h"
#include "rules/project.h"

namespace aruba_fast::ARUBA_ISA {

// The rows of one task's parameters: n_outputs rows of n_features, each padded with zeros to
// `stride`.
template <class T>
struct Rows {
  T* data;
  std::int64_t n_outputs, n_features, stride;

  ARUBA_RULE std::int64_t size() const { return n_outputs * stride; }
};

// Sum over the coordinates of term(i), i the position of a register, in the virtual lanes of each
// segment, segment after segment and row after row.
template <class T, class Term>
ARUBA_RULE T sum_over(const Rows<T>& rows, Term term) {
  constexpr int kWidth = Pack<T>::kWidth;
  T total(0);
  for (std::int64_t row = 0; row < rows.n_outputs; ++row) {
    for (std::int64_t begin = 0; begin < rows.n_features; begin += kSegment) {
      Pack<T> lanes[kRegisters<T>];
      for (Pack<T>& each : lanes) each = Pack<T>(T(0));
      const std::int64_t end = begin + kSegment;
      for (std::int64_t j = begin; j < rows.n_features && j < end; j += kWidth) {
        Pack<T>& lane = lanes[j / kWidth % kRegisters<T>];
        lane = lane + term(row * rows.stride + j);
      }
      total = total + fold(fold_registers<kRegisters<T>>(lanes));
    }
  }
  return total;
}

// What rules/project.h works on: rates as theta.
template <class T>
struct RowsAndRates {
  Rows<T> theta;
  const T* rates;

  ARUBA_RULE T size() const { return static_cast<T>(theta.n_outputs * theta.n_features); }
  template <class Term>
  ARUBA_RULE T sum(Term term) const {
    return sum_over<T>(theta,
                       [&](std::int64_t i) { return term(at(theta.data, i), at(rates, i)); });
  }
  template <class Function>
  ARUBA_RULE void map(Function f) const {
    for (std::int64_t i = 0; i < theta.size(); i += Pack<T>::kWidth)
      store(theta.data + i, f(at(theta.data, i), at(rates, i)));
  }

 private:
  ARUBA_RULE static Pack<T> at(const T* part, std::int64_t i) { return load(part + i); }
};

// rates null: one for all.
template <class T>
void project(const Rows<T>& theta, const T* rates, T radius) {
  const RowsAndRates<T> state = {theta, rates ? rates : theta.data};
  aruba_fast::project<T>(state, !rates, radius);
}

}  // namespace aruba_fast::ARUBA_ISA
