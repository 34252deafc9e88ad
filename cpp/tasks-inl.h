// The task engine: every round of every task, prediction, loss, gradient, update and statistics fused.
//
// A thread runs up to one register's worth of tasks in lock-step, one task a lane: each row's prediction is a dot product in the
// task's own registers; the predictions of all tasks meet in one register, where loss and slope are computed for all at once, which
// hides the latency of exp and of the dot product; the slopes go back to the tasks' own registers for the update. A finished task
// hands its slot to the next. No task's bits depend on its neighbours.
#pragma once

#include "kernels.h"
#include "project-inl.h"
#include "rules/step.h"

namespace aruba_fast::ARUBA_ISA {

template <class T, class Rule>
class TaskRunner {
 public:
  explicit TaskRunner(const TasksCall& call)
      : call_(call),
        radius_(static_cast<T>(call.radius)),
        mask_(first_lanes<T>(static_cast<int>(call.n_features % kWidth))),
        rates_(static_cast<const T*>(call.rates)),
        dampings_(static_cast<const T*>(call.dampings)),
        slot_size_(call.n_outputs * call.stride) {
    T* free = static_cast<T*>(call.scratch);
    for (T** part : {&theta_, &grad_sq_, &gradient_, &theta_sum_, &used_rate_}) {
      *part = free;
      free += call.n_slots * slot_size_;
    }
    z_ = free;
    slope_ = free + call.n_outputs * kWidth;
  }

  void run() {
    while (fill()) {
      const std::int64_t n = rows_until_event();
      if (call_.batch_size == 1) steps(n);
      else accumulate(n);
      for (int k = n_active_ - 1; k >= 0; --k) after_rows(k, n);
      if (call_.poll) call_.poll(call_.poll_context);
    }
  }

 private:
  static constexpr int kWidth = Pack<T>::kWidth;
  using P = Pack<T>;

  struct Progress {
    std::int64_t position, rows_left, epochs_left, batch_rows, n_rounds;
  };

  T* of(T* part, int k, std::int64_t output = 0) const { return part + k * slot_size_ + output * call_.stride; }
  std::int64_t task_at(std::int64_t position) const { return call_.order ? call_.order[position] : position; }

  bool fill() {
    while (n_active_ < call_.n_slots && !__atomic_load_n(call_.stop, __ATOMIC_RELAXED)) {
      if (__atomic_load_n(call_.next, __ATOMIC_RELAXED) >= call_.n_tasks) break;
      const std::int64_t position = __atomic_fetch_add(call_.next, 1, __ATOMIC_RELAXED);
      if (position >= call_.n_tasks) break;
      start(n_active_++, position);
    }
    return n_active_ > 0 && !__atomic_load_n(call_.stop, __ATOMIC_RELAXED);
  }

  void start(int k, std::int64_t position) {
    const T* phi = static_cast<const T*>(call_.phi) + position * call_.phi_stride;
    for (T* part : {theta_, grad_sq_, gradient_, theta_sum_, used_rate_}) std::memset(of(part, k), 0, bytes(slot_size_));
    for (std::int64_t c = 0; c < call_.n_outputs; ++c)
      std::memcpy(of(theta_, k, c), phi + c * call_.n_features, bytes(call_.n_features));
    progress_[k] = {position, 0, call_.n_epochs, 0, 0};
    loss_[k] = loss_error_[k] = batch_loss_[k] = T(0);
    start_epoch(k);
  }

  void start_epoch(int k) {
    const std::int64_t task = task_at(progress_[k].position), first = call_.starts[task];
    x_[k] = static_cast<const T*>(call_.x) + first * call_.n_features;
    y_[k] = static_cast<const T*>(call_.y) + first;
    progress_[k].rows_left = call_.stops[task] - first;
    --progress_[k].epochs_left;
  }

  // Rows that all tasks can go before one of them ends an epoch or a batch, at most about a millisecond's worth.
  std::int64_t rows_until_event() const {
    std::int64_t n = 1 + (std::int64_t(1) << 20) / (n_active_ * slot_size_);
    for (int k = 0; k < n_active_; ++k) {
      const std::int64_t batch_left = call_.batch_size == 1 ? n : call_.batch_size - progress_[k].batch_rows;
      n = n < progress_[k].rows_left ? n : progress_[k].rows_left;
      n = n < batch_left ? n : batch_left;
    }
    return n;
  }

  void after_rows(int k, std::int64_t n) {
    Progress& at = progress_[k];
    at.rows_left -= n;
    if (call_.batch_size == 1) {
      at.n_rounds += n;
    } else {
      at.batch_rows += n;
      if (at.batch_rows == call_.batch_size || at.rows_left == 0) end_batch(k);
    }
    if (at.rows_left > 0) return;
    if (at.epochs_left > 0) return start_epoch(k);
    finish(k);
    if (k != --n_active_) move(n_active_, k);
  }

  void move(int from, int to) {
    for (T* part : {theta_, grad_sq_, gradient_, theta_sum_, used_rate_}) std::memcpy(of(part, to), of(part, from), bytes(slot_size_));
    progress_[to] = progress_[from];
    x_[to] = x_[from];
    y_[to] = y_[from];
    loss_[to] = loss_[from];
    loss_error_[to] = loss_error_[from];
    batch_loss_[to] = batch_loss_[from];
  }

  void finish(int k) {
    const Progress& at = progress_[k];
    const std::int64_t row = at.position * call_.n_outputs * call_.n_features;
    for (std::int64_t c = 0; c < call_.n_outputs; ++c) {
      const std::int64_t offset = row + c * call_.n_features;
      std::memcpy(static_cast<T*>(call_.theta_hat) + offset, of(theta_, k, c), bytes(call_.n_features));
      std::memcpy(static_cast<T*>(call_.grad_sq) + offset, of(grad_sq_, k, c), bytes(call_.n_features));
      if (!call_.theta_bar) continue;
      T* mean = static_cast<T*>(call_.theta_bar) + offset;
      for (std::int64_t j = 0; j < call_.n_features; ++j) mean[j] = of(theta_sum_, k, c)[j] / static_cast<T>(at.n_rounds);
    }
    call_.loss[at.position] = static_cast<double>(loss_[k]) - static_cast<double>(loss_error_[k]);
  }

  // ---- one round per row ----

  void steps(std::int64_t n) {
    constexpr int kMost = kRegisters<T> < 4 ? kRegisters<T> : 4;
    const std::int64_t blocks = (call_.n_features + kWidth - 1) / kWidth;
    if (call_.theta_bar || radius_ > T(0)) return steps_of<0, false, true>(n);
    if (n_active_ < kWidth || blocks > kMost) return steps_of<0, false, false>(n);
    // Short rows and every lane busy: everything unrolled.
    if (blocks == 1) return steps_of<1, true, false>(n);
    if (blocks == 2) return steps_of<2, true, false>(n);
    if constexpr (kMost >= 3) {
      if (blocks == 3) return steps_of<3, true, false>(n);
      return steps_of<4, true, false>(n);
    }
  }

  template <int kBlocks, bool kFull, bool kExtras>
  void steps_of(std::int64_t n) {
    const int n_active = kFull ? kWidth : n_active_;
    for (std::int64_t row = 0; row < n; ++row) {
      predict<kBlocks, kFull>();
      add_compensated(loss_and_slope());
#pragma GCC unroll 16
      for (int k = 0; k < n_active; ++k) {
        for (std::int64_t c = 0; c < call_.n_outputs; ++c) update<kBlocks, kExtras>(k, c, x_[k], P(slope_[c * kWidth + k]));
        if constexpr (kExtras) project_slot(k);
        x_[k] += call_.n_features;
        ++y_[k];
      }
    }
  }

  // ---- mini-batches: rows add up their gradients, the end of the batch is the round ----

  void accumulate(std::int64_t n) {
    for (std::int64_t row = 0; row < n; ++row) {
      predict<0, false>();
      store(batch_loss_, load(batch_loss_) + loss_and_slope());
      for (int k = 0; k < n_active_; ++k) {
        for (std::int64_t c = 0; c < call_.n_outputs; ++c) {
          const P slope(slope_[c * kWidth + k]);
          T* sum = of(gradient_, k, c);
          over_features<0>(x_[k], [&](std::int64_t j, P x, auto) { store(sum + j, fma(slope, x, load(sum + j))); });
        }
        x_[k] += call_.n_features;
        ++y_[k];
      }
    }
  }

  void end_batch(int k) {
    Progress& at = progress_[k];
    const T mean = T(1) / static_cast<T>(at.batch_rows);
    for (std::int64_t c = 0; c < call_.n_outputs; ++c) update<0, true>(k, c, of(gradient_, k, c), P(mean));
    project_slot(k);
    std::memset(of(gradient_, k), 0, bytes(slot_size_));
    const T term = batch_loss_[k] * mean - loss_error_[k], sum = loss_[k] + term;
    loss_error_[k] = (sum - loss_[k]) - term;
    loss_[k] = sum;
    batch_loss_[k] = T(0);
    at.batch_rows = 0;
    ++at.n_rounds;
  }

  // ---- the parts of a row ----

  template <int kBlocks, bool kFull>
  ARUBA_RULE void predict() {
    const int n_active = kFull ? kWidth : n_active_;
    for (std::int64_t c = 0; c < call_.n_outputs; ++c) {
      P sums[kWidth];
      if constexpr (!kFull)
        for (P& each : sums) each = P(T(0));
#pragma GCC unroll 16
      for (int k = 0; k < n_active; ++k) sums[k] = dot_lanes<kBlocks>(x_[k], of(theta_, k, c), call_.n_features, mask_);
      store(z_ + c * kWidth, fold_each(sums));
    }
  }

  // Loss of every lane's prediction; the slopes go to slope_.
  ARUBA_RULE P loss_and_slope() {
    P y(T(0));
    for (int k = 0; k < n_active_; ++k) y.v[k] = *y_[k];
    if (call_.loss_kind == Loss::kSoftmax) return softmax(y);
    const LossAndSlope<P> at = one_output_loss(call_.loss_kind, load(z_), y);
    store(slope_, at.slope);
    return at.loss;
  }

  P softmax(P y) {
    const std::int64_t n = call_.n_outputs;
    P maximum = load(z_), sum(T(0)), chosen(T(0));
    for (std::int64_t c = 1; c < n; ++c) maximum = softmax_maximum(maximum, load(z_ + c * kWidth));
    for (std::int64_t c = 0; c < n; ++c) {
      const P z = load(z_ + c * kWidth), term = softmax_term(z, maximum);
      chosen = select(y == P(static_cast<T>(c)), z, chosen);
      sum = sum + term;
      store(slope_ + c * kWidth, term);
    }
    for (std::int64_t c = 0; c < n; ++c)
      store(slope_ + c * kWidth, softmax_slope(load(slope_ + c * kWidth), sum, y, static_cast<T>(c)));
    return log_positive(sum) - (chosen - maximum);
  }

  ARUBA_RULE void add_compensated(P loss) {
    const P sum = load(loss_), term = loss - load(loss_error_), next = sum + term;
    store(loss_error_, (next - sum) - term);
    store(loss_, next);
  }

  // theta and its statistics by the gradient scale * x.
  template <int kBlocks, bool kExtras>
  ARUBA_RULE void update(int k, std::int64_t c, const T* x, P scale) {
    T *theta = of(theta_, k, c), *grad_sq = of(grad_sq_, k, c);
    const std::int64_t offset = c * call_.stride;
    const auto step = [&](std::int64_t j, P x_j, auto clean) {
      P at = load(theta + j), sum = load(grad_sq + j);
      if (kExtras && call_.theta_bar) store(of(theta_sum_, k, c) + j, load(of(theta_sum_, k, c) + j) + at);
      const P used = Rule::step(at, sum, scale * x_j, load(rates_ + offset + j), load(dampings_ + offset + j));
      if (kExtras && radius_ > T(0)) store(of(used_rate_, k, c) + j, used);
      store(theta + j, clean(at));
      store(grad_sq + j, clean(sum));
    };
    over_features<kBlocks>(x, step);
  }

  // body(j, x at j, clean) for every register of features; clean zeroes the lanes that lie beyond the last feature, so that the
  // padding stays zero even where a slope is infinite.
  template <int kBlocks, class Body>
  ARUBA_RULE void over_features(const T* x, Body body) {
    const auto whole = [](P a) { return a; };
    const auto part = [this](P a) { return keep<T>(mask_, a); };
    const int tail = static_cast<int>(call_.n_features % kWidth);
    const std::int64_t full = kBlocks > 0 ? (kBlocks - 1) * kWidth : call_.n_features - tail;
    std::int64_t j = 0;
#pragma GCC unroll 4
    for (; j < full; j += kWidth) body(j, load(x + j), whole);
    if (tail) body(j, load_first(x + j, tail, mask_), part);
    else if (kBlocks > 0) body(j, load(x + j), whole);
  }

  void project_slot(int k) {
    if (!(radius_ > T(0))) return;
    const Rows<T> theta{of(theta_, k), call_.n_outputs, call_.n_features, call_.stride};
    project<T>(theta, call_.one_rate ? nullptr : of(used_rate_, k), radius_);
  }

  static constexpr std::size_t bytes(std::int64_t n) { return static_cast<std::size_t>(n) * sizeof(T); }

  const TasksCall& call_;
  const T radius_;
  const typename P::Mask mask_;
  const T *rates_, *dampings_;
  const std::int64_t slot_size_;
  T *theta_, *grad_sq_, *gradient_, *theta_sum_, *used_rate_, *z_, *slope_;
  int n_active_ = 0;
  Progress progress_[kMaxSlots];
  const T* x_[kMaxSlots];
  const T* y_[kMaxSlots];
  alignas(ARUBA_REGISTER_BYTES) T loss_[kMaxSlots] = {};
  alignas(ARUBA_REGISTER_BYTES) T loss_error_[kMaxSlots] = {};
  alignas(ARUBA_REGISTER_BYTES) T batch_loss_[kMaxSlots] = {};
};

template <class T, class Rule>
void run_tasks(const TasksCall& call) {
  TaskRunner<T, Rule>(call).run();
}

}  // namespace aruba_fast::ARUBA_ISA
