// Rows of many features: the update by a row and the score of the next one, in one pass over theta.
//
// theta is read once for both, and the next row comes from memory while the update computes. Every
// sum keeps its order, and so its bits. docs/benchmarks.md has what it gains.
#pragma once

#include "row_parts-inl.h"

namespace aruba_fast::ARUBA_ISA {

template <class T, class Rule>
class WovenRows {
 public:
  // n rows of all tasks.
  static void run(TaskSlots<T>& slots, std::int64_t n) { WovenRows(slots).rows(n); }

  // Of a narrow table a row is widened by the pass that scores it, which several outputs share.
  static bool takes(const TasksCall& call) {
    return call.is_plain() && (call.n_outputs == 1 || !call.widening);
  }

 private:
  static constexpr int kWidth = Pack<T>::kWidth;
  using P = Pack<T>;

  explicit WovenRows(TaskSlots<T>& slots) : slots_(slots), call_(slots.call), parts_(slots) {}

  void rows(std::int64_t n) {
    for (int first = 0; first < slots_.n_active; first += kWidth) first_scores(first);
    for (std::int64_t row = 0; row < n; ++row)
      for (int first = 0; first < slots_.n_active; first += kWidth) {
        Compensated<P> loss = slots_.load_loss(first);
        loss.add(parts_.losses(first, row));
        slots_.store_loss(first, loss);
        if (row + 1 < n)
          parts_.scores(first, [&](int k, std::int64_t c, std::int64_t begin, std::int64_t length) {
            return step_and_dot(k, c, row, begin, length);
          });
        else last_steps(first, row);
      }
  }

  void first_scores(int first) {
    parts_.scores(first, [&](int k, std::int64_t c, std::int64_t begin, std::int64_t length) {
      if constexpr (kMayWiden)
        as_narrow(call_.x, call_.widening, [&](const auto* table, Floats scale) {
          widen(slots_.narrow_row(table, k, 0) + begin, scale, length, widened_row(k) + begin);
        });
      const T* const x = row_of(k, 0) + begin;
      return dot_lanes<0>(x, slots_.of(slots_.theta, k, c) + begin, length,
                          {reinterpret_cast<const char*>(x), 64}, slots_.mask);
    });
  }

  void last_steps(int first, std::int64_t row) {
    for (int k = first; k < slots_.n_active && k < first + kWidth; ++k)
      for (std::int64_t c = 0; c < call_.n_outputs; ++c)
        parts_.template update<true>(k, c, row_of(k, row), P(slots_.slope[c * kMaxSlots + k]));
  }

  // The update of some features of slot k by row `row`, and their share of the next row's score.
  ARUBA_RULE P step_and_dot(int k, std::int64_t c, std::int64_t row, std::int64_t begin,
                            std::int64_t length) {
    if constexpr (kMayWiden)
      if (call_.widening) {
        T* const x = widened_row(k) + begin;
        P sum(T(0));
        as_narrow(call_.x, call_.widening, [&](const auto* table, Floats scale) {
          const auto* const next = slots_.narrow_row(table, k, row + 1) + begin;
          const Ahead ahead{reinterpret_cast<const char*>(next + 2 * call_.n_features),
                            static_cast<std::int64_t>(kWidth * sizeof *next)};
          sum = pass(k, c, begin, length, x, ahead, [&](std::int64_t j, auto whole) {
            const P widened = whole ? load_as_floats(next + j, scale)
                                    : load_first_as_floats(next + j, scale, length - j);
            // In the place of the row that has just been read.
            if (whole) store(x + j, widened);
            else store_first(x + j, widened, static_cast<int>(length - j));
            return widened;
          });
        });
        return sum;
      }
    const T *const x = row_of(k, row) + begin, *const next = x + call_.n_features;
    const int tail = static_cast<int>(length % kWidth);
    const Ahead ahead{reinterpret_cast<const char*>(next + call_.n_features), 64};
    return pass(k, c, begin, length, x, ahead, [&](std::int64_t j, auto whole) {
      return whole ? load(next + j) : load_first(next + j, tail, slots_.mask);
    });
  }

  // next(j, whole) is the next row at j; what it is at j may then lie in x.
  template <class Next>
  ARUBA_RULE P pass(int k, std::int64_t c, std::int64_t begin, std::int64_t length, const T* x,
                    Ahead ahead, Next next) {
    T *const theta = slots_.of(slots_.theta, k, c) + begin, *states[kStatesOf<Rule>];
    const T* by[kParametersOf<Rule>];
    parts_.point_to(k, c, begin, states, by);
    const P scale(slots_.slope[c * kMaxSlots + k]);
    const int tail = static_cast<int>(length % kWidth);
    return sum_lanes<T>(length, ahead, [&](std::int64_t j, auto whole, P sum) {
      const P x_j = whole ? load(x + j) : load_first(x + j, tail, slots_.mask);
      const auto clean = [&](P a) { return whole ? a : keep<T>(slots_.mask, a); };
      const P moved = step_register<T, Rule>(theta + j, states, j, scale * x_j, by, j, clean).theta;
      return fma(next(j, whole), moved, sum);
    });
  }

  // Of a narrow table.
  T* widened_row(int k) const { return slots_.window + k * call_.window_numbers(); }
  const T* row_of(int k, std::int64_t row) const {
    return call_.widening ? widened_row(k) : slots_.x[k] + row * call_.n_features;
  }

  static constexpr bool kMayWiden = sizeof(T) == sizeof(float);
  TaskSlots<T>& slots_;
  const TasksCall& call_;
  RowParts<T, Rule> parts_;
};

}  // namespace aruba_fast::ARUBA_ISA
