// What is common to tasks that are solved: reading the rows, and looking whether somebody asked for
// the end.
#pragma once

#include "dense-inl.h"
#include "widening-inl.h"

namespace aruba_fast::ARUBA_ISA {

// Rows first..first + m of d features each as float64, padded with zeros, and their labels; false
// where one is not finite.
template <class T>
bool read_rows(const void* x, Widening widening, const void* y, std::int64_t first, std::int64_t m,
               std::int64_t d, double* rows, double* labels) {
  const T* const of = static_cast<const T*>(y) + first;
  const std::int64_t dp = padded(d);
  double any = 0;
  for (std::int64_t i = 0; i < m; ++i) {
    double* const to = rows + i * dp;
    over_row<T>(x, widening, first + i, d, [&](std::int64_t j, std::int64_t n, const T* some) {
      for (std::int64_t k = 0; k < n; ++k) {
        to[j + k] = static_cast<double>(some[k]);
        any += to[j + k] - to[j + k];
      }
    });
    for (std::int64_t j = d; j < dp; ++j) to[j] = 0;
    labels[i] = static_cast<double>(of[i]);
    any += labels[i] - labels[i];
  }
  for (std::int64_t i = m; i < padded(m); ++i) labels[i] = 0;
  return any == 0;
}

// Of a call that has `stop`, `poll` and `poll_context`.
template <class Call>
class Stopping {
 public:
  explicit Stopping(const Call& call) : call_(call) {}

  // Did somebody ask to stop?
  bool stopped() const {
    if (call_.poll) call_.poll(call_.poll_context);
    return asked();
  }
  bool asked() const { return __atomic_load_n(call_.stop, __ATOMIC_RELAXED); }

  // The same after some 50 us of multiplications only.
  bool stopped_after(std::int64_t multiplications) const {
    work_done_ += multiplications;
    if (work_done_ < (std::int64_t{1} << 18)) return false;
    work_done_ = 0;
    return stopped();
  }
  auto stop() const {
    return [this](std::int64_t multiplications) { return stopped_after(multiplications); };
  }

 private:
  const Call& call_;
  mutable std::int64_t work_done_ = 0;
};

}  // namespace aruba_fast::ARUBA_ISA
