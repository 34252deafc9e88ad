// Coordinates u of a task's parameters in which its least-loss problem can be solved to the last
// digits, the way back, and what rounding can have hidden on it.
//
// Where the columns are far from dependent u is theta; where the rows are clearly dependent or not,
// an orthonormal basis of their span; else the graded one of hindsight-graded-inl.h.
#pragma once

#include "hindsight-graded-inl.h"

namespace aruba_fast::ARUBA_ISA {

class Coordinates : private Graded {
 public:
  explicit Coordinates(Problem& problem) : Graded(problem) {}

  void choose() {
    if (m_ >= d_ && safe_as_they_are()) return;
    rescale();
    if (p_.scaled || !safe_by_rows()) grade();
  }

  // p.theta from p.u, and p.z there: with p.y what the loss is a function of.
  void expand() {
    const std::int64_t classes = n_classes();
    if (classes > 1 || !p_.shifted) fill(classes * dp_, 0, p_.theta);
    for (std::int64_t k = 0; k < p_.q; ++k) {
      fill(d_, 0, p_.row);
      fill(d_, 0, p_.row_low);
      const double* from = p_.u + k * p_.r;
      if (!p_.orthonormal) {
        for (std::int64_t j = 0; j < d_; ++j) p_.row[j] = from[j];
      } else if (!p_.graded) {
        for (std::int64_t i = 0; i < p_.r; ++i) axpy(d_, from[i], p_.basis + i * dp_, p_.row);
      } else {
        for (std::int64_t i = 0; i < p_.r; ++i) exact_axpy(from[i], p_.basis + i * dp_);
      }
      if (!exact()) {
        for (std::int64_t i = 0; i < m_; ++i) p_.z[k * p_.mp + i] = dot(x_ + i * dp_, p_.row, d_);
      } else {
        if (classes == 1) {
          exact_axpy(1, p_.theta);
          fill(d_, 0, p_.theta);
        }
        over(d_,
             [&](std::int64_t j) { store(p_.row + j, load(p_.row + j) + load(p_.row_low + j)); });
      }
      for (std::int64_t c = 0; c < classes; ++c)
        axpy(d_, classes > 1 ? p_.contrast(k, c) : 1, p_.row, p_.theta + c * dp_);
    }
    if (exact()) predict_exactly(classes);
  }

  // From now on u is what comes on top of the parameters in p.theta.
  void shift() {
    p_.shifted = true;
    for (std::int64_t i = 0; i < m_; ++i) p_.y[i] = -p_.z[i];
    fill(p_.n, 0, p_.u);
  }

  // Into the caller's theta, [n_classes, features].
  void write(double* theta) const {
    for (std::int64_t c = 0; c < n_classes(); ++c)
      for (std::int64_t j = 0; j < d_; ++j)
        theta[c * d_ + j] = p_.theta[c * dp_ + j] * (p_.scaled ? p_.unit[j] : 1);
  }

  // Are losses functions of the distance between prediction and label alone?
  bool movable() const { return p_.facts.is_of_distance; }

  // How much the loss, and the certificate at p.u, may be off by rounding.
  double rounding(double loss) const {
    constexpr double kUnit = 0x1p-53;
    double weights = 0, labels = 0, scores = 0;
    for (std::int64_t i = 0; i < m_; ++i) {
      weights += p_.w[i];
      labels += p_.w[i] * (aruba_fast::abs(p_.y[i]) + (exact() ? aruba_fast::abs(p_.z[i]) : 0));
      scores = aruba_fast::fma(p_.w[i] * p_.z[i], p_.z[i], scores);
    }
    const double steps = static_cast<double>(p_.rp / kPad + kPad);
    double off = 0;
    for (std::int64_t k = 0; k < p_.q; ++k)
      for (std::int64_t j = 0; j < p_.r; ++j)
        off += aruba_fast::abs(p_.u[k * p_.r + j]) * p_.reach[j];
    off *= kUnit * steps;
    if (exact()) {
      double far = 0;
      for (std::int64_t c = 0; c < n_classes(); ++c)
        for (std::int64_t j = 0; j < d_; ++j)
          far += aruba_fast::abs(p_.theta[c * dp_ + j]) * p_.columns[j];
      off += 2 * kUnit * aruba_fast::sqrt(scores) + kUnit * kUnit * static_cast<double>(dp_) * far;
    }
    // The slopes' squares are at most one, and at most twice the loss unless it has kinks.
    double steep = p_.facts.has_kinks ? weights : 2 * loss, curved = 1;
    if (!p_.facts.is_flat)
      for (std::int64_t i = 0; i < p_.m; ++i) {
        const double slope = one_output_loss(p_.call.loss_kind, p_.z[i], p_.y[i]).slope;
        const double own = curvature(p_.call.loss_kind, slope, p_.y[i]);
        steep = aruba_fast::fma(p_.w[i] * slope, slope, steep);
        curved = own > curved ? own : curved;
      }
    const double sums = static_cast<double>(p_.mp / kPad + 2 * kPad) * kUnit;
    return off * (aruba_fast::sqrt(steep) + off * curved) +
           sums * (loss + (p_.piecewise() && !p_.graded ? labels : 0));
  }

 private:
  std::int64_t n_classes() const { return p_.call.n_classes > 1 ? p_.call.n_classes : 1; }

  bool exact() const { return p_.graded || p_.shifted; }

  bool safe_as_they_are() {
    p_.use(d_, x_);
    p_.fill_matrix(p_.hessian);
    add_gram(x_, dp_, p_.w, 1, m_, d_, p_.hessian, p_.stride, p_.stop());
    // A relative pivot of 1e-8: a condition number of about 1e4 costs half the digits, no more.
    if (!(cholesky(p_.hessian, d_, p_.stride, p_.column, p_.diagonal, p_.stop()) > 1e-8))
      return false;
    for (std::int64_t j = 0; j < d_; ++j) {
      if (!(p_.diagonal[j] > kLeast && p_.diagonal[j] < 1 / kLeast)) return false;
      p_.reach[j] = p_.columns[j] = aruba_fast::sqrt(p_.diagonal[j]);
    }
    return true;
  }

  // Gram and Schmidt on the rows, the farthest from the span of those before first: safe where what
  // is left of a row is either much or nothing, of no column either.
  bool safe_by_rows() {
    double trace = 0, largest = 0;
    for (std::int64_t i = 0; i < m_; ++i) {
      copy(d_, x_ + i * dp_, p_.work + i * dp_);
      p_.dual[i] = p_.value[i] = dot(p_.work + i * dp_, p_.work + i * dp_, d_);
      trace += p_.w[i] * p_.value[i];
      largest = p_.value[i] > largest ? p_.value[i] : largest;
    }
    if (!(largest > kLeast && largest < 1 / kLeast)) return false;
    const double rounding = 0x1p-51 * static_cast<double>(m_ > d_ ? m_ : d_);
    std::int64_t rank = 0;
    for (; rank < most_; ++rank) {
      std::int64_t next = 0;
      for (std::int64_t i = 1; i < m_; ++i) next = p_.value[i] > p_.value[next] ? i : next;
      if (!(p_.value[next] > largest * rounding * rounding)) break;
      if (!(p_.value[next] > 1e-8 * p_.dual[next])) return false;
      double* direction = p_.basis + rank * dp_;
      copy(d_, p_.work + next * dp_, direction);
      orthogonalize(rank);
      for (std::int64_t i = 0; i < m_; ++i) {
        axpy(d_, -dot(p_.work + i * dp_, direction, d_), direction, p_.work + i * dp_);
        p_.value[i] = dot(p_.work + i * dp_, p_.work + i * dp_, d_);
        if (i % 64 == 63 && p_.stopped_after(128 * d_)) return true;
      }
      p_.value[next] = 0;
    }
    column_lengths(x_, dp_, d_, p_.w, p_.columns);
    if (rank < m_) {
      column_lengths(p_.work, dp_, d_, p_.w, p_.row);
      for (std::int64_t j = 0; j < d_; ++j)
        if (!(p_.row[j] <= kDependent * kDependent * p_.columns[j])) return false;
    }
    for (std::int64_t j = 0; j < d_; ++j) p_.columns[j] = aruba_fast::sqrt(p_.columns[j]);
    p_.use(rank, p_.work);
    p_.orthonormal = true;
    for (std::int64_t i = 0; i < m_; ++i) {
      fill(p_.r, 0, p_.a + i * p_.rp);
      for (std::int64_t k = 0; k < rank; ++k)
        p_.a[i * p_.rp + k] = dot(x_ + i * dp_, p_.basis + k * dp_, d_);
    }
    fill(p_.r, aruba_fast::sqrt(trace), p_.reach);
    return true;
  }

  void exact_axpy(double scale, const double* from) {
    const Doubles s(scale);
    over(d_, [&](std::int64_t j) {
      Doubles high = load(p_.row + j), low = load(p_.row_low + j);
      add_product(s, load(from + j), high, low);
      store(p_.row + j, high);
      store(p_.row_low + j, low);
    });
  }

  // The scores of the parameters as they are returned; of a loss of distances the distances.
  void predict_exactly(std::int64_t classes) {
    if (p_.scaled) {
      constexpr double kLargest = 0x1.fffffffffffffp1023;
      for (std::int64_t j = 0; j < classes * dp_; ++j) {
        const double unit = j % dp_ < d_ ? p_.unit[j % dp_] : 1, own = p_.theta[j] * unit;
        p_.theta[j] = (own > kLargest ? kLargest : own < -kLargest ? -kLargest : own) / unit;
      }
    }
    fill(p_.q * p_.mp, 0, p_.z);
    for (std::int64_t i = 0; i < m_ && !p_.stopped_after(8 * classes * d_); ++i) {
      if (classes == 1) {
        p_.z[i] = exact_dot(x_ + i * dp_, p_.theta, d_, movable() ? -p_.label[i] : 0);
        if (movable()) p_.y[i] = 0;
        continue;
      }
      for (std::int64_t c = 0; c < classes; ++c) {
        const double score = exact_dot(x_ + i * dp_, p_.theta + c * dp_, d_, 0);
        for (std::int64_t k = 0; k < p_.q; ++k)
          p_.z[k * p_.mp + i] = aruba_fast::fma(p_.contrast(k, c), score, p_.z[k * p_.mp + i]);
      }
    }
  }
};

}  // namespace aruba_fast::ARUBA_ISA
