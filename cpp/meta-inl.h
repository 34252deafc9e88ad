// Across tasks: the sums of a round, the merging of two sums and the meta-update, one pass over the
// coordinates each, compiled once per instruction set.
#pragma once

#include "kernels.h"
#include "registers-inl.h"

namespace aruba_fast::ARUBA_ISA {

using Sum = Twofold<Doubles>;

ARUBA_RULE Sum load_sum(const double* high, const double* low) { return {load(high), load(low)}; }
ARUBA_RULE void store_sum(double* high, double* low, const Sum& sum) {
  store(high, sum.high);
  store(low, sum.low);
}

// Columns of kTasks tasks.
template <class T, int kTasks>
struct TaskRows {
  const T *theta_hat[kTasks], *grad_sq[kTasks];
  double weight[kTasks], by[kTasks];
  const T* phi;
};

// What of the tasks differs: nothing, their weights, or these and by what they are shortened.
enum class Differ { kNothing, kWeights, kLengths };

// Adds kTasks tasks to one register of columns, or starts its sums with them, one kind of sum after
// the other: a sum stays in registers over the tasks, and all three at once would not fit. `signs`
// gathers the sign bits of the squares.
template <class T, int kTasks, Differ kDiffer>
ARUBA_RULE void add_tasks(const TaskRows<T, kTasks>& rows, std::int64_t j, double* at,
                          std::int64_t row, bool start, Doubles::Mask& signs) {
  Doubles theta[kTasks];
#pragma GCC unroll 4
  for (int k = 0; k < kTasks; ++k) theta[k] = load_doubles(rows.theta_hat[k] + j);
  const Doubles from = load_doubles(rows.phi + j);
  if constexpr (kDiffer == Differ::kLengths)
    for (int k = 0; k < kTasks; ++k) theta[k] = shortened(theta[k], from, Doubles(rows.by[k]));
  const auto add_each = [&](double* sums, auto term) {
    Sum sum = start ? Sum{Doubles(0.0), Doubles(0.0)} : load_sum(sums, sums + row);
#pragma GCC unroll 4
    for (int k = 0; k < kTasks; ++k) add(sum, term(k));
    store_sum(sums, sums + row, sum);
  };
  add_each(at, [&](int k) { return half_square_distance(theta[k], from); });
  add_each(at + 2 * row, [&](int k) {
    const Doubles squares = load_doubles(rows.grad_sq[k] + j);
    signs |= to_bits(squares);
    return kDiffer == Differ::kLengths ? Doubles(rows.by[k] * rows.by[k]) * squares : squares;
  });
  add_each(at + 4 * row, [&](int k) {
    return kDiffer == Differ::kNothing ? theta[k] : Doubles(rows.weight[k]) * theta[k];
  });
}

// The columns of kTasks tasks; the last ones, too few for a register, move through a zero-padded
// copy.
template <class T, int kTasks, Differ kDiffer>
ARUBA_RULE void add_rows(const ReduceCall& call, const std::int64_t* tasks, bool start,
                         Doubles::Mask& all_signs) {
  Doubles::Mask signs = all_signs;
  constexpr int kWidth = Doubles::kWidth;
  TaskRows<T, kTasks> rows;
  for (int k = 0; k < kTasks; ++k) {
    rows.theta_hat[k] = static_cast<const T*>(call.theta_hat) + tasks[k] * call.n + call.begin;
    rows.grad_sq[k] = static_cast<const T*>(call.grad_sq) + tasks[k] * call.n + call.begin;
    rows.weight[k] = call.weights ? call.weights[tasks[k]] : 1.0;
    rows.by[k] = call.shortening ? call.shortening[tasks[k]] : 1.0;
  }
  rows.phi = static_cast<const T*>(call.phi) + call.begin;
  const std::int64_t n = call.end - call.begin;
  const std::int64_t ahead = call.columns_follow ? n : kTasks * call.n;
  std::int64_t j = 0;
  constexpr std::int64_t kLine = 64 / static_cast<std::int64_t>(sizeof(T));
  for (; j + kWidth <= n; j += kWidth) {
    // Rows are short and a stride apart: the processor does not see the next ones coming.
    if (j % kLine == 0) {
#pragma GCC unroll 4
      for (int k = 0; k < kTasks; ++k) {
        prefetch(rows.theta_hat[k] + j + ahead);
        prefetch(rows.grad_sq[k] + j + ahead);
      }
    }
    add_tasks<T, kTasks, kDiffer>(rows, j, call.sums + j, call.stride, start, signs);
  }
  all_signs = signs;
  if (j == n) return;
  T tail[2 * kTasks + 1][kWidth] = {};
  TaskRows<T, kTasks> padded = rows;
  const std::size_t bytes = static_cast<std::size_t>(n - j) * sizeof(T);
  for (int k = 0; k < kTasks; ++k) {
    std::memcpy(tail[2 * k], rows.theta_hat[k] + j, bytes);
    std::memcpy(tail[2 * k + 1], rows.grad_sq[k] + j, bytes);
    padded.theta_hat[k] = tail[2 * k];
    padded.grad_sq[k] = tail[2 * k + 1];
  }
  std::memcpy(tail[2 * kTasks], rows.phi + j, bytes);
  padded.phi = tail[2 * kTasks];
  add_tasks<T, kTasks, kDiffer>(padded, 0, call.sums + j, call.stride, start, all_signs);
}

template <class T, Differ kDiffer>
bool reduce_tasks(const ReduceCall& call) {
  // 32 operations a register and task: arithmetic bounds this (17.8 ms; 8 tasks at once 19.0;
  // Fast2Sum of the larger and the smaller for the sums of squares 20.5).
  constexpr int kTasks = 4;
  std::int64_t tasks[kTasks];
  int waiting = 0;
  bool start = true;
  Doubles::Mask signs{};
  for (std::int64_t task = call.first; task < call.last; ++task) {
    if (call.skip && call.skip[task]) continue;
    tasks[waiting++] = task;
    if (waiting < kTasks) continue;
    add_rows<T, kTasks, kDiffer>(call, tasks, start, signs);
    waiting = 0;
    start = false;
  }
  if (waiting == 3) add_rows<T, 3, kDiffer>(call, tasks, start, signs);
  else if (waiting == 2) add_rows<T, 2, kDiffer>(call, tasks, start, signs);
  else if (waiting == 1) add_rows<T, 1, kDiffer>(call, tasks, start, signs);
  else if (start)
    std::memset(call.sums, 0, static_cast<std::size_t>(6 * call.stride) * sizeof(double));
  Doubles::Bits negative = 0;
  for (int lane = 0; lane < Doubles::kWidth; ++lane) negative |= signs[lane];
  return negative >= 0;
}

template <class T>
bool reduce(const ReduceCall& call) {
  if (call.shortening) return reduce_tasks<T, Differ::kLengths>(call);
  return call.weights ? reduce_tasks<T, Differ::kWeights>(call)
                      : reduce_tasks<T, Differ::kNothing>(call);
}

inline bool merge(const MergeCall& call) {
  double* const arrays[4] = {call.into_high, call.into_low, const_cast<double*>(call.high),
                             const_cast<double*>(call.low)};
  Doubles zero(0.0);  // nan as soon as a sum is too large
  const Doubles reach(call.reach);
  over_registers<2>(call.n, arrays, [&](std::int64_t, int, double* const* at) {
    Sum sum = call.into_nothing ? Sum{Doubles(0.0), Doubles(0.0)} : load_sum(at[0], at[1]);
    add(sum, load_sum(at[2], at[3]));
    store_sum(at[0], at[1], sum);
    const Doubles high = sum.high * reach;
    zero = zero + ((high - high) + (sum.low - sum.low));
  });
  return is_zero(zero);
}

// Whether all values are, and none has a sign where none may.
inline bool finite(const float* values, std::int64_t n, bool not_negative) {
  constexpr int kWidth = Floats::kWidth;
  Floats::Mask signs{};
  Floats zero[4] = {Floats(0.0F), Floats(0.0F), Floats(0.0F), Floats(0.0F)};
  std::int64_t i = 0;
  for (; i + 4 * kWidth <= n; i += 4 * kWidth) {
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      const Floats value = load(values + i + k * kWidth);
      zero[k] = zero[k] + (value - value);
      signs |= to_bits(value);
    }
  }
  for (; i < n; i += kWidth) {
    const int lanes = n - i < kWidth ? static_cast<int>(n - i) : kWidth;
    const Floats value = load_first_as<float>(values + i, lanes);
    zero[0] = zero[0] + (value - value);
    signs |= to_bits(value);
  }
  Floats::Bits negative = 0;
  for (int lane = 0; lane < kWidth; ++lane) negative |= signs[lane];
  return is_zero((zero[0] + zero[1]) + (zero[2] + zero[3])) && !(not_negative && negative < 0);
}

// body(i, lanes, arrays at i, the updated coordinates, their distance and grad_sq) for every
// register.
template <int kWritten, class Body>
ARUBA_RULE void over_updated(const MetaCall& call, Body body) {
  double* sums = const_cast<double*>(call.sums);
  const std::int64_t row = call.stride;
  double* const arrays[10] = {call.b,         call.g,        call.phi_master, call.rho,
                              sums,           sums + row,    sums + 2 * row,  sums + 3 * row,
                              sums + 4 * row, sums + 5 * row};
  over_registers<kWritten>(call.n, arrays, [&](std::int64_t i, int lanes, double* const* at) {
    const auto total = [at](int k) { return load(at[4 + 2 * k]) + load(at[5 + 2 * k]); };
    const Doubles distance = total(0), grad_sq = total(1), theta_sum = total(2);
    MetaCoordinate<Doubles> coordinate = {load(at[0]), load(at[1]), load(at[2])};
    meta_update(coordinate, distance, grad_sq, theta_sum, call.step);
    body(i, lanes, at, coordinate, distance, grad_sq);
  });
}

template <class T>
void meta(const MetaCall& call) {
  T* phi = static_cast<T*>(call.phi);
  T* rates = static_cast<T*>(call.rates);
  over_updated<4>(
      call, [&](std::int64_t i, int lanes, double* const* at,
                const MetaCoordinate<Doubles>& coordinate, Doubles distance, Doubles grad_sq) {
        store(at[0], coordinate.b);
        store(at[1], coordinate.g);
        store(at[2], coordinate.phi);
        store(at[3], resting_ratio(distance, grad_sq, load_lanes(rates + i, lanes)));
        store_lanes(phi + i, coordinate.phi, lanes);
        if (!call.rates_follow)
          store_lanes(rates + i, learning_rate(coordinate.b, coordinate.g, call.step), lanes);
      });
}

template <class T>
bool meta_is_sound(const MetaCall& call) {
  Doubles zero(0.0);
  over_updated<0>(call, [&](std::int64_t, int, double* const*,
                            const MetaCoordinate<Doubles>& coordinate, Doubles distance,
                            Doubles grad_sq) {
    T there[Doubles::kWidth];
    store_from_doubles(there, coordinate.phi);
    zero = zero +
           soundness(coordinate, distance, grad_sq, load_doubles(there), call.step, call.n_summed);
  });
  return is_zero(zero);
}

}  // namespace aruba_fast::ARUBA_ISA
