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

// Adds kTasks tasks to one register of columns. Sums stay in registers over the tasks, so that
// their traffic is shared.
template <class T, int kTasks>
ARUBA_RULE void add_tasks(const T* const* theta_hat, const T* const* grad_sq, const double* weight,
                          const T* phi, std::int64_t j, double* at, std::int64_t row) {
  Sum distance = load_sum(at, at + row), squares = load_sum(at + 2 * row, at + 3 * row),
      mean = load_sum(at + 4 * row, at + 5 * row);
  const Doubles start = load_doubles(phi + j);
#pragma GCC unroll 4
  for (int k = 0; k < kTasks; ++k) {
    const Doubles theta = load_doubles(theta_hat[k] + j);
    add(distance, half_square_distance(theta, start));
    add(squares, load_doubles(grad_sq[k] + j));
    add(mean, Doubles(weight[k]) * theta);
  }
  store_sum(at, at + row, distance);
  store_sum(at + 2 * row, at + 3 * row, squares);
  store_sum(at + 4 * row, at + 5 * row, mean);
}

// The columns of kTasks tasks; the last ones, too few for a register, move through a zero-padded
// copy.
template <class T, int kTasks>
ARUBA_RULE void add_rows(const ReduceCall& call, const std::int64_t* tasks) {
  constexpr int kWidth = Doubles::kWidth;
  const T *theta_hat[kTasks], *grad_sq[kTasks];
  double weight[kTasks];
  for (int k = 0; k < kTasks; ++k) {
    theta_hat[k] = static_cast<const T*>(call.theta_hat) + tasks[k] * call.n + call.begin;
    grad_sq[k] = static_cast<const T*>(call.grad_sq) + tasks[k] * call.n + call.begin;
    weight[k] = call.weights ? call.weights[tasks[k]] : 1.0;
  }
  const T* phi = static_cast<const T*>(call.phi) + call.begin;
  const std::int64_t n = call.end - call.begin;
  std::int64_t j = 0;
  for (; j + kWidth <= n; j += kWidth)
    add_tasks<T, kTasks>(theta_hat, grad_sq, weight, phi, j, call.sums + j, call.stride);
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
  add_tasks<T, kTasks>(tail_hat, tail_sq, weight, tail[2 * kTasks], 0, call.sums + j, call.stride);
}

template <class T>
void reduce(const ReduceCall& call) {
  constexpr int kTasks = 4;
  std::memset(call.sums, 0, static_cast<std::size_t>(6 * call.stride) * sizeof(double));
  std::int64_t tasks[kTasks];
  int waiting = 0;
  for (std::int64_t task = call.first; task < call.last; ++task) {
    if (call.skip && call.skip[task]) continue;
    tasks[waiting++] = task;
    if (waiting < kTasks) continue;
    add_rows<T, kTasks>(call, tasks);
    waiting = 0;
  }
  for (int k = 0; k < waiting; ++k) add_rows<T, 1>(call, tasks + k);
}

}  // namespace aruba_fast::ARUBA_ISA
