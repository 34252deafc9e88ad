// A sparse row's score and loss, to the bit those of the same row with its zeros.
//
// Adding zero changes nothing but the sign of a zero: an entry goes to the virtual lane of its
// column in the segment of its column (dot-inl.h), and what has no entry is left out.
#pragma once

#include "dot-inl.h"
#include "loss-inl.h"
#include "sparse_calls.h"
#include "widening-inl.h"

namespace aruba_fast::ARUBA_ISA {

// The values of rows as T: the table's own, or, where they are narrower, widened some rows of a
// task at a time.
template <class T>
class SparseValues {
 public:
  explicit SparseValues(const SparseCall& call) : call_(call) {}

  // Of entries begin..begin + n, of a task whose entries end at `end`.
  ARUBA_RULE const T* of(std::int64_t begin, std::int64_t n, std::int64_t end) {
    if constexpr (sizeof(T) == sizeof(float)) {
      if (call_.widening) {
        if (begin < first_ || begin + n > last_) widen(begin, n, end);
        return call_.widened() + (begin - first_);
      }
    }
    return static_cast<const T*>(call_.rows.values) + begin;
  }

 private:
  static constexpr std::int64_t kTogether = 1024;  // 4 KiB

  // Of all rules and losses the same code, 90 KB of the library otherwise.
  __attribute__((noinline)) void widen(std::int64_t begin, std::int64_t n, std::int64_t end) {
    const std::int64_t some = end - begin < kTogether ? end - begin : kTogether;
    first_ = begin;
    last_ = begin + (n < some ? some : n);
    ARUBA_ISA::widen(call_.rows.values, call_.widening, first_, last_ - first_, call_.widened());
  }

  const SparseCall& call_;
  std::int64_t first_ = 0, last_ = 0;
};

// Columns are not negative, which makes this a shift.
ARUBA_RULE std::uint32_t segment_of(std::int32_t column) {
  return static_cast<std::uint32_t>(column) / kSegment;
}
ARUBA_RULE std::uint32_t lane_of(std::int32_t column) {
  return static_cast<std::uint32_t>(column) % kLanes;
}

// The entries of one segment; theta(i) belongs to entry i.
template <class T, class Theta>
ARUBA_RULE T segment_dot(const T* values, const std::int32_t* columns, std::int64_t begin,
                         std::int64_t end, Theta theta) {
  const T first = values[begin] * theta(begin);
  if (end - begin == 1) return first;
  if (end - begin == 2) {
    const bool same_lane = lane_of(columns[begin]) == lane_of(columns[begin + 1]);
    return aruba_fast::fma(values[begin + 1], theta(begin + 1), same_lane ? first : T(0)) +
           (same_lane ? T(0) : first);
  }
  alignas(ARUBA_REGISTER_BYTES) T lanes[kLanes] = {};
  for (std::int64_t i = begin; i < end; ++i) {
    T& lane = lanes[lane_of(columns[i])];
    lane = aruba_fast::fma(values[i], theta(i), lane);
  }
  Pack<T> registers[kRegisters<T>];
  for (int i = 0; i < kRegisters<T>; ++i) registers[i] = load(lanes + i * Pack<T>::kWidth);
  return fold(fold_registers<kRegisters<T>>(registers));
}

// Whether two neighbours lie in one segment.
ARUBA_RULE bool shares_segments(const std::int32_t* columns, std::int64_t n) {
  std::uint32_t any = 0;
  for (std::int64_t i = 0; i + 1 < n; ++i)
    any |= static_cast<std::uint32_t>(columns[i] ^ columns[i + 1]) < kSegment;
  return any != 0;
}

template <class T, class Theta>
ARUBA_RULE T sparse_dot(const T* values, const std::int32_t* columns, std::int64_t n, Theta theta) {
  T z(0);
  // Of a million columns mostly not (an entry, AVX-512: 3.1 ns with a look at every segment).
  if (!shares_segments(columns, n)) {
    for (std::int64_t i = 0; i < n; ++i) z = z + values[i] * theta(i);
    return z;
  }
  for (std::int64_t begin = 0, end; begin < n; begin = end) {
    const std::uint32_t segment = segment_of(columns[begin]);
    end = begin + 1;
    while (end < n && segment_of(columns[end]) == segment) ++end;
    z = z + segment_dot(values, columns, begin, end, theta);
  }
  return z;
}

// Returns the loss of a row whose score for class c is score(c), its slopes to `slope`; `work`
// holds a register a class.
template <class T, class Score>
ARUBA_RULE T sparse_loss(Loss loss, std::int64_t n_outputs, T y, T* work, T* slope, Score score) {
  using P = Pack<T>;
  if (loss != Loss::kSoftmax) {
    const LossAndSlope<T> at = one_output_loss(loss, score(0), y);
    *slope = at.slope;
    return at.loss;
  }
  for (std::int64_t c = 0; c < n_outputs; ++c) store(work + c * P::kWidth, P(score(c)));
  return softmax(work, work, P::kWidth, n_outputs, P(y),
                 [&](std::int64_t c, P probability) {
                   slope[c] = softmax_slope(probability, P(y), static_cast<T>(c)).v[0];
                 })
      .v[0];
}

// The loss and the slopes of a row by its weight.
template <class T>
ARUBA_RULE T sparse_weighted(const SparseCall& call, std::int64_t row, T loss, T* slope) {
  if (!call.row_weights) return loss;
  const T weight = static_cast<T>(call.row_weights[row]);
  for (std::int64_t c = 0; c < call.n_outputs; ++c) slope[c] = weight * slope[c];
  return weight * loss;
}

// The losses of tasks at fixed parameters.
template <class T>
void sparse_losses(const SparseCall& call) {
  T* const slope = static_cast<T*>(call.scratch);
  T* const work = slope + (call.n_outputs * static_cast<std::int64_t>(sizeof(T)) + 63) / 64 * 64 /
                              static_cast<std::int64_t>(sizeof(T));
  SparseValues<T> values(call);
  std::int64_t unseen = 0;
  while (!__atomic_load_n(call.stop, __ATOMIC_RELAXED)) {
    const std::int64_t position = __atomic_fetch_add(call.next, 1, __ATOMIC_RELAXED);
    if (position >= call.n_tasks) return;
    const T* theta = static_cast<const T*>(call.phi) + position * call.phi_stride;
    const std::int64_t last_entry = call.rows.begins[call.stops[position]];
    Compensated<T> total;
    for (std::int64_t row = call.starts[position]; row < call.stops[position]; ++row) {
      const std::int64_t begin = call.rows.begins[row], n = call.rows.begins[row + 1] - begin;
      const std::int32_t* columns = call.rows.columns + begin;
      const T* x = values.of(begin, n, last_entry);
      const T loss = sparse_loss(
          call.loss_kind, call.n_outputs, static_cast<const T*>(call.y)[row], work, slope,
          [&](std::int64_t c) {
            const T* of_class = theta + c * call.n_features;
            return sparse_dot(x, columns, n, [&](std::int64_t i) { return of_class[columns[i]]; });
          });
      total.add(sparse_weighted(call, row, loss, slope));
      unseen += n * call.n_outputs + 8;
      if (unseen < 4096) continue;
      if (call.poll) call.poll(call.poll_context, unseen);
      unseen = 0;
      if (__atomic_load_n(call.stop, __ATOMIC_RELAXED)) return;
    }
    call.loss[position] = total.value();
  }
}

}  // namespace aruba_fast::ARUBA_ISA
