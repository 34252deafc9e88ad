// What is done with a row of every task in hand: scores, losses, and the update.
#pragma once

#include "loss-inl.h"
#include "project-inl.h"
#include "slots-inl.h"

namespace aruba_fast::ARUBA_ISA {

template <class T, class Rule>
class RowParts {
  static constexpr int kWidth = Pack<T>::kWidth;
  using P = Pack<T>;

 public:
  explicit RowParts(TaskSlots<T>& slots) : slots_(slots), call_(slots.call) {}

  // Scores of up to kWidth tasks from slot `first` on, to slots_.z; dot(k, output, begin, length)
  // is slot k's share of one in the features of a segment, to be folded.
  template <class Dot>
  ARUBA_RULE void scores(int first, Dot dot) {
    const int n = in_register(first);
    for (std::int64_t c = 0; c < call_.n_outputs; ++c) {
      P z(T(0));
      for (std::int64_t begin = 0; begin < call_.n_features; begin += kSegment) {
        const std::int64_t left = call_.n_features - begin,
                           length = left < kSegment ? left : kSegment;
        P sums[kWidth];
        for (P& each : sums) each = P(T(0));
        for (int lane = 0; lane < n; ++lane) sums[lane] = dot(first + lane, c, begin, length);
        z = z + fold_each(sums);
      }
      store(slots_.z + c * kMaxSlots + first, z);
    }
  }

  // Their losses in row `row` by these scores, and their slopes to slots_.slope, by the weights of
  // their rows.
  ARUBA_RULE P losses(int first, std::int64_t row) {
    const int n = in_register(first);
    P y(T(0));
    for (int lane = 0; lane < n; ++lane) y.v[lane] = slots_.y[first + lane][row];
    const P loss = unweighted(first, y);
    return call_.row_weights ? weighted(first, n, row, loss) : loss;
  }

  // Both.
  ARUBA_RULE P predict(int first, std::int64_t row) {
    scores(first, [&](int k, std::int64_t c, std::int64_t begin, std::int64_t length) {
      const std::int64_t at = row * call_.n_features + begin;
      return dot_lanes<0>(slots_.x[k] + at, slots_.of(slots_.theta, k, c) + begin, length,
                          slots_.ahead(k, at), slots_.mask);
    });
    return losses(first, row);
  }

  // theta and its state by the gradient scale * x.
  template <bool kPlain>
  ARUBA_RULE void update(int k, std::int64_t c, const T* x, P scale) {
    T *theta = slots_.of(slots_.theta, k, c), *states[kStatesOf<Rule>];
    const T* by[kParametersOf<Rule>];
    point_to(k, c, 0, states, by);
    over_features(x, [&](std::int64_t j, P x_j, auto clean) {
      if (!kPlain && call_.theta_bar) {
        T* sum = slots_.of(slots_.theta_sum, k, c) + j;
        store(sum, load(sum) + load(theta + j));
      }
      const P used = step_register<T, Rule>(theta + j, states, j, scale * x_j, by, j, clean).rate;
      if (!kPlain && slots_.radius > T(0)) store(slots_.of(slots_.used_rate, k, c) + j, used);
    });
  }

  // The states of slot k and the rule's parameters, from feature `begin` of an output on.
  ARUBA_RULE void point_to(int k, std::int64_t c, std::int64_t begin, T* (&states)[kStatesOf<Rule>],
                           const T* (&by)[kParametersOf<Rule>]) {
    for (int s = 0; s < kStatesOf<Rule>; ++s) states[s] = slots_.of(slots_.state[s], k, c) + begin;
    for (int i = 0; i < kParametersOf<Rule>; ++i)
      by[i] = slots_.parameters[i] + c * call_.stride + begin;
  }

  // body(j, x at j, clean) for every register of features; clean zeroes the lanes that lie beyond
  // the last feature, so that the padding stays zero even where a slope is infinite.
  template <class Body>
  ARUBA_RULE void over_features(const T* x, Body body) {
    const auto whole = [](P a) { return a; };
    const auto part = [this](P a) { return keep<T>(slots_.mask, a); };
    const int tail = static_cast<int>(call_.n_features % kWidth);
    const std::int64_t full = call_.n_features - tail;
#pragma GCC unroll 4
    for (std::int64_t j = 0; j < full; j += kWidth) body(j, load(x + j), whole);
    if (tail) body(full, load_first(x + full, tail, slots_.mask), part);
  }

  void project_slot(int k) {
    if (!(slots_.radius > T(0))) return;
    const Rows<T> theta{slots_.of(slots_.theta, k), call_.n_outputs, call_.n_features,
                        call_.stride};
    project<T>(theta, call_.one_rate ? nullptr : slots_.of(slots_.used_rate, k), slots_.radius);
  }

 private:
  int in_register(int first) const {
    return slots_.n_active - first < kWidth ? slots_.n_active - first : kWidth;
  }

  // The losses of scores in slots_.z, and their slopes to slots_.slope.
  ARUBA_RULE P unweighted(int first, P y) {
    T* const slope = slots_.slope + first;
    if (call_.loss_kind == Loss::kSoftmax)
      return softmax(slots_.z + first, slope, kMaxSlots, call_.n_outputs, y,
                     [&](std::int64_t c, P probability) {
                       store(slope + c * kMaxSlots,
                             softmax_slope(probability, y, static_cast<T>(c)));
                     });
    const LossAndSlope<P> found = one_output_loss(call_.loss_kind, load(slots_.z + first), y);
    store(slope, found.slope);
    return found.loss;
  }

  // The losses and the slopes in slots_.slope by the weights of the rows.
  ARUBA_RARE P weighted(int first, int n, std::int64_t row, P loss) {
    P weight(T(0));
    for (int lane = 0; lane < n; ++lane) {
      const std::int64_t of_table = slots_.y[first + lane] + row - static_cast<const T*>(call_.y);
      weight.v[lane] = static_cast<T>(call_.row_weights[of_table]);
    }
    for (std::int64_t c = 0; c < call_.n_outputs; ++c) {
      T* const slope = slots_.slope + c * kMaxSlots + first;
      store(slope, weight * load(slope));
    }
    return weight * loss;
  }

  TaskSlots<T>& slots_;
  const TasksCall& call_;
};

}  // namespace aruba_fast::ARUBA_ISA
