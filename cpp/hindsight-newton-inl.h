// Least loss of a task under a smooth loss: Newton's method with its decrement as the certificate.
#pragma once

#include "hindsight-memory-inl.h"
#include "loss-inl.h"

namespace aruba_fast::ARUBA_ISA {

// How the minimization at one ridge ended.
struct Minimum {
  double objective, gap;  // ridge included
  bool exists;            // false: separable, the loss falls for ever along a direction
};

class Newton {
 public:
  explicit Newton(Problem& problem)
      : p_(problem), loss_(problem.call.loss_kind), facts_(problem.facts) {}

  // From p.u on, to p.u: until the gap is `target` times the tolerance, or met it and falls no
  // more.
  Minimum minimize(double tolerance, double target) {
    double objective = evaluate(p_.u), best_gap = kNever;
    for (int iteration = 0; iteration < kMost && !p_.stopped(); ++iteration) {
      if (iteration && may_have_none() && separated(p_.z, 1e-10)) return {objective, kNever, false};
      const double decrement = direction(), largest = furthest_move();
      const bool certified = facts_.minimization == Minimization::kQuadratic ||
                             (largest <= 0.5 && highest() <= facts_.surest);
      const double gap = certified ? decrement : kNever, scale = objective > 1 ? objective : 1;
      // A separable task comes as near to its infimum as one likes, a step of one at a time.
      const bool settled = !may_have_none() || largest <= 1e-3;
      if (settled && (gap <= target * tolerance * scale ||
                      (gap <= tolerance * scale && !(gap < 0.1 * best_gap))))
        return {objective, gap, true};
      if (may_have_none() && iteration >= kSuspicious && largest > 0.3 &&
          separated(p_.dz, -1e-3 * largest))
        return {objective, kNever, false};
      if (gap < best_gap) best_gap = gap;
      const double next = line_search(objective, decrement);
      if (!(next < kNever)) return {objective, gap, true};
      objective = next;
    }
    return {objective, best_gap, !may_have_none()};
  }

  // ridge/2 |u|^2 + the loss at u, with p.z and p.slope there.
  double evaluate(const double* u) {
    p_.predict(u, p_.z);
    return losses() + 0.5 * p_.ridge * dot(u, u, p_.n);
  }

  // Of the objective, to p.gradient.
  void gradient(const double* u) {
    fill(p_.n, 0, p_.gradient);
    axpy(p_.n, p_.ridge, u, p_.gradient);
    p_.add_transposed(p_.slope, p_.gradient);
  }

  // At the scores p.z; their slopes and curvatures go to p.slope and p.curvature.
  double losses() {
    const auto rows = [&](auto body) { over(p_.m, body); };
    if (facts_.has_classes) {
      scores(p_.z);
      rows([&](std::int64_t i) { softmax_rows(i); });
    } else {
      rows([&](std::int64_t i) {
        const Doubles y = load(p_.y + i), w = load(p_.w + i);
        const auto at = one_output_loss(loss_, load(p_.z + i), y);
        store(p_.value + i, at.loss);
        store(p_.slope + i, w * at.slope);
        if (!p_.piecewise()) store(p_.curvature + i, w * curvature(loss_, at.slope, y));
      });
    }
    return dot(p_.value, p_.w, p_.m);
  }

  static constexpr double kNever = 1e300;

 private:
  static constexpr int kMost = 100, kSuspicious = 12;

  bool may_have_none() const { return facts_.may_fall_for_ever && p_.ridge == 0; }

  std::int64_t n_classes() const { return p_.q + 1; }

  // p.score [classes, rows] of contrasts [outputs, rows].
  void scores(const double* contrasts) {
    for (std::int64_t c = 0; c < n_classes(); ++c) {
      fill(p_.m, 0, p_.score + c * p_.mp);
      for (std::int64_t k = 0; k < p_.q; ++k)
        axpy(p_.m, p_.contrast(k, c), contrasts + k * p_.mp, p_.score + c * p_.mp);
    }
  }

  // A register of rows: scores become probabilities, with their loss and the slopes of contrasts.
  void softmax_rows(std::int64_t i) {
    const Doubles y = load(p_.y + i), w = load(p_.w + i);
    for (std::int64_t k = 0; k < p_.q; ++k) store(p_.slope + k * p_.mp + i, Doubles(0.0));
    double* const score = p_.score + i;
    const auto keep = [&](std::int64_t c, Doubles probability) {
      store(score + c * p_.mp, probability);
      const Doubles slope = w * softmax_slope(probability, y, static_cast<double>(c));
      for (std::int64_t k = c ? c - 1 : 0; k < p_.q; ++k) {
        double* to = p_.slope + k * p_.mp + i;
        store(to, fma(Doubles(p_.contrast(k, c)), slope, load(to)));
      }
    };
    store(p_.value + i, softmax(score, score, p_.mp, n_classes(), y, keep));
  }

  // p.step = -H^-1 gradient, p.dz along it; returns the decrement squared.
  double direction() {
    gradient(p_.u);
    hessian();
    double jitter = 0;
    do {
      copy(p_.n * p_.stride, p_.hessian, p_.factor);
      for (std::int64_t j = 0; j < p_.n; ++j) {
        const double diagonal = p_.hessian[j * p_.stride + j];
        p_.factor[j * p_.stride + j] = diagonal + jitter * diagonal + (diagonal == 0);
      }
      jitter = jitter == 0 ? 0x1p-46 : 16 * jitter;
    } while (jitter < 1e-2 &&
             cholesky(p_.factor, p_.n, p_.stride, p_.column, p_.diagonal, p_.stop()) == 0);
    for (std::int64_t j = 0; j < p_.n; ++j) p_.step[j] = -p_.gradient[j];
    solve(p_.factor, p_.n, p_.stride, p_.step);
    p_.predict(p_.step, p_.dz);
    return -dot(p_.gradient, p_.step, p_.n);
  }

  void hessian() {
    p_.fill_matrix(p_.hessian);
    if (!facts_.has_classes) {
      add_gram(p_.a, p_.rp, p_.curvature, 1, p_.m, p_.r, p_.hessian, p_.stride, p_.stop());
    } else {
      for (std::int64_t i = 0; i < p_.m && !p_.stopped_after(p_.n * p_.n / 2); ++i)
        add_softmax_row(i);
    }
    for (std::int64_t j = 0; j < p_.n; ++j) p_.hessian[j * p_.stride + j] += p_.ridge;
  }

  // The covariance of the contrasts under the row's probabilities, times its features' square.
  void add_softmax_row(std::int64_t i) {
    for (std::int64_t k = 0; k < p_.q; ++k) {
      for (std::int64_t l = 0; l <= k; ++l) {
        double mean_k = 0, mean_l = 0, product = 0;
        for (std::int64_t c = 0; c < n_classes(); ++c) {
          const double probability = p_.score[c * p_.mp + i], at_k = p_.contrast(k, c),
                       at_l = p_.contrast(l, c);
          mean_k = aruba_fast::fma(probability, at_k, mean_k);
          mean_l = aruba_fast::fma(probability, at_l, mean_l);
          product = aruba_fast::fma(probability * at_k, at_l, product);
        }
        const double weight = p_.w[i] * (product - mean_k * mean_l);
        add_outer<1>(p_.a + i * p_.rp, p_.rp, &weight, p_.r,
                     p_.hessian + k * p_.r * p_.stride + l * p_.r, p_.stride, k == l);
      }
    }
  }

  // The largest change of a row's score along the step.
  double furthest_move() const {
    double furthest = 0;
    for (std::int64_t i = 0; i < p_.m; ++i) {
      double square = 0;
      for (std::int64_t k = 0; k < p_.q; ++k) {
        const double move = p_.dz[k * p_.mp + i];
        square = aruba_fast::fma(move, move, square);
      }
      furthest = square > furthest ? square : furthest;
    }
    return aruba_fast::sqrt(furthest);
  }

  double highest() const {
    double most = -kNever;
    for (std::int64_t i = 0; i < p_.m; ++i) most = p_.z[i] > most ? p_.z[i] : most;
    return most;
  }

  // Does every row's own class score at least `margin` more than any other at z, so that the loss
  // falls along it? Of z itself the margin is relative to its largest score.
  bool separated(const double* z, double margin) {
    if (facts_.has_classes) scores(z);
    double largest = 0, least = kNever;
    for (std::int64_t i = 0; i < p_.m; ++i) {
      const double label = p_.y[i];
      if (!facts_.has_classes) {
        const double score = fallen(loss_, z[i], label);
        least = score < least ? score : least;
        largest = aruba_fast::abs(score) > largest ? aruba_fast::abs(score) : largest;
        continue;
      }
      const double own = p_.score[static_cast<std::int64_t>(label) * p_.mp + i];
      for (std::int64_t c = 0; c < n_classes(); ++c) {
        const double other = p_.score[c * p_.mp + i];
        largest = aruba_fast::abs(other) > largest ? aruba_fast::abs(other) : largest;
        if (static_cast<double>(c) != label && own - other < least) least = own - other;
      }
    }
    if (facts_.has_classes) evaluate(p_.u);  // the probabilities were overwritten
    return margin > 0 ? least > margin * largest && largest > 0 : least >= margin;
  }

  double line_search(double objective, double decrement) {
    const double noise = 1e-14 * (objective > 1 ? objective : 1);
    double t = 1;
    for (int halving = 0; halving < 50 && !p_.asked(); ++halving, t *= 0.5) {
      copy(p_.n, p_.u, p_.trial);
      axpy(p_.n, t, p_.step, p_.trial);
      const double next = evaluate(p_.trial);
      if (next <= objective - 1e-4 * t * decrement + noise) {
        copy(p_.n, p_.trial, p_.u);
        return next;
      }
    }
    evaluate(p_.u);
    return kNever;
  }

  Problem& p_;
  const Loss loss_;
  const LossFacts& facts_;
};

}  // namespace aruba_fast::ARUBA_ISA
