// The tasks that one thread has in hand: their memory, their place in the data, and who comes next.
#pragma once

#include <initializer_list>

#include "dot-inl.h"
#include "kernels.h"
#include "rules/step.h"
#include "rules/sums.h"
#include "simd.h"
#include "widening-inl.h"

namespace aruba_fast::ARUBA_ISA {

// One register from each of n arrays.
template <class T, class Pointer, int n>
ARUBA_RULE void load_each(Pack<T> (&to)[n], const Pointer (&from)[n], std::int64_t at) {
#pragma GCC unroll 4
  for (int i = 0; i < n; ++i) to[i] = load(from[i] + at);
}

template <class T>
struct Moved {
  Pack<T> theta, rate;
};

// A register of theta and of the states at i, by the parameters at j; returns theta as it is then,
// and the rate. `clean` goes over what is written.
template <class T, class Rule, class Clean>
ARUBA_RULE Moved<T> step_register(T* theta, T* const (&states)[kStatesOf<Rule>], std::int64_t i,
                                  Pack<T> gradient, const T* const (&by)[kParametersOf<Rule>],
                                  std::int64_t j, Clean clean) {
  Pack<T> moved = load(theta);
  State<Rule, Pack<T>> state;
  Parameters<Rule, Pack<T>> parameters;
  load_each<T>(state, states, i);
  load_each<T>(parameters, by, j);
  const Pack<T> used = Rule::step(moved, state, gradient, parameters);
  moved = clean(moved);
  store(theta, moved);
#pragma GCC unroll 4
  for (int s = 0; s < kStatesOf<Rule>; ++s) store(states[s] + i, clean(state[s]));
  return {moved, used};
}

// Out of the way of the loops: what only long tasks do.
#define ARUBA_RARE __attribute__((noinline, cold))

template <class T>
struct TaskSlots {
  using P = Pack<T>;
  static constexpr int kWidth = P::kWidth;

  explicit TaskSlots(const TasksCall& tasks)
      : call(tasks),
        radius(static_cast<T>(call.radius)),
        mask(first_lanes<T>(static_cast<int>(call.n_features % kWidth))),
        slot_size(call.n_outputs * call.stride) {
    T* free = static_cast<T*>(call.scratch);
    const auto take = [&](std::initializer_list<T**> parts) {
      for (T** part : parts) {
        *part = free;
        free += call.n_slots * slot_size;
      }
    };
    take({&theta});
    for (int i = 0; i < call.n_states; ++i) take({&state[i]});
    for (int i = 0; i < kMostParameters; ++i)
      parameters[i] = static_cast<const T*>(call.parameters[i]);
    if (!call.is_plain()) take({&gradient, &theta_sum, &used_rate});
    if (call.is_long)
      take({&theta_total, &theta_rest, &gradient_total, &gradient_rest, &squares_total});
    z = free;
    slope = free + call.n_outputs * kMaxSlots;
    window = slope + call.n_outputs * kMaxSlots;
  }

  struct Progress {
    std::int64_t position, rows_left, epochs_left, batch_rows, n_rounds;
  };

  // Of rows up to so many features, the loops ask for no narrow ones.
  static constexpr std::int64_t kLanesAhead = 128;

  // The sums of squared gradients.
  T* grad_sq() const { return state[0]; }
  T* of(T* part, int k, std::int64_t output = 0) const {
    return part + k * slot_size + output * call.stride;
  }
  std::int64_t task_at(std::int64_t position) const {
    return call.order ? call.order[position] : position;
  }

  bool fill() {
    while (n_active < call.n_slots && !__atomic_load_n(call.stop, __ATOMIC_RELAXED)) {
      if (__atomic_load_n(call.next, __ATOMIC_RELAXED) >= call.n_tasks) break;
      const std::int64_t position = __atomic_fetch_add(call.next, 1, __ATOMIC_RELAXED);
      if (position >= call.n_tasks) break;
      start(n_active++, position);
    }
    return n_active > 0 && !__atomic_load_n(call.stop, __ATOMIC_RELAXED);
  }

  void start(int k, std::int64_t position) {
    const T* phi = static_cast<const T*>(call.phi) + position * call.phi_stride;
    for_each_part([&](T* part) { std::memset(of(part, k), 0, bytes(slot_size)); });
    for (std::int64_t c = 0; c < call.n_outputs; ++c)
      std::memcpy(of(theta, k, c), phi + c * call.n_features, bytes(call.n_features));
    progress[k] = {position, 0, call.n_epochs, 0, 0};
    loss[k] = loss_error[k] = batch_loss[k] = T(0);
    batch_total[k] = {T(0), T(0)};
    start_epoch(k);
  }

  void start_epoch(int k) {
    const std::int64_t task = task_at(progress[k].position), first = call.starts[task];
    x[k] = static_cast<const T*>(call.x) + first * call.n_features;
    y[k] = static_cast<const T*>(call.y) + first;
    progress[k].rows_left = call.stops[task] - first;
    --progress[k].epochs_left;
  }

  void advance(int k, std::int64_t n) {
    x[k] += n * call.n_features;
    y[k] += n;
    progress[k].rows_left -= n;
  }

  // Rows that all tasks can go before one of them ends an epoch or a batch, at most about a
  // millisecond's worth; or a window's.
  std::int64_t rows_until_event(bool by_window) const {
    std::int64_t n = 1 + (std::int64_t(1) << 20) / (n_active * slot_size);
    if (by_window && n > call.window) n = call.window;
    for (int k = 0; k < n_active; ++k) {
      const std::int64_t batch_left =
          call.batch_size == 1 ? n : call.batch_size - progress[k].batch_rows;
      n = n < progress[k].rows_left ? n : progress[k].rows_left;
      n = n < batch_left ? n : batch_left;
      if (!call.is_long) continue;
      const std::int64_t most = call.is_plain() ? kSquaresTogether : kTermsTogether,
                         terms =
                             call.batch_size == 1 ? progress[k].n_rounds : progress[k].batch_rows,
                         together = most - terms % most;
      n = n < together ? n : together;
    }
    return n;
  }

  // The next n rows of every task, of a table that is narrower than T.
  void widen(std::int64_t n) {
    if constexpr (sizeof(T) == sizeof(float)) {
      const std::int64_t d = call.n_features, size = call.window_numbers();
      const std::int64_t n_ahead = d > kLanesAhead ? 0 : call.widening.bytes_of(n * d);
      as_narrow(call.x, call.widening, [&](const auto* table, Floats scale) {
        for (int k = 0; k < n_active; ++k) {
          const auto* const from = narrow_row(table, k, 0);
          x[k] = window + k * size;
          ARUBA_ISA::widen(from, scale, n * d, window + k * size);
          after_window[k] = reinterpret_cast<const char*>(from + n * d);
          for (std::int64_t at = 0; at < n_ahead; at += 64) prefetch(after_window[k] + at + 63);
        }
      });
    }
  }

  // Row `row` of slot k's, in a table that is narrower than T, whose first number is `table`.
  template <class Number>
  const Number* narrow_row(const Number* table, int k, std::int64_t row) const {
    return table + (y[k] + row - static_cast<const T*>(call.y)) * call.n_features;
  }

  // What to ask for while the entries from `at` on of slot k's rows are read: those of the row
  // after the next (AVX-512, 100 features: 13.3 ns a round, the next row 15.1), or of the next rows
  // to be widened.
  ARUBA_RULE Ahead ahead(int k, std::int64_t at) const {
    if (call.window == 0)
      return {reinterpret_cast<const char*>(x[k] + at + 2 * call.n_features), 64};
    return {after_window[k] + call.widening.bytes_of(at), call.widening.bytes_of(16)};
  }

  // What slot k has summed in `part` goes to the sum of such sums; `part` begins anew.
  ARUBA_RARE void gather(T* part, T* total, T* rest, int k) const {
    for (std::int64_t i = k * slot_size; i < (k + 1) * slot_size; ++i)
      aruba_fast::gather(part[i], total[i], rest[i]);
  }
  ARUBA_RARE void gather_squares(int k) const {
    for (std::int64_t i = k * slot_size; i < (k + 1) * slot_size; ++i) {
      squares_total[i] = squares_total[i] + grad_sq()[i];
      grad_sq()[i] = T(0);
    }
  }
  ARUBA_RARE void gather_batch(int k) {
    gather(gradient, gradient_total, gradient_rest, k);
    aruba_fast::add(batch_total[k], batch_loss[k]);
    batch_loss[k] = T(0);
  }
  // The end of a mini-batch of which parts were gathered.
  ARUBA_RARE void collect_batch(int k) {
    collect(gradient, gradient_total, gradient_rest, k);
    aruba_fast::add(batch_total[k], batch_loss[k]);
    batch_loss[k] = batch_total[k].value();
    batch_total[k] = {T(0), T(0)};
  }
  // The whole sum, to `part`; the sum of sums begins anew.
  ARUBA_RARE void collect(T* part, T* total, T* rest, int k) const {
    gather(part, total, rest, k);
    for (std::int64_t i = k * slot_size; i < (k + 1) * slot_size; ++i)
      aruba_fast::collect(part[i], total[i], rest[i]);
  }

  void move(int from, int to) {
    for_each_part([&](T* part) { std::memcpy(of(part, to), of(part, from), bytes(slot_size)); });
    progress[to] = progress[from];
    x[to] = x[from];
    y[to] = y[from];
    loss[to] = loss[from];
    loss_error[to] = loss_error[from];
    batch_loss[to] = batch_loss[from];
    batch_total[to] = batch_total[from];
  }

  void finish(int k) {
    const Progress& at = progress[k];
    if (call.is_long && at.n_rounds >= kSquaresTogether) {
      gather_squares(k);
      std::memcpy(of(grad_sq(), k), of(squares_total, k), bytes(slot_size));
    }
    if (call.is_long && call.theta_bar && at.n_rounds >= kTermsTogether)
      collect(theta_sum, theta_total, theta_rest, k);
    const std::int64_t row = at.position * call.n_outputs * call.n_features;
    for (std::int64_t c = 0; c < call.n_outputs; ++c) {
      const std::int64_t offset = row + c * call.n_features;
      std::memcpy(static_cast<T*>(call.theta_hat) + offset, of(theta, k, c),
                  bytes(call.n_features));
      std::memcpy(static_cast<T*>(call.grad_sq) + offset, of(grad_sq(), k, c),
                  bytes(call.n_features));
      if (!call.theta_bar) continue;
      T* mean = static_cast<T*>(call.theta_bar) + offset;
      for (std::int64_t j = 0; j < call.n_features; ++j)
        mean[j] = of(theta_sum, k, c)[j] / static_cast<T>(at.n_rounds);
    }
    finish_loss(k);
  }

  void finish_loss(int k) const {
    call.loss[progress[k].position] = Compensated<T>{loss[k], loss_error[k]}.value();
  }

  // body(part) for the memory of every slot.
  template <class Body>
  void for_each_part(Body body) const {
    body(theta);
    for (int i = 0; i < call.n_states; ++i) body(state[i]);
    if (!call.is_plain())
      for (T* part : {gradient, theta_sum, used_rate}) body(part);
    if (call.is_long)
      for (T* part : {theta_total, theta_rest, gradient_total, gradient_rest, squares_total})
        body(part);
  }

  ARUBA_RULE Compensated<P> load_loss(int first) const {
    return {load(loss + first), load(loss_error + first)};
  }
  ARUBA_RULE void store_loss(int first, const Compensated<P>& total) {
    store(loss + first, total.sum);
    store(loss_error + first, total.error);
  }

  void add_loss(int k, T term) {
    Compensated<T> total = {loss[k], loss_error[k]};
    total.add(term);
    loss[k] = total.sum;
    loss_error[k] = total.error;
  }

  static constexpr std::size_t bytes(std::int64_t n) {
    return static_cast<std::size_t>(n) * sizeof(T);
  }

  const TasksCall& call;
  const T radius;
  const typename P::Mask mask;
  const std::int64_t slot_size;
  const T* parameters[kMostParameters];
  T *theta, *state[kMostStates], *z, *slope, *window;
  T *gradient, *theta_sum, *used_rate;  // unless is_plain
  // With is_long: sums of sums, and what they leave over.
  T *theta_total, *theta_rest, *gradient_total, *gradient_rest, *squares_total;
  int n_active = 0;
  Progress progress[kMaxSlots];
  const T* x[kMaxSlots];
  const T* y[kMaxSlots];
  const char* after_window[kMaxSlots];
  alignas(ARUBA_REGISTER_BYTES) T loss[kMaxSlots] = {};
  alignas(ARUBA_REGISTER_BYTES) T loss_error[kMaxSlots] = {};
  alignas(ARUBA_REGISTER_BYTES) T batch_loss[kMaxSlots] = {};
  Twofold<T> batch_total[kMaxSlots] = {};
};

}  // namespace aruba_fast::ARUBA_ISA
