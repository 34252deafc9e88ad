// Sums over the tasks of a round and the meta-update they feed, one pass each, compiled once per
// instruction set.
#pragma once

#include "kernels.h"
#include "simd.h"

namespace aruba_fast::ARUBA_ISA {

using Sum = Twofold<Doubles>;

ARUBA_RULE Sum load_sum(const double* high, const double* low) { return {load(high), load(low)}; }
ARUBA_RULE void store_sum(double* high, double* low, const Sum& sum) {
  store(high, sum.high);
  store(low, sum.low);
}

// Adds kTasks tasks to one register of columns, or starts its sums with them, one kind of sum after
// the other: a sum stays in registers over the tasks, and all three at once would not fit. `signs`
// gathers the sign bits of the squares.
template <class T, int kTasks, bool kWeighted>
ARUBA_RULE void add_tasks(const T* const* theta_hat, const T* const* grad_sq, const double* weight,
                          const T* phi, std::int64_t j, double* at, std::int64_t row, bool start,
                          Doubles::Mask& signs) {
  Doubles theta[kTasks];
#pragma GCC unroll 4
  for (int k = 0; k < kTasks; ++k) theta[k] = load_doubles(theta_hat[k] + j);
  const Doubles from = load_doubles(phi + j);
  const auto add_each = [&](double* sums, auto term) {
    Sum sum = start ? Sum{Doubles(0.0), Doubles(0.0)} : load_sum(sums, sums + row);
#pragma GCC unroll 4
    for (int k = 0; k < kTasks; ++k) add(sum, term(k));
    store_sum(sums, sums + row, sum);
  };
  add_each(at, [&](int k) { return half_square_distance(theta[k], from); });
  add_each(at + 2 * row, [&](int k) {
    const Doubles squares = load_doubles(grad_sq[k] + j);
    signs |= to_bits(squares);
    return squares;
  });
  add_each(at + 4 * row,
           [&](int k) { return kWeighted ? Doubles(weight[k]) * theta[k] : theta[k]; });
}

// The columns of kTasks tasks; the last ones, too few for a register, move through a zero-padded
// copy.
template <class T, int kTasks, bool kWeighted>
ARUBA_RULE void add_rows(const ReduceCall& call, const std::int64_t* tasks, bool start,
                         Doubles::Mask& all_signs) {
  Doubles::Mask signs = all_signs;
  constexpr int kWidth = Doubles::kWidth;
  const T *theta_hat[kTasks], *grad_sq[kTasks];
  double weight[kTasks];
  for (int k = 0; k < kTasks; ++k) {
    theta_hat[k] = static_cast<const T*>(call.theta_hat) + tasks[k] * call.n + call.begin;
    grad_sq[k] = static_cast<const T*>(call.grad_sq) + tasks[k] * call.n + call.begin;
    weight[k] = kWeighted ? call.weights[tasks[k]] : 1.0;
  }
  const T* phi = static_cast<const T*>(call.phi) + call.begin;
  const std::int64_t n = call.end - call.begin;
  const std::int64_t ahead = call.columns_follow ? n : kTasks * call.n;
  std::int64_t j = 0;
  constexpr std::int64_t kLine = 64 / static_cast<std::int64_t>(sizeof(T));
  for (; j + kWidth <= n; j += kWidth) {
    // Rows are short and a stride apart: the processor does not see the next ones coming.
    if (j % kLine == 0) {
#pragma GCC unroll 4
      for (int k = 0; k < kTasks; ++k) {
        prefetch(theta_hat[k] + j + ahead);
        prefetch(grad_sq[k] + j + ahead);
      }
    }
    add_tasks<T, kTasks, kWeighted>(theta_hat, grad_sq, weight, phi, j, call.sums + j, call.stride,
                                    start, signs);
  }
  all_signs = signs;
  if (j == n) return;
  T tail[2 * kTasks + 1][kWidth] = {};
  const T *tail_hat[kTasks], *tail_sq[kTasks];
  const std::size_t bytes = static_cast<std::size_t>(n - j) * sizeof(T);
  for (int k = 0; k < kTasks; ++k) {
    std::memcpy(tail[2 * k], theta_hat[k] + j, bytes);
    std::memcpy(tail[2 * k + 1], grad_sq[k] + j, bytes);
    tail_hat[k] = tail[2 * k];
    tail_sq[k] = tail[2 * k + 1];
  }
  std::memcpy(tail[2 * kTasks], phi + j, bytes);
  add_tasks<T, kTasks, kWeighted>(tail_hat, tail_sq, weight, tail[2 * kTasks], 0, call.sums + j,
                                  call.stride, start, all_signs);
}

template <class T, bool kWeighted>
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
    add_rows<T, kTasks, kWeighted>(call, tasks, start, signs);
    waiting = 0;
    start = false;
  }
  if (waiting == 3) add_rows<T, 3, kWeighted>(call, tasks, start, signs);
  else if (waiting == 2) add_rows<T, 2, kWeighted>(call, tasks, start, signs);
  else if (waiting == 1) add_rows<T, 1, kWeighted>(call, tasks, start, signs);
  else if (start)
    std::memset(call.sums, 0, static_cast<std::size_t>(6 * call.stride) * sizeof(double));
  Doubles::Bits negative = 0;
  for (int lane = 0; lane < Doubles::kWidth; ++lane) negative |= signs[lane];
  return negative >= 0;
}

template <class T>
bool reduce(const ReduceCall& call) {
  return call.weights ? reduce_tasks<T, true>(call) : reduce_tasks<T, false>(call);
}

}  // namespace aruba_fast::ARUBA_ISA
