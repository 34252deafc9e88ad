// Least loss of a task under a piecewise loss: an interior-point method on primal and dual at once.
//
//   min over u, max over low <= a <= high:  a.(A u - y) - a.Q a / 2 + ridge/2 |u|^2
//
//   A u - y - Q a - above + below = 0     (high - a) above = mu
//   A^T a + ridge u = 0                   (a - low) below = mu       mu -> 0
//
// Mehrotra's predictor and corrector; both solve one positive definite system for the change of u.
// Every dual point in the box bounds the least loss from below: that is the certificate.
#pragma once

#include "hindsight-newton-inl.h"

namespace aruba_fast::ARUBA_ISA {

class InteriorPoint {
 public:
  explicit InteriorPoint(Problem& problem) : p_(problem) {}

  // Starts afresh; leaves p.u and the dual point p.dual.
  Minimum minimize(double tolerance) {
    start();
    const bool by_rows = p_.graded && !(hidden() <= 1e-3 * tolerance);
    Minimum best = {Newton::kNever, Newton::kNever, true};
    int since_best = 0;
    for (int iteration = 0; iteration < kMost && !p_.stopped(); ++iteration) {
      const Minimum now = by_rows ? certificate_by_rows() : certificate(p_.u, p_.ridge, 0);
      const double scale = now.objective > 1 ? now.objective : 1;
      if (now.gap < 0.9 * best.gap) since_best = 0;
      if (now.gap < best.gap) {
        best = now;
        copy(p_.n, p_.u, p_.trial);
        copy(p_.m, p_.dual, p_.value);
      }
      if (best.gap <= 1e-3 * tolerance * scale || since_best > kPatience || !step()) break;
      // Infeasibility may keep the gap up for a while; once mu is done, nothing else will come.
      if (mean_product_ * static_cast<double>(p_.m) < tolerance * scale) ++since_best;
    }
    copy(p_.n, p_.trial, p_.u);
    copy(p_.m, p_.value, p_.dual);
    return best;
  }

  // The objective at u and how far above the least it may be, by the dual point p.dual: over the
  // ball of `radius`, or everywhere where that is zero. Without ridge and ball a dual point must
  // have A^T a = 0; what is left of that is charged with twice the norm of u.
  Minimum certificate(const double* u, double ridge, double radius) {
    p_.predict(u, p_.z);
    const double square = dot(u, u, p_.n);
    fill(p_.n, 0, p_.gradient);
    p_.add_transposed(p_.dual, p_.gradient);
    const double length = p_.norm(p_.gradient);
    double dual = -dot(p_.dual, p_.y, p_.m);
    for (std::int64_t i = 0; i < p_.m; ++i) dual -= 0.5 * p_.quadratic[i] * p_.dual[i] * p_.dual[i];
    double charge = 0;
    if (radius > 0 && length > ridge * radius)
      dual -= radius * length - 0.5 * ridge * radius * radius;
    else if (ridge > 0) dual -= 0.5 * length * length / ridge;
    else charge = 2 * length * aruba_fast::sqrt(square);
    const double objective = losses() + 0.5 * ridge * square, gap = objective - dual + charge;
    return {objective, gap > 0 ? gap : 0, true};
  }

  // The same at p.u for columns of any scale: each row pays for how far its own loss is above its
  // dual line, and what is left of the gradient in a column as far as a better point can be away
  // from this one in that column's own unit, where twice the scores and labels are taken for far.
  Minimum certificate_by_rows() {
    p_.predict(p_.u, p_.z);
    fill(p_.n, 0, p_.gradient);
    axpy(p_.n, p_.ridge, p_.u, p_.gradient);
    p_.add_transposed(p_.dual, p_.gradient);
    const double loss = losses();
    double gap = 0, scores = 0, left = 0;
    for (std::int64_t i = 0; i < p_.m; ++i) {
      const double a = p_.dual[i], apart = p_.z[i] - p_.y[i];
      const double above = p_.w[i] * p_.d_dual[i] + 0.5 * p_.quadratic[i] * a * a - a * apart;
      gap += above > 0 ? above : 0;
      scores += p_.w[i] * (p_.z[i] * p_.z[i] + p_.y[i] * p_.y[i]);
    }
    for (std::int64_t k = 0; k < p_.n; ++k)
      left += p_.reach[k] > 0 ? aruba_fast::abs(p_.gradient[k]) / p_.reach[k] : 0;
    gap += left * 2 * p_.condition * aruba_fast::sqrt(2 * scores);
    return {loss + 0.5 * p_.ridge * dot(p_.u, p_.u, p_.n), gap, true};
  }

 private:
  static constexpr int kMost = 100, kPatience = 8;

  // What the rounding of A^T a adds to the gap that has its square over the ridge.
  double hidden() const {
    double longest = 0, weights = 0;
    for (std::int64_t k = 0; k < p_.n; ++k) longest = p_.reach[k] > longest ? p_.reach[k] : longest;
    for (std::int64_t i = 0; i < p_.m; ++i) weights += p_.w[i];
    return 0x1p-100 * longest * longest * weights / p_.ridge;
  }

  template <class Body>
  void rows(Body body) const {
    over(p_.m, body);
  }

  // The losses at p.z. A loss that is not of the distance alone is that of the whole score and the
  // label; p.y is what a score that is not in p.z leaves of it.
  double losses() {
    const bool of_distance = p_.facts.is_of_distance;
    rows([&](std::int64_t i) {
      const Doubles y = load(p_.y + i), label = load(p_.label + i), z = load(p_.z + i);
      const auto at = of_distance ? one_output_loss(p_.call.loss_kind, z, y)
                                  : one_output_loss(p_.call.loss_kind, z + (label - y), label);
      store(p_.d_dual + i, at.loss);
    });
    return dot(p_.d_dual, p_.w, p_.m);
  }

  // u = 0, the dual in the middle of its box, slacks that fit. Rows of padding are inert.
  void start() {
    double scale = 1;
    fill(p_.n, 0, p_.u);
    for (std::int64_t i = 0; i < p_.m; ++i) {
      const DualBox<double> box = dual_box(p_.call.loss_kind, p_.label[i], p_.w[i]);
      p_.low[i] = box.low;
      p_.high[i] = box.high;
      p_.quadratic[i] = box.quadratic;
      p_.dual[i] = 0.5 * (box.low + box.high);
      const double left = aruba_fast::abs(p_.y[i] + box.quadratic * p_.dual[i]);
      scale = left > scale ? left : scale;
    }
    for (std::int64_t i = 0; i < p_.m; ++i) {
      const double left = -p_.y[i] - p_.quadratic[i] * p_.dual[i];
      p_.above[i] = (left > 0 ? left : 0) + scale;
      p_.below[i] = p_.above[i] - left;
    }
    for (std::int64_t i = p_.m; i < p_.mp; ++i) {
      p_.low[i] = -1;
      p_.high[i] = p_.above[i] = p_.below[i] = 1;
      p_.dual[i] = p_.quadratic[i] = 0;
    }
  }

  // One predictor and corrector; false where the system cannot be solved any more.
  bool step() {
    rows([&](std::int64_t i) {
      store(p_.to_high + i, load(p_.high + i) - load(p_.dual + i));
      store(p_.to_low + i, load(p_.dual + i) - load(p_.low + i));
    });
    if (!factorize()) return false;
    rows([&](std::int64_t i) {
      store(up() + i, -(load(p_.to_high + i) * load(p_.above + i)));
      store(down() + i, -(load(p_.to_low + i) * load(p_.below + i)));
    });
    direction();
    const double mu = mean_product_ = complementarity(0), predicted = complementarity(longest());
    const double ratio = predicted / mu, target = mu * ratio * ratio * ratio;
    if (!(mu > 0)) return false;
    rows([&](std::int64_t i) {
      const Doubles d = load(p_.d_dual + i);
      store(up() + i,
            Doubles(target) - load(p_.to_high + i) * load(p_.above + i) + d * change_above(i));
      store(down() + i,
            Doubles(target) - load(p_.to_low + i) * load(p_.below + i) - d * change_below(i));
    });
    direction();
    const double most = longest(), length = most < 1 ? 0.99 * most : 0.999;
    const Doubles t(length);
    rows([&](std::int64_t i) {
      const Doubles d_above = change_above(i), d_below = change_below(i);
      store(p_.dual + i, fma(t, load(p_.d_dual + i), load(p_.dual + i)));
      store(p_.above + i, fma(t, d_above, load(p_.above + i)));
      store(p_.below + i, fma(t, d_below, load(p_.below + i)));
    });
    axpy(p_.n, length, p_.step, p_.u);
    return true;
  }

  // What the complementarity of either side should change by.
  double* up() const { return p_.corrections; }
  double* down() const { return p_.corrections + p_.mp; }

  // Changes of the slacks that go with the change of the dual.
  Doubles change_above(std::int64_t i) const {
    return (load(up() + i) + load(p_.above + i) * load(p_.d_dual + i)) / load(p_.to_high + i);
  }
  Doubles change_below(std::int64_t i) const {
    return (load(down() + i) - load(p_.below + i) * load(p_.d_dual + i)) / load(p_.to_low + i);
  }

  bool factorize() {
    rows([&](std::int64_t i) {
      store(p_.weight + i,
            Doubles(1.0) / (load(p_.quadratic + i) + load(p_.above + i) / load(p_.to_high + i) +
                            load(p_.below + i) / load(p_.to_low + i)));
    });
    p_.fill_matrix(p_.hessian);
    add_gram(p_.a, p_.rp, p_.weight, 1, p_.m, p_.r, p_.hessian, p_.stride, p_.stop());
    for (double jitter = 0x1p-49; jitter < 1e-3; jitter *= 32) {
      copy(p_.n * p_.stride, p_.hessian, p_.factor);
      for (std::int64_t j = 0; j < p_.n; ++j) {
        double& diagonal = p_.factor[j * p_.stride + j];
        diagonal = diagonal * (1 + jitter) + p_.ridge;
      }
      if (cholesky(p_.factor, p_.n, p_.stride, p_.column, p_.diagonal, p_.stop()) > 0) return true;
    }
    return false;
  }

  // p.step and p.d_dual for the corrections.
  void direction() {
    p_.predict(p_.u, p_.z);
    rows([&](std::int64_t i) {
      const Doubles primal = load(p_.z + i) - load(p_.y + i) -
                             load(p_.quadratic + i) * load(p_.dual + i) - load(p_.above + i) +
                             load(p_.below + i);
      const Doubles shift =
          primal - load(up() + i) / load(p_.to_high + i) + load(down() + i) / load(p_.to_low + i);
      store(p_.shift + i, shift);
      store(p_.slope + i, load(p_.dual + i) + load(p_.weight + i) * shift);
    });
    fill(p_.n, 0, p_.right);
    axpy(p_.n, -p_.ridge, p_.u, p_.right);
    negate_transposed(p_.slope, p_.right);
    copy(p_.n, p_.right, p_.step);
    solve(p_.factor, p_.n, p_.stride, p_.step);
    // Once more for the rounding of the factor: the weights span twenty orders of magnitude.
    p_.predict(p_.step, p_.dz);
    rows([&](std::int64_t i) { store(p_.slope + i, load(p_.weight + i) * load(p_.dz + i)); });
    copy(p_.n, p_.right, p_.residual);
    axpy(p_.n, -p_.ridge, p_.step, p_.residual);
    negate_transposed(p_.slope, p_.residual);
    solve(p_.factor, p_.n, p_.stride, p_.residual);
    axpy(p_.n, 1, p_.residual, p_.step);
    p_.predict(p_.step, p_.dz);
    rows([&](std::int64_t i) {
      store(p_.d_dual + i, load(p_.weight + i) * (load(p_.dz + i) + load(p_.shift + i)));
    });
  }

  // out -= A^T slopes; the slopes are negated.
  void negate_transposed(double* slopes, double* out) const {
    rows([&](std::int64_t i) { store(slopes + i, -load(slopes + i)); });
    p_.add_transposed(slopes, out);
  }

  // The longest step, at most one, that keeps every slack and distance positive.
  double longest() const {
    const Doubles one(1.0);
    Doubles most = one;
    const auto limit = [&](Doubles value, Doubles change) {
      const Doubles ratio = select(change < Doubles(0.0), -value / change, one);
      most = select(ratio < most, ratio, most);
    };
    rows([&](std::int64_t i) {
      const Doubles d = load(p_.d_dual + i);
      limit(load(p_.above + i), change_above(i));
      limit(load(p_.below + i), change_below(i));
      limit(load(p_.to_high + i), -d);
      limit(load(p_.to_low + i), d);
    });
    double lanes[Doubles::kWidth], least = 1;
    store(lanes, most);
    for (const double lane : lanes) least = lane < least ? lane : least;
    return least;
  }

  // The mean complementarity after a step of length t.
  double complementarity(double t) {
    double* const product = p_.slope;
    rows([&](std::int64_t i) {
      const Doubles by(t), d = load(p_.d_dual + i);
      const Doubles above = fma(by, change_above(i), load(p_.above + i)),
                    below = fma(by, change_below(i), load(p_.below + i));
      store(product + i,
            (load(p_.to_high + i) - by * d) * above + (load(p_.to_low + i) + by * d) * below);
    });
    double sum = 0;
    for (std::int64_t i = 0; i < p_.m; ++i) sum += product[i];
    return 0.5 * sum / static_cast<double>(p_.m);
  }

  Problem& p_;
  double mean_product_ = 0;
};

}  // namespace aruba_fast::ARUBA_ISA
