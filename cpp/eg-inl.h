// Tasks by exponentiated gradient: the iterate stays on the simplex, as log-weights.
//
// A task at a time: a round is bound by the exponentials of its own coordinates, which fill the
// registers by themselves.
#pragma once

#include "kernels.h"
#include "loss-inl.h"
#include "project-inl.h"
#include "rules/step.h"
#include "rules/sums.h"
#include "widening-inl.h"

namespace aruba_fast::ARUBA_ISA {

template <class T>
class EgRunner {
 public:
  explicit EgRunner(const TasksCall& call)
      : call_(call),
        n_(call.n_features),
        tail_(static_cast<int>(n_ % kWidth)),
        mask_(first_lanes<T>(tail_)),
        rate_(static_cast<const T*>(call.parameters[0])[0]) {
    T* free = static_cast<T*>(call.scratch);
    for (T** part : {&weights_, &log_weights_, &gradient_, &sum_}) {
      *part = free;
      free += call.stride;
    }
    if (call.is_long)
      for (T** part : {&gradient_total_, &gradient_rest_, &sum_total_, &sum_rest_}) {
        *part = free;
        free += call.stride;
      }
    row_ = free;
  }

  void run() {
    while (!stopped()) {
      const std::int64_t position = __atomic_fetch_add(call_.next, 1, __ATOMIC_RELAXED);
      if (position >= call_.n_tasks) return;
      start(position);
      for (std::int64_t epoch = 0; epoch < call_.n_epochs; ++epoch)
        if (!rows(call_.order ? call_.order[position] : position)) return;
      finish(position);
    }
  }

 private:
  using P = Pack<T>;
  static constexpr int kWidth = P::kWidth;
  // A coordinate's exponentials, in coordinates that only move; and what is done between polls.
  static constexpr std::int64_t kCost = 8, kUnseen = 4096;

  bool stopped() const { return __atomic_load_n(call_.stop, __ATOMIC_RELAXED); }

  // body(j) for every register of coordinates.
  template <class Body>
  ARUBA_RULE void over_coordinates(Body body) const {
    for (std::int64_t j = 0; j < n_; j += kWidth) body(j);
  }

  ARUBA_RULE P load_row(const T* x, std::int64_t j) const {
    return j + kWidth <= n_ ? load(x + j) : load_first(x + j, tail_, mask_);
  }

  // A sum over the coordinates; the padding of the parts is zero.
  template <class Term>
  ARUBA_RULE T sum_of(Term term) const {
    return sum_over<T>(Rows<T>{weights_, 1, n_, call_.stride}, term);
  }

  void start(std::int64_t position) {
    const T* phi = static_cast<const T*>(call_.phi) + position * call_.phi_stride;
    over_coordinates([&](std::int64_t j) {
      const P at = load_row(phi, j), none(T(0));
      store(weights_ + j, at);
      // Padding has no weight: its logarithm is as low as makes no difference.
      store(log_weights_ + j, select(at > none, log_positive(at), P(T(-1e30))));
      for (T* part : {gradient_, sum_}) store(part + j, none);
      if (call_.is_long)
        for (T* part : {gradient_total_, gradient_rest_, sum_total_, sum_rest_})
          store(part + j, none);
    });
    batch_ = {};
    steepest_total_ = {T(0), T(0)};
    loss_ = {T(0), T(0)};
    steepest_sq_ = T(0);
    n_rounds_ = 0;
  }

  const T* features_of(std::int64_t row) const {
    if constexpr (sizeof(T) == sizeof(float)) {
      if (call_.widening) {
        widen(call_.x, call_.widening, row * n_, n_, row_);
        return row_;
      }
    }
    return static_cast<const T*>(call_.x) + row * n_;
  }

  bool rows(std::int64_t task) {
    for (std::int64_t row = call_.starts[task]; row < call_.stops[task]; ++row) {
      const T* const x = features_of(row);
      const T y = static_cast<const T*>(call_.y)[row];
      const T z = sum_of([&](std::int64_t j) { return load_row(x, j) * load(weights_ + j); });
      LossAndSlope<T> at = one_output_loss(call_.loss_kind, z, y);
      if (call_.row_weights) {
        const T weight = static_cast<T>(call_.row_weights[row]);
        at = {weight * at.loss, weight * at.slope};
      }
      over_coordinates([&](std::int64_t j) {
        store(gradient_ + j, fma(P(at.slope), load_row(x, j), load(gradient_ + j)));
      });
      batch_.add(at.loss);
      if (batch_.rows == call_.batch_size || row + 1 == call_.stops[task]) end_batch();
      else if (batch_.is_part()) gather_batch();
      unseen_ += kCost * n_;
      if (call_.poll && unseen_ >= kUnseen) {
        call_.poll(call_.poll_context, unseen_);
        unseen_ = 0;
      }
      if (stopped()) return false;
    }
    return true;
  }

  void end_batch() {
    const T mean = batch_.per_row();
    if (batch_.is_long()) {
      gather(gradient_, gradient_total_, gradient_rest_);
      collect(gradient_, gradient_total_, gradient_rest_);
    }
    loss_.add(batch_.close());
    P steepest(T(0)), maximum(T(-1e30));
    over_coordinates([&](std::int64_t j) {
      const P gradient = P(mean) * load(gradient_ + j), size = abs(gradient);
      P log_weight = load(log_weights_ + j);
      ExponentiatedGradient::step(log_weight, gradient, P(rate_));
      store(log_weights_ + j, log_weight);
      store(sum_ + j, load(sum_ + j) + load(weights_ + j));
      store(gradient_ + j, P(T(0)));
      steepest = softmax_maximum(steepest, size);
      maximum = softmax_maximum(maximum, log_weight);
    });
    const T most = largest(steepest), top = largest(maximum);
    steepest_sq_ = aruba_fast::fma(most, most, steepest_sq_);
    const T total =
        sum_of([&](std::int64_t j) { return softmax_term(load(log_weights_ + j), P(top)); });
    const P shift(top + log_positive(total));
    over_coordinates([&](std::int64_t j) {
      const P log_weight = load(log_weights_ + j) - shift;
      store(log_weights_ + j, log_weight);
      store(weights_ + j, softmax_term(log_weight, P(T(0))));
    });
    ++n_rounds_;
    if (call_.is_long && n_rounds_ % kTermsTogether == 0) gather(sum_, sum_total_, sum_rest_);
    if (n_rounds_ % kSquaresTogether == 0) gather_squares();
  }

  // What is in `part` goes to the sum of such sums, as in slots-inl.h.
  void gather(T* part, T* total, T* rest) const {
    for (std::int64_t j = 0; j < n_; ++j) aruba_fast::gather(part[j], total[j], rest[j]);
  }
  void collect(T* part, T* total, T* rest) const {
    for (std::int64_t j = 0; j < n_; ++j) aruba_fast::collect(part[j], total[j], rest[j]);
  }
  void gather_batch() {
    gather(gradient_, gradient_total_, gradient_rest_);
    batch_.gather();
  }
  void gather_squares() {
    aruba_fast::add(steepest_total_, steepest_sq_);
    steepest_sq_ = T(0);
  }

  static T largest(P values) {
    T most = values.v[0];
    for (int lane = 1; lane < kWidth; ++lane) most = softmax_maximum(most, T(values.v[lane]));
    return most;
  }

  void finish(std::int64_t position) {
    const std::size_t bytes = static_cast<std::size_t>(n_) * sizeof(T);
    if (n_rounds_ >= kSquaresTogether) {
      gather_squares();
      steepest_sq_ = steepest_total_.value();
    }
    if (call_.is_long && n_rounds_ >= kTermsTogether) {
      gather(sum_, sum_total_, sum_rest_);
      collect(sum_, sum_total_, sum_rest_);
    }
    std::memcpy(static_cast<T*>(call_.theta_hat) + position * n_, weights_, bytes);
    for (std::int64_t j = 0; j < n_; ++j)
      static_cast<T*>(call_.grad_sq)[position * n_ + j] = steepest_sq_;
    if (call_.theta_bar)
      for (std::int64_t j = 0; j < n_; ++j)
        static_cast<T*>(call_.theta_bar)[position * n_ + j] = sum_[j] / static_cast<T>(n_rounds_);
    call_.loss[position] = loss_.value();
  }

  const TasksCall& call_;
  const std::int64_t n_;
  const int tail_;
  const typename P::Mask mask_;
  const T rate_;
  T *weights_, *log_weights_, *gradient_, *sum_;
  T *gradient_total_, *gradient_rest_, *sum_total_, *sum_rest_;  // with is_long
  T* row_;                                                       // of a narrow table
  Compensated<T> loss_;
  BatchLoss<T> batch_;
  T steepest_sq_;
  Twofold<T> steepest_total_;
  std::int64_t n_rounds_, unseen_ = 0;
};

template <class T>
void run_eg_tasks(const TasksCall& call) {
  EgRunner<T>(call).run();
}

}  // namespace aruba_fast::ARUBA_ISA
