// The minimum of a task's proximal problem under a loss without kinks: Newton's method.
//
//   F(v) = sum_i l(z_i + a_i v, y_i) + |v|^2 / 2
//
// F is 1-strongly convex in v: F(v) - min F <= |grad F(v)|^2 / 2 at any point, whatever the method.
#pragma once

#include "loss-inl.h"
#include "proximal-memory-inl.h"

namespace aruba_fast::ARUBA_ISA {

class ProximalNewton {
 public:
  explicit ProximalNewton(ProximalProblem& problem)
      : p_(problem), n_scores_(problem.q * problem.m), by_rows_(n_scores_ <= problem.n) {}

  // p.v = 0, where F is the sum of the losses at phi.
  void start() {
    fill(p_.n, 0, p_.v);
    at_phi_ = objective_ = evaluate(p_.v);
  }

  // Leaves the minimizer in p.v, with the slopes and curvatures there; false where F is not finite.
  bool minimize() {
    start();
    double best = __builtin_inf(), before = __builtin_inf();
    int stalled = 0;
    for (int iteration = 0; iteration < kMost && !p_.stopped_after(n_scores_ * p_.n); ++iteration) {
      if (!(objective_ < __builtin_inf())) return false;
      gradient();
      const double gap = 0.5 * dot(p_.gradient, p_.gradient, p_.n);
      // Far away the gradient may stay while F falls; where neither does, the rest is rounding.
      const bool fell = before - objective_ > kHidden * (1 + aruba_fast::abs(objective_));
      stalled = gap < 0.25 * best || fell ? 0 : stalled + 1;
      best = gap < best ? gap : best;
      before = objective_;
      if (gap <= kTarget * (1 + objective_) || stalled > kPatience) return true;
      factorize();
      direction();
      if (!line_search()) return true;
    }
    return true;
  }

  double at_phi() const { return at_phi_; }
  double objective() const { return objective_; }
  bool by_rows() const { return by_rows_; }
  std::int64_t n_scores() const { return n_scores_; }

  // The factor of I + S S^T or I + S^T S to p.matrix, S^T S being the Hessian of the losses at v.
  void factorize() {
    if (is_factorized_ && p_.facts.minimization == Minimization::kQuadratic) return;
    is_factorized_ = true;
    scale();
    const std::int64_t k = by_rows_ ? n_scores_ : p_.n, stride = matrix_stride(k);
    fill(k * stride, 0, p_.matrix);
    if (by_rows_) {
      for (std::int64_t r = 0; r < k && !p_.stopped_after(r * p_.n); ++r)
        for (std::int64_t s = 0; s <= r; ++s)
          p_.matrix[r * stride + s] = dot(p_.scaled + r * p_.np, p_.scaled + s * p_.np, p_.n);
    } else {
      const double one = 1;
      add_gram(p_.scaled, p_.np, &one, 0, n_scores_, p_.n, p_.matrix, stride, p_.stop());
    }
    for (std::int64_t r = 0; r < k; ++r) p_.matrix[r * stride + r] += 1;
    cholesky(p_.matrix, k, stride, p_.column, p_.diagonal, p_.stop());
  }

 private:
  static constexpr int kMost = 200, kPatience = 2;
  static constexpr double kTarget = 0x1p-84;  // of the gap: 2e-13 of v in a problem of size one
  static constexpr double kHidden = 0x1p-46;  // of F, by rounding

  // F at u, with the slopes and curvatures there.
  double evaluate(const double* u) {
    copy(p_.q * p_.mp, p_.start, p_.z);
    p_.add_scores(u, p_.z);
    if (p_.facts.has_classes) {
      over(p_.m, [&](std::int64_t i) { softmax_rows(i); });
    } else {
      over(p_.m, [&](std::int64_t i) {
        const Doubles y = load(p_.y + i), weight = load(p_.weight + i);
        const auto at = one_output_loss(p_.call.loss_kind, load(p_.z + i), y);
        store(p_.value + i, weight * at.loss);
        store(p_.slope + i, weight * at.slope);
        store(p_.curvature + i, weight * curvature(p_.call.loss_kind, at.slope, y));
      });
    }
    double losses = 0;
    for (std::int64_t i = 0; i < p_.m; ++i) losses += p_.value[i];
    return losses + 0.5 * dot(u, u, p_.n);
  }

  // Slopes by classes; of the probabilities, which take the place of the curvature.
  void softmax_rows(std::int64_t i) {
    const Doubles y = load(p_.y + i), weight = load(p_.weight + i);
    const auto keep = [&](std::int64_t c, Doubles probability) {
      store(p_.curvature + c * p_.mp + i, probability);
      const Doubles slope = softmax_slope(probability, y, static_cast<double>(c));
      store(p_.slope + c * p_.mp + i, weight * slope);
    };
    store(p_.value + i, weight * softmax(p_.z + i, p_.dz + i, p_.mp, p_.q, y, keep));
  }

  void gradient() {
    copy(p_.n, p_.v, p_.gradient);
    p_.add_transposed(p_.slope, p_.gradient);
  }

  // S to p.scaled: sqrt(curvature) a_i; of the softmax sqrt(w p_c) (a_ic - sum_k p_k a_ik).
  void scale() {
    for (std::int64_t i = 0; i < p_.m; ++i) {
      if (p_.facts.has_classes) {
        fill(p_.n, 0, p_.mean);
        for (std::int64_t c = 0; c < p_.q; ++c)
          axpy(p_.n, p_.curvature[c * p_.mp + i], p_.row(c, i), p_.mean);
      }
      for (std::int64_t c = 0; c < p_.q; ++c) {
        const double root = p_.root_of_curvature(c, i);
        double* const to = p_.scaled + (c * p_.m + i) * p_.np;
        const double* const row = p_.row(c, i);
        over(p_.n, [&](std::int64_t j) { store(to + j, Doubles(root) * load(row + j)); });
        if (p_.facts.has_classes) axpy(p_.n, -root, p_.mean, to);
      }
    }
  }

  // p.step = -(I + S^T S)^-1 gradient.
  void direction() {
    for (std::int64_t j = 0; j < p_.np; ++j) p_.step[j] = -p_.gradient[j];
    if (!by_rows_) return solve(p_.matrix, p_.n, matrix_stride(p_.n), p_.step);
    fill(n_scores_, 0, p_.alpha);
    for (std::int64_t r = 0; r < n_scores_; ++r)
      p_.alpha[r] = dot(p_.scaled + r * p_.np, p_.gradient, p_.n);
    solve(p_.matrix, n_scores_, matrix_stride(n_scores_), p_.alpha);
    for (std::int64_t r = 0; r < n_scores_; ++r)
      axpy(p_.n, p_.alpha[r], p_.scaled + r * p_.np, p_.step);
  }

  // Moves p.v along the step as far as F falls; false where rounding hides that it does.
  bool line_search() {
    const double fall = dot(p_.gradient, p_.step, p_.n),
                 hidden = kHidden * (1 + aruba_fast::abs(objective_));
    if (!(fall < 0)) return false;
    for (double length = 1; length > 0x1p-60; length *= 0.5) {
      copy(p_.n, p_.v, p_.trial);
      axpy(p_.n, length, p_.step, p_.trial);
      const double next = evaluate(p_.trial);
      if (next <= objective_ + 1e-4 * length * fall + (length == 1 ? hidden : 0)) {
        copy(p_.n, p_.trial, p_.v);
        objective_ = next;
        return true;
      }
    }
    objective_ = evaluate(p_.v);
    return false;
  }

  ProximalProblem& p_;
  const std::int64_t n_scores_;
  const bool by_rows_;
  double at_phi_ = 0, objective_ = 0;
  bool is_factorized_ = false;
};

}  // namespace aruba_fast::ARUBA_ISA
