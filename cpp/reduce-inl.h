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

// Adds kTasks tasks to the sums of n columns, whole registers, or starts them; a sum stays in
// registers over the tasks. Plainly: to the high halves alone, the low ones being zero. Rows are
// short and a stride apart: the processor does not see those coming that lie `ahead`.
template <Of kOf, Differ kDiffer, bool kPlainly, bool kStart, class T, int kTasks>
ARUBA_RULE void add_tasks(const TaskRows<T, kTasks>& rows, std::int64_t n, std::int64_t ahead,
                          double* high, double* low, Doubles::Mask& all_signs) {
  constexpr std::int64_t kLine = 64 / static_cast<std::int64_t>(sizeof(T));
  const Doubles zero(0.0);
  Doubles::Mask signs = all_signs;
  for (std::int64_t j = 0; j < n; j += Doubles::kWidth) {
    if (kOf == Of::kDistances && j % kLine == 0)
#pragma GCC unroll 4
      for (int k = 0; k < kTasks; ++k) {
        prefetch(rows.theta_hat[k] + j + ahead);
        prefetch(rows.grad_sq[k] + j + ahead);
      }
    const Doubles phi = load_doubles(rows.phi + j);
    Sum sum = {kStart ? zero : load(high + j), kStart || kPlainly ? zero : load(low + j)};
#pragma GCC unroll 4
    for (int k = 0; k < kTasks; ++k) {
      const Doubles x = term<kOf, kDiffer>(rows, k, j, phi);
      if constexpr (kOf == Of::kSquares) signs |= to_bits(x);
      if constexpr (kPlainly) sum.high = sum.high + x;
      else add(sum, x);
    }
    store(high + j, sum.high);
    if (kStart || !kPlainly) store(low + j, sum.low);
  }
  all_signs = signs;
}

// A chunk of tasks, four tasks and kBlock columns at a time, so that what is read for one sum is in
// the first-level cache for the next. Only the distances ask for what follows, and in large blocks
// memory waits meanwhile ([1000, 100 000], two threads: 64 columns 19.4 ms, 128 20.7, 256 22.9).
//
// A pair costs seven additions a term, a plain sum one, and where no plain addition was rounded it
// is the pair, whose low half is zero. With float32, of 29 bits less than float64, that is the
// rule; the processor's flag tells. Where one was, the block's sum begins again in pairs. The
// distances have all bits of a float64.
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
      add<Of::kDistances, false>(rows, at, begin);
      add_block<Of::kSquares>(rows, at, begin);
      add_block<Of::kThetas>(rows, at, begin);
    }
  }

  template <Of kOf, int kTasks>
  ARUBA_RULE void add_block(const TaskRows<T, kTasks>& rows, int at, std::int64_t begin) {
    if constexpr (kMayBePlain) {
      bool& rounded = rounded_[kOf == Of::kThetas][begin / kBlock];
      if (!rounded) {
        InexactFlag::clear();
        add<kOf, true>(rows, at, begin);
        if (!InexactFlag::is_set()) return;
        rounded = true;
        begin_again<kOf>(at, begin);
      }
    }
    add<kOf, false>(rows, at, begin);
  }

  // The tasks before `at`, in pairs.
  template <Of kOf>
  __attribute__((noinline)) void begin_again(int at, std::int64_t begin) {
    for (int before = 0; before < at; before += kGroup)
      add<kOf, false>(rows_of<kGroup>(before, begin), before, begin);
  }

  template <Of kOf, bool kPlainly, int kTasks>
  ARUBA_RULE void add(const TaskRows<T, kTasks>& rows, int at, std::int64_t begin) {
    const std::int64_t n = columns(begin), whole = n - n % Doubles::kWidth,
                       ahead = call_.columns_follow ? n_columns_ : kTasks * call_.n;
    double *const high = call_.sums + 2 * static_cast<int>(kOf) * call_.stride + begin,
                  *const low = high + call_.stride;
    const auto add_columns = [&](const auto& of, std::int64_t n_of, std::int64_t to) {
      if (at == 0)
        add_tasks<kOf, kDiffer, kPlainly, true>(of, n_of, ahead, high + to, low + to, signs_);
      else add_tasks<kOf, kDiffer, kPlainly, false>(of, n_of, ahead, high + to, low + to, signs_);
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
  bool rounded_[2][kSumTile / kBlock] = {};  // the squares and the thetas of a block
};

}  // namespace aruba_fast::ARUBA_ISA
