// Rows of at most eight features, one task a lane: a register holds one coordinate of a whole
// register's worth of tasks.
//
// Rows arrive task by task and are transposed, eight by eight, in registers. That costs less than
// registers filled by one short row each (8 features from memory, two threads: AVX-512 1.4 instead
// of 2.6 ns a round, AVX2 1.7 instead of 2.5). The sum of a row is folded in the order of
// dot-inl.h, so that the bits are those of the other loops.
#pragma once

#include "loss-inl.h"
#include "rules/step.h"
#include "slots-inl.h"

namespace aruba_fast::ARUBA_ISA {

template <class T, class Rule, int kFeatures>
class LaneRows {
 public:
  static constexpr int kGroup = 8, kWidth = Pack<T>::kWidth, kMaxPacks = kMaxSlots / kWidth;
  static constexpr int kRowsPerLine =
      kFeatures * sizeof(T) >= 64 ? 1 : 64 / static_cast<int>(kFeatures * sizeof(T));
  static_assert(kFeatures <= kGroup && kWidth % kGroup == 0);

  // n rows of all tasks. Lanes without a task go over the first one's rows, for nothing.
  static void run(TaskSlots<T>& slots, std::int64_t n) {
    const int n_packs = (slots.n_active + kWidth - 1) / kWidth;
    for (int k = slots.n_active; k < n_packs * kWidth; ++k) {
      slots.x[k] = slots.x[0];
      slots.y[k] = slots.y[0];
    }
    LaneRows(slots, n_packs).rows(n);
  }

 private:
  using P = Pack<T>;
  using Group = RegisterOf<T, kGroup* static_cast<int>(sizeof(T))>;

  LaneRows(TaskSlots<T>& slots, int n_packs) : slots_(slots), n_packs_(n_packs) {
    for (int j = 0; j < kFeatures; ++j)
      for (int i = 0; i < kParametersOf<Rule>; ++i) parameters_[j][i] = P(slots.parameters[i][j]);
  }

  void rows(std::int64_t n) {
    for (int p = 0; p < n_packs_; ++p) {
      gather(p, slots_.theta, [&](int j) -> P& { return theta_[p][j]; });
      for (int i = 0; i < kStatesOf<Rule>; ++i)
        gather(p, slots_.state[i], [&](int j) -> P& { return state_[p][j][i]; });
    }
    for (std::int64_t row = 0; row < n; row += kGroup) {
      const int count = static_cast<int>(n - row < kGroup ? n - row : kGroup);
      for (int p = 0; p < n_packs_; ++p) labels(p, row, count);
      for (int r = 0; r < count; ++r)
        for (int p = 0; p < n_packs_; ++p) round(p, row, r, y_[p][r]);
    }
    for (int p = 0; p < n_packs_; ++p) {
      scatter(p, [&](int j) -> P& { return theta_[p][j]; }, slots_.theta);
      for (int i = 0; i < kStatesOf<Rule>; ++i)
        scatter(p, [&](int j) -> P& { return state_[p][j][i]; }, slots_.state[i]);
    }
  }

  // One round of one register of tasks. Its latency, mostly that of exp and log, is hidden by the
  // other registers' rounds.
  ARUBA_RULE void round(int p, std::int64_t group, int r, P y) {
    P x[kGroup], sums[kFeatures];
    const std::int64_t at_x = (group + r) * kFeatures;
    if (r % kRowsPerLine == 0)
#pragma GCC unroll 16
      for (int k = 0; k < kWidth; ++k)
        prefetch(slots_.x[p * kWidth + k] + at_x + kGroup * kFeatures);
    transposed<kFeatures>(x, [&](int k) { return slots_.x[p * kWidth + k] + at_x; });
    P* const theta = theta_[p];
#pragma GCC unroll 8
    for (int j = 0; j < kFeatures; ++j) sums[j] = x[j] * theta[j];
#pragma GCC unroll 3
    for (int half = kGroup / 2; half > 0; half /= 2)
#pragma GCC unroll 4
      for (int j = 0; j < half; ++j)
        if (j + half < kFeatures) sums[j] = sums[j] + sums[j + half];
    const LossAndSlope<P> at = one_output_loss(slots_.call.loss_kind, sums[0] + P(T(0)), y);
    Compensated<P> loss = slots_.load_loss(p * kWidth);
    loss.add(at.loss);
    slots_.store_loss(p * kWidth, loss);
#pragma GCC unroll 8
    for (int j = 0; j < kFeatures; ++j)
      Rule::step(theta[j], state_[p][j], at.slope * x[j], parameters_[j]);
  }

  // The labels of the next `count` rows; also asks for the rows after them.
  ARUBA_RULE void labels(int p, std::int64_t row, int count) {
    for (int k = 0; k < kWidth; ++k) prefetch(slots_.y[p * kWidth + k] + row + 2 * kGroup);
    const auto first = [&](int k) { return slots_.y[p * kWidth + k] + row; };
    if (count == kGroup) return transposed<kGroup>(y_[p], first);
    for (int r = 0; r < count; ++r)
      for (int k = 0; k < kWidth; ++k) y_[p][r].v[k] = first(k)[r];
  }

  // to(j) = coordinate j of the tasks of register p, and back to those that exist.
  template <class To>
  ARUBA_RULE void gather(int p, const T* part, To to) const {
    P all[kGroup];
    transposed<kFeatures>(all, [&](int lane) {
      const int k = p * kWidth + lane;
      return part + (k < slots_.n_active ? k : 0) * slots_.slot_size;
    });
    for (int j = 0; j < kFeatures; ++j) to(j) = all[j];
  }
  template <class From>
  ARUBA_RULE void scatter(int p, From from, T* part) const {
    for (int k = p * kWidth; k < slots_.n_active && k < (p + 1) * kWidth; ++k)
      for (int j = 0; j < kFeatures; ++j)
        part[k * slots_.slot_size + j] = from(j).v[k - p * kWidth];
  }

  // to[j], lane k = entry j of row(k), for the kColumns entries of each row.
  template <int kColumns, class Row>
  ARUBA_RULE static void transposed(P* to, Row row) {
#pragma GCC unroll 8
    for (int i = 0; i < kGroup; ++i) {
      if constexpr (kWidth == kGroup) to[i] = load_group<kColumns>(row(i));
      else to[i] = join(load_group<kColumns>(row(i)), load_group<kColumns>(row(i + kGroup)));
    }
    swap_blocks<4>(to);
    swap_blocks<2>(to);
    swap_blocks<1>(to);
  }

  // The first kColumns lanes from memory; what the others hold does not matter.
  template <int kColumns>
  ARUBA_RULE static typename Group::type load_group(const T* p) {
    if constexpr (kColumns == kGroup) {
      return *reinterpret_cast<const typename Group::unaligned*>(p);
    } else if constexpr (kWidth == kGroup) {
      return load_first(p, kColumns, first_lanes<T>(kColumns)).v;
    } else {
      return load_first_half(p, kColumns);
    }
  }

  // A step of the transposition: exchanges the off-diagonal blocks of kBit by kBit.
  template <int kBit>
  ARUBA_RULE static void swap_blocks(P* rows) {
#pragma GCC unroll 8
    for (int i = 0; i < kGroup; ++i)
      if (!(i & kBit)) swap_pair<kBit>(rows[i], rows[i + kBit], Lanes<T>());
  }

  template <int kBit, int... l>
  ARUBA_RULE static void swap_pair(P& a, P& b, std::integer_sequence<int, l...>) {
    const P above = shuffle<((l & kBit) ? (l ^ kBit) + kWidth : l)...>(a, b);
    b = shuffle<((l & kBit) ? l + kWidth : l ^ kBit)...>(a, b);
    a = above;
  }

  TaskSlots<T>& slots_;
  const int n_packs_;
  Parameters<Rule, P> parameters_[kFeatures];
  P theta_[kMaxPacks][kFeatures], y_[kMaxPacks][kGroup];
  State<Rule, P> state_[kMaxPacks][kFeatures];
};

}  // namespace aruba_fast::ARUBA_ISA
