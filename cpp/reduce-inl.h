// The sums of a round over its tasks, a chunk of tasks in some columns, compiled once per
// instruction set.
#pragma once

#include <cstring>

#include "inexact.h"
#include "kernels.h"
#include "simd.h"

namespace aruba_fast::ARUBA_ISA {

using Sum = Twofold<Doubles>;

// What of the tasks differs: nothing, their weights, or these and by what they are shortened.
enum class Differ { kNothing, kWeights, kLengths };

// The three sums of a column, in the order in which they lie in memory.
enum class Of { kDistances, kSquares, kThetas };

template <class T>
constexpr std::int64_t kLine = 64 / static_cast<std::int64_t>(sizeof(T));  // of memory

// Columns of kTasks tasks.
template <class T, int kTasks>
struct TaskRows {
  const T *theta_hat[kTasks], *grad_sq[kTasks], *phi;
  double weight[kTasks], by[kTasks];

  // Those that lie n columns on.
  ARUBA_RULE void advance(std::int64_t n) {
    for (int k = 0; k < kTasks; ++k) {
      theta_hat[k] += n;
      grad_sq[k] += n;
    }
    phi += n;
  }
};

// The last columns of rows, too few for a register, as a whole one: zeros follow.
template <class T, int kTasks>
struct LastColumns {
  TaskRows<T, kTasks> rows;
  T memory[2 * kTasks + 1][Doubles::kWidth] = {};

  LastColumns(const TaskRows<T, kTasks>& of, std::int64_t at, std::int64_t n) : rows(of) {
    const auto move = [=](T* to, const T*& from) {
      std::memcpy(to, from + at, static_cast<std::size_t>(n) * sizeof(T));
      from = to;
    };
    for (int k = 0; k < kTasks; ++k) {
      move(memory[2 * k], rows.theta_hat[k]);
      move(memory[2 * k + 1], rows.grad_sq[k]);
    }
    move(memory[2 * kTasks], rows.phi);
  }
};

template <Of kOf, Differ kDiffer, class T, int kTasks>
ARUBA_RULE Doubles term(const TaskRows<T, kTasks>& rows, int k, std::int64_t j, Doubles phi) {
  if constexpr (kOf == Of::kSquares) {
    const Doubles squares = load_doubles(rows.grad_sq[k] + j);
    return kDiffer == Differ::kLengths ? Doubles(rows.by[k] * rows.by[k]) * squares : squares;
  } else {
    Doubles theta = load_doubles(rows.theta_hat[k] + j);
    if (kDiffer == Differ::kLengths) theta = shortened(theta, phi, Doubles(rows.by[k]));
    if constexpr (kOf == Of::kDistances) return half_square_distance(theta, phi);
    else return kDiffer == Differ::kNothing ? theta : Doubles(rows.weight[k]) * theta;
  }
}

// Six rows of sums, from some column on.
struct SumRows {
  double* sums;
  std::int64_t stride;

  ARUBA_RULE double* high(Of of) const { return sums + 2 * static_cast<int>(of) * stride; }
  ARUBA_RULE double* low(Of of) const { return high(of) + stride; }
};

// Adds kTasks tasks to one sum of the columns of a register, or starts it. Plainly: to the high
// half alone, the low one being zero.
template <Of kOf, Differ kDiffer, bool kPlainly, bool kStart, class T, int kTasks>
ARUBA_RULE void add_terms(const TaskRows<T, kTasks>& rows, std::int64_t j, Doubles phi,
                          const SumRows& into, Doubles::Mask& signs) {
  double *const high = into.high(kOf) + j, *const low = into.low(kOf) + j;
  const Doubles zero(0.0);
  Sum sum = {kStart ? zero : load(high), kStart || kPlainly ? zero : load(low)};
#pragma GCC unroll 4
  for (int k = 0; k < kTasks; ++k) {
    const Doubles x = term<kOf, kDiffer>(rows, k, j, phi);
    if constexpr (kOf == Of::kSquares) signs |= to_bits(x);
    if constexpr (kPlainly) sum.high = sum.high + x;
    else if constexpr (kOf == Of::kThetas) add(sum, x);
    else add_not_negative(sum, x);
  }
  store(high, sum.high);
  if (kStart || !kPlainly) store(low, sum.low);
}

// Some sums of n columns, whole registers; a sum stays in registers over the tasks. The distances
// ask memory for what all sums need `ahead` columns later.
template <Differ kDiffer, bool kPlainly, bool kStart, Of... kOf, class T, int kTasks>
ARUBA_RULE void add_tasks(const TaskRows<T, kTasks>& rows, std::int64_t n, std::int64_t ahead,
                          const SumRows& into, Doubles::Mask& all_signs) {
  constexpr bool kAsks = ((kOf == Of::kDistances) || ...);
  Doubles::Mask signs = all_signs;
  for (std::int64_t j = 0; j < n; j += Doubles::kWidth) {
    if (kAsks && j % kLine<T> == 0)
#pragma GCC unroll 4
      for (int k = 0; k < kTasks; ++k) {
        prefetch(rows.theta_hat[k] + j + ahead);
        prefetch(rows.grad_sq[k] + j + ahead);
      }
    const Doubles phi = load_doubles(rows.phi + j);
    (add_terms<kOf, kDiffer, kPlainly, kStart>(rows, j, phi, into, signs), ...);
  }
  all_signs = signs;
}

// A chunk of tasks, four tasks and kBlock columns at a time, so that what is read for one sum is in
// the first-level cache for the next.
//
// What bounds it is memory, and of memory the number of places that are read at once: rows are a
// stride apart, and the processor foresees only those that it has begun. So the distances, whose
// arithmetic takes longest, ask for what all sums need 2 KB later, a line of each row at a time.
// ([1000, 100 000], float32, AVX-512, of what two threads read in one sequence: 76 to 89 %, and 83
// % of one; the same reads without arithmetic: 61 to 75 and 62 %.)
//
// A pair costs six or seven additions a term, a plain sum one, and where no plain addition was
// rounded it is the pair, whose low half is zero. With float32, of 29 bits less than float64, that
// is the rule; the processor's flag tells. Where one was, the block's sums begin again in pairs.
// The distances have all bits of a float64.
template <class T, Differ kDiffer>
class Reduction {
 public:
  explicit Reduction(const ReduceCall& call) : call_(call), n_columns_(call.end - call.begin) {
    for (std::int64_t task = call.first; task < call.last; ++task)
      if (!call.skip || !call.skip[task]) tasks_[n_tasks_++] = task;
    // Of few columns pairs cost no more than the flag.
    if (!call.flag_tells || n_columns_ < kFewColumns) std::memset(rounded_, 1, sizeof rounded_);
  }

  // False if a grad_sq may be negative.
  bool run() {
    if (n_tasks_ == 0)
      std::memset(call_.sums, 0, static_cast<std::size_t>(6 * call_.stride) * sizeof(double));
    for (int at = 0; at < n_tasks_; at += kGroup) {
      switch (n_tasks_ - at) {
        case 1:
          add_group<1>(at);
          break;
        case 2:
          add_group<2>(at);
          break;
        case 3:
          add_group<3>(at);
          break;
        default:
          add_group<kGroup>(at);
      }
    }
    Doubles::Bits negative = 0;
    for (int lane = 0; lane < Doubles::kWidth; ++lane) negative |= signs_[lane];
    return negative >= 0;
  }

 private:
  static constexpr int kGroup = 4;
  static constexpr std::int64_t kBlock = 64, kFewColumns = 64;
  static constexpr bool kMayBePlain = sizeof(T) < sizeof(double) && kDiffer != Differ::kLengths;

  template <int kTasks>
  void add_group(int at) {
    TaskRows<T, kTasks> rows = rows_of<kTasks>(at, 0);
    for (std::int64_t begin = 0; begin < n_columns_; begin += kBlock, rows.advance(kBlock)) {
      add<false, Of::kDistances>(rows, at, begin);
      if constexpr (kDiffer == Differ::kNothing) {
        add_block<Of::kSquares, Of::kThetas>(rows, at, begin);
      } else {  // a weight rounds what the squares need not know of
        add_block<Of::kSquares>(rows, at, begin);
        add_block<Of::kThetas>(rows, at, begin);
      }
    }
  }

  template <Of kFirst, Of... kOthers, int kTasks>
  ARUBA_RULE void add_block(const TaskRows<T, kTasks>& rows, int at, std::int64_t begin) {
    if constexpr (kMayBePlain) {
      bool& rounded = rounded_[kFirst == Of::kThetas][begin / kBlock];
      if (!rounded) {
        InexactFlag::clear();
        add<true, kFirst, kOthers...>(rows, at, begin);
        if (!InexactFlag::is_set()) return;
        rounded = true;
        begin_again<kFirst, kOthers...>(at, begin);
      }
    }
    add<false, kFirst, kOthers...>(rows, at, begin);
  }

  // The tasks before `at`, in pairs.
  template <Of... kOf>
  __attribute__((noinline)) void begin_again(int at, std::int64_t begin) {
    for (int before = 0; before < at; before += kGroup)
      add<false, kOf...>(rows_of<kGroup>(before, begin), before, begin);
  }

  template <bool kPlainly, Of... kOf, int kTasks>
  ARUBA_RULE void add(const TaskRows<T, kTasks>& rows, int at, std::int64_t begin) {
    // Beyond the last column are those of the tasks that follow, where it is not more columns.
    constexpr std::int64_t kAhead = 32 * kLine<T>;
    const std::int64_t n = columns(begin), whole = n - n % Doubles::kWidth,
                       to_tasks = call_.columns_follow || begin + kAhead < n_columns_
                                      ? 0
                                      : kTasks * call_.n - n_columns_,
                       ahead = kAhead + to_tasks;
    const auto add_columns = [&](const auto& of, std::int64_t n_of, std::int64_t to) {
      const SumRows into = {call_.sums + begin + to, call_.stride};
      if (at == 0) add_tasks<kDiffer, kPlainly, true, kOf...>(of, n_of, ahead, into, signs_);
      else add_tasks<kDiffer, kPlainly, false, kOf...>(of, n_of, ahead, into, signs_);
    };
    add_columns(rows, whole, 0);
    if (whole < n) add_columns(LastColumns(rows, whole, n - whole).rows, Doubles::kWidth, whole);
  }

  ARUBA_RULE std::int64_t columns(std::int64_t begin) const {
    return n_columns_ - begin < kBlock ? n_columns_ - begin : kBlock;
  }

  template <int kTasks>
  ARUBA_RULE TaskRows<T, kTasks> rows_of(int at, std::int64_t begin) const {
    TaskRows<T, kTasks> rows;
    for (int k = 0; k < kTasks; ++k) {
      const std::int64_t task = tasks_[at + k], from = task * call_.n + call_.begin + begin;
      rows.theta_hat[k] = static_cast<const T*>(call_.theta_hat) + from;
      rows.grad_sq[k] = static_cast<const T*>(call_.grad_sq) + from;
      rows.weight[k] = call_.weights ? call_.weights[task] : 1.0;
      rows.by[k] = call_.shortening ? call_.shortening[task] : 1.0;
    }
    rows.phi = static_cast<const T*>(call_.phi) + call_.begin + begin;
    return rows;
  }

  const ReduceCall& call_;
  const std::int64_t n_columns_;
  std::int64_t tasks_[kTaskChunk];
  int n_tasks_ = 0;
  Doubles::Mask signs_{};
  bool rounded_[2][kSumTile / kBlock] = {};  // the squares, with the thetas or without, of a block
};

}  // namespace aruba_fast::ARUBA_ISA
