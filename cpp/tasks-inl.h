// The task engine: every round of every task, prediction, loss, gradient, update and statistics fused.
//
// A thread runs several tasks in lock-step, one task a lane: each row's prediction is a dot product in the task's own registers; the
// predictions of all tasks meet in one register, where loss and slope are computed for all at once, which hides the latency of exp
// and of the dot product; the slopes go back to the tasks' own registers for the update. A finished task
// hands its slot to the next. No task's bits depend on its neighbours.
#pragma once

#include "kernels.h"
#include "loss-inl.h"
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
    slope_ = free + call.n_outputs * kMaxSlots;
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
  static constexpr int kWidth = Pack<T>::kWidth, kPacks = 2;
  using P = Pack<T>;

  struct Progress {
    std::int64_t position, rows_left, epochs_left, batch_rows, n_rounds;
  };

  T* of(T* part, int k, std::int64_t output = 0) const { return part + k * slot_size_ + output * call_.stride; }
  std::int64_t task_at(std::int64_t position) const { return call_.order ? call_.order[position] : position; }

  bool has_extras() const { return call_.batch_size > 1 || call_.theta_bar || radius_ > T(0); }

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
    for (T* part : {theta_, grad_sq_}) std::memset(of(part, k), 0, bytes(slot_size_));
    if (has_extras()) for (T* part : {gradient_, theta_sum_, used_rate_}) std::memset(of(part, k), 0, bytes(slot_size_));
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
    x_[k] += n * call_.n_features;
    y_[k] += n;
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
    for (T* part : {theta_, grad_sq_, gradient_, theta_sum_}) std::memcpy(of(part, to), of(part, from), bytes(slot_size_));
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
    const std::int64_t blocks = slot_size_ / kWidth;
    if (has_extras()) return rows<true>(n);
    if (n_active_ < kPacks * kWidth || call_.n_outputs > 1) return rows<false>(n);
    switch (blocks) {
      case 1: return short_rows<1>(n);
      case 2: return short_rows<2>(n);
      case 3: return short_rows<3>(n);
      case 4: return short_rows<4>(n);
      case 8: return short_rows<8>(n);
      default: return rows<false>(n);
    }
  }

  template <bool kExtras>
  void rows(std::int64_t n) {
    for (std::int64_t row = 0; row < n; ++row) {
      for (int first = 0; first < n_active_; first += kWidth) {
        Compensated<P> loss = load_loss(first);
        loss.add(predict(first, row));
        store_loss(first, loss);
      }
      for (int k = 0; k < n_active_; ++k) {
        const T* x = x_[k] + row * call_.n_features;
        for (std::int64_t c = 0; c < call_.n_outputs; ++c) update<kExtras>(k, c, x, P(slope_[c * kMaxSlots + k]));
        if constexpr (kExtras) project_slot(k);
      }
    }
  }

  // The same for rows of kBlocks registers with every slot busy, all of it unrolled. Two registers of tasks side by side: one's loss
  // is computed while the other's waits (AVX2, 8 features: 28 instructions a round).
  template <int kBlocks>
  void short_rows(std::int64_t n) {
    constexpr int kSlot = kBlocks * kWidth;
    T *const theta = theta_, *const grad_sq = grad_sq_;
    const T *const rates = rates_, *const dampings = dampings_;
    const std::int64_t n_features = call_.n_features;
    const int tail = static_cast<int>(n_features % kWidth);
    Compensated<P> loss[kPacks];
    for (int p = 0; p < kPacks; ++p) loss[p] = load_loss(p * kWidth);
    for (std::int64_t row = 0; row < n; ++row) {
      const std::int64_t offset = row * n_features;
      P z[kPacks];
      alignas(ARUBA_REGISTER_BYTES) T y[kPacks * kWidth], slope[kPacks * kWidth];
#pragma GCC unroll 2
      for (int p = 0; p < kPacks; ++p) {
        P sums[kWidth];
#pragma GCC unroll 16
        for (int lane = 0; lane < kWidth; ++lane) {
          const int k = p * kWidth + lane;
          sums[lane] = dot_lanes<kBlocks>(x_[k] + offset, theta + k * kSlot, n_features, mask_);
          y[k] = y_[k][row];
        }
        z[p] = fold_each(sums);
      }
#pragma GCC unroll 2
      for (int p = 0; p < kPacks; ++p) {
        const LossAndSlope<P> at = one_output_loss(call_.loss_kind, z[p], load(y + p * kWidth));
        loss[p].add(at.loss);
        store(slope + p * kWidth, at.slope);
      }
#pragma GCC unroll 32
      for (int k = 0; k < kPacks * kWidth; ++k) {
        const P scale(slope[k]);
#pragma GCC unroll 8
        for (int block = 0; block < kBlocks; ++block) {
          const int j = block * kWidth, i = k * kSlot + j;
          const bool partial = block == kBlocks - 1 && tail;
          const P x = partial ? load_first(x_[k] + offset + j, tail, mask_) : load(x_[k] + offset + j);
          P to = load(theta + i), sum = load(grad_sq + i);
          Rule::step(to, sum, scale * x, load(rates + j), load(dampings + j));
          store(theta + i, partial ? keep<T>(mask_, to) : to);
          store(grad_sq + i, partial ? keep<T>(mask_, sum) : sum);
        }
      }
    }
    for (int p = 0; p < kPacks; ++p) store_loss(p * kWidth, loss[p]);
  }

  // ---- mini-batches: rows add up their gradients, the end of the batch is the round ----

  void accumulate(std::int64_t n) {
    for (std::int64_t row = 0; row < n; ++row) {
      for (int first = 0; first < n_active_; first += kWidth)
        store(batch_loss_ + first, load(batch_loss_ + first) + predict(first, row));
      for (int k = 0; k < n_active_; ++k) {
        const T* at = x_[k] + row * call_.n_features;
        for (std::int64_t c = 0; c < call_.n_outputs; ++c) {
          const P slope(slope_[c * kMaxSlots + k]);
          T* sum = of(gradient_, k, c);
          over_features(at, [&](std::int64_t j, P x, auto) { store(sum + j, fma(slope, x, load(sum + j))); });
        }
      }
    }
  }

  void end_batch(int k) {
    Progress& at = progress_[k];
    const T mean = T(1) / static_cast<T>(at.batch_rows);
    for (std::int64_t c = 0; c < call_.n_outputs; ++c) update<true>(k, c, of(gradient_, k, c), P(mean));
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

  // Predictions of up to kWidth tasks from slot `first` on; their losses, and their slopes to slope_.
  ARUBA_RULE P predict(int first, std::int64_t row) {
    const int n = n_active_ - first < kWidth ? n_active_ - first : kWidth;
    for (std::int64_t c = 0; c < call_.n_outputs; ++c) {
      P sums[kWidth];
      for (P& each : sums) each = P(T(0));
      for (int lane = 0; lane < n; ++lane) {
        const int k = first + lane;
        sums[lane] = dot_lanes<0>(x_[k] + row * call_.n_features, of(theta_, k, c), call_.n_features, mask_);
      }
      store(z_ + c * kMaxSlots + first, fold_each(sums));
    }
    P y(T(0));
    for (int lane = 0; lane < n; ++lane) y.v[lane] = y_[first + lane][row];
    if (call_.loss_kind == Loss::kSoftmax) return softmax(z_ + first, slope_ + first, y, call_.n_outputs);
    const LossAndSlope<P> at = one_output_loss(call_.loss_kind, load(z_ + first), y);
    store(slope_ + first, at.slope);
    return at.loss;
  }

  ARUBA_RULE Compensated<P> load_loss(int first) const { return {load(loss_ + first), load(loss_error_ + first)}; }
  ARUBA_RULE void store_loss(int first, const Compensated<P>& loss) {
    store(loss_ + first, loss.sum);
    store(loss_error_ + first, loss.error);
  }

  // theta and its statistics by the gradient scale * x.
  template <bool kExtras>
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
    over_features(x, step);
  }

  // body(j, x at j, clean) for every register of features; clean zeroes the lanes that lie beyond the last feature, so that the
  // padding stays zero even where a slope is infinite.
  template <class Body>
  ARUBA_RULE void over_features(const T* x, Body body) {
    const auto whole = [](P a) { return a; };
    const auto part = [this](P a) { return keep<T>(mask_, a); };
    const int tail = static_cast<int>(call_.n_features % kWidth);
    const std::int64_t full = call_.n_features - tail;
#pragma GCC unroll 4
    for (std::int64_t j = 0; j < full; j += kWidth) body(j, load(x + j), whole);
    if (tail) body(full, load_first(x + full, tail, mask_), part);
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
