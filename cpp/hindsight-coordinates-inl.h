// Coordinates u of a task's parameters in which its least-loss problem can be solved to the last
// digits, the way back, and what rounding can have hidden on it.
//
// Where the columns are far from dependent u is theta, in a task of few and independent rows an
// orthonormal basis of their span. Else the rows of a column-pivoted R, made orthonormal from the
// largest on (Stewart's QLP, SIAM J. Sci. Comput. 20 (1999)): theta = V u has u's length, and the
// columns of X V are near to orthogonal at whatever lengths the data's scales and near dependences
// leave them. X V is multiplied in twice the digits, so that the problem in u is the one in theta.
#pragma once

#include "hindsight-memory-inl.h"

namespace aruba_fast::ARUBA_ISA {

class Coordinates {
 public:
  explicit Coordinates(Problem& problem)
      : p_(problem),
        x_(problem.x),
        m_(problem.m),
        d_(problem.d),
        dp_(problem.dp),
        most_(m_ < d_ ? m_ : d_) {}

  void choose() {
    if (!(m_ >= d_ && safe_as_they_are()) && !safe_by_rows()) grade();
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
  bool movable() const {
    const Loss loss = p_.call.loss_kind;
    return loss == Loss::kSquared || loss == Loss::kAbsolute || loss == Loss::kHuber;
  }

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
    const bool kinks = is_piecewise(p_.call.loss_kind) && p_.call.loss_kind != Loss::kHuber;
    const double steep = kinks ? weights : 2 * loss;
    const double sums = static_cast<double>(p_.mp / kPad + 2 * kPad) * kUnit;
    return off * (aruba_fast::sqrt(steep) + off) +
           sums * (loss + (is_piecewise(p_.call.loss_kind) && !p_.graded ? labels : 0));
  }

 private:
  std::int64_t n_classes() const { return p_.call.n_classes > 1 ? p_.call.n_classes : 1; }

  bool exact() const { return p_.graded || p_.shifted; }

  bool safe_as_they_are() {
    p_.use(d_, x_);
    p_.fill_matrix(p_.hessian);
    add_gram(x_, dp_, p_.w, m_, d_, p_.hessian, p_.stride, p_.stop());
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

  // The next direction less those before, of length one; a second time would lose nothing more
  // than rounding where the rows are as far apart as here.
  void orthogonalize(std::int64_t k) {
    double* direction = p_.basis + k * dp_;
    for (std::int64_t i = 0; i < k; ++i)
      axpy(d_, -dot(p_.basis + i * dp_, direction, d_), p_.basis + i * dp_, direction);
    const double scale = 1 / aruba_fast::sqrt(dot(direction, direction, d_));
    over(d_, [&](std::int64_t j) { store(direction + j, Doubles(scale) * load(direction + j)); });
  }

  void grade() {
    rescale();
    triangular();
    for (std::int64_t k = 0; k < p_.r; ++k) {
      orthogonalize(k);
      orthogonalize(k);
    }
    for (std::int64_t i = 0; i < m_ && !p_.stopped_after(16 * p_.r * d_); ++i) {
      double* to = p_.work + i * p_.rp;
      fill(p_.r, 0, to);
      for (std::int64_t k = 0; k < p_.r; ++k)
        to[k] = exact_dot(x_ + i * dp_, p_.basis + k * dp_, d_, 0);
    }
    column_lengths(p_.work, p_.rp, p_.r, p_.w, p_.reach);
    for (std::int64_t k = 0; k < p_.r; ++k) p_.reach[k] = aruba_fast::sqrt(p_.reach[k]);
    column_lengths(x_, dp_, d_, p_.w, p_.columns);
    for (std::int64_t j = 0; j < d_; ++j) p_.columns[j] = aruba_fast::sqrt(p_.columns[j]);
    fill(p_.r * p_.stride, 0, p_.hessian);
    add_gram(p_.work, p_.rp, p_.w, m_, p_.r, p_.hessian, p_.stride, p_.stop());
    const double pivot = cholesky(p_.hessian, p_.r, p_.stride, p_.column, p_.diagonal, p_.stop());
    p_.condition = 1 / aruba_fast::sqrt(pivot > 0x1p-50 ? pivot : 0x1p-50);
  }

  // Without a ball and a penalty the parameters may be in any unit: where the columns' squares
  // leave float64, a power of two each.
  void rescale() {
    if (p_.call.radius > 0 || p_.call.regularization > 0) return;
    fill(d_, 0, p_.row);
    for (std::int64_t i = 0; i < m_; ++i)
      over(d_, [&](std::int64_t j) {
        const Doubles here = abs(load(x_ + i * dp_ + j)), so_far = load(p_.row + j);
        store(p_.row + j, select(here > so_far, here, so_far));
      });
    for (std::int64_t j = 0; j < d_; ++j) {
      int exponent = 0;
      if (p_.row[j] > 0) __builtin_frexp(p_.row[j], &exponent);
      // Within what multiplies without rounding in one step.
      exponent = exponent > 1020 ? 1020 : exponent < -1020 ? -1020 : exponent;
      p_.unit[j] = __builtin_ldexp(1, -exponent);
      p_.scaled |= exponent > 450 || exponent < -450;
    }
    if (!p_.scaled) return;
    for (std::int64_t i = 0; i < m_; ++i)
      for (std::int64_t j = 0; j < d_; ++j) x_[i * dp_ + j] *= p_.unit[j];
  }

  // R of X = Q R, its rows over their pivots, to p.basis: modified Gram and Schmidt, the longest
  // column first. Q takes the places of the pivots' columns in p.work.
  void triangular() {
    double *first = p_.row_low, *now = p_.row;
    for (std::int64_t i = 0; i < m_; ++i) copy(d_, x_ + i * dp_, p_.work + i * dp_);
    column_lengths(p_.work, dp_, d_, nullptr, first);
    for (std::int64_t j = 0; j < d_; ++j) p_.state_of[j] = first[j] > 0 ? kOpen : kDone;
    std::int64_t rank = 0;
    while (rank < most_ && !p_.asked()) {
      column_lengths(p_.work, dp_, d_, nullptr, now);
      const std::int64_t next = longest_open(now);
      if (next < 0) break;
      // Subtraction has left few digits: the column less its projection anew, in twice the digits.
      if (!(now[next] > kSuspicious * first[next]) && p_.state_of[next] == kOpen) {
        remainder(next, rank);
        p_.state_of[next] = kExact;
        continue;
      }
      if (!(now[next] > kDependent * kDependent * first[next])) {
        for (std::int64_t i = 0; i < m_; ++i) p_.work[i * dp_ + next] = 0;
        p_.state_of[next] = kDone;
        continue;
      }
      const double length = aruba_fast::sqrt(now[next]);
      double* r = p_.basis + rank * dp_;
      fill(d_, 0, r);
      for (std::int64_t i = 0; i < m_; ++i) {
        p_.value[i] = p_.work[i * dp_ + next] / length;
        axpy(d_, p_.value[i], p_.work + i * dp_, r);
        if (i % 64 == 63 && p_.stopped_after(128 * d_)) break;
      }
      for (std::int64_t k = 0; k < rank; ++k) r[p_.order[k]] = 0;
      for (std::int64_t i = 0; i < m_; ++i) {
        axpy(d_, -p_.value[i], r, p_.work + i * dp_);
        p_.work[i * dp_ + next] = p_.value[i];
        if (i % 64 == 63 && p_.stopped_after(64 * d_)) break;
      }
      over(d_, [&](std::int64_t j) { store(r + j, load(r + j) / Doubles(length)); });
      r[next] = 1;
      p_.state_of[next] = kDone;
      for (std::int64_t j = 0; j < d_; ++j)
        if (p_.state_of[j] == kExact) p_.state_of[j] = kOpen;
      p_.order[rank++] = next;
    }
    p_.use(rank, p_.work);
    p_.orthonormal = p_.graded = true;
  }

  std::int64_t longest_open(const double* squares) const {
    std::int64_t next = -1;
    for (std::int64_t j = 0; j < d_; ++j)
      if (p_.state_of[j] != kDone && (next < 0 || squares[j] > squares[next])) next = j;
    return next;
  }

  // Column j of p.work, less its projection on the columns before: x_j - sum_k c_k x_order(k) with
  // rounded c and no other rounding, less what rounding c left of those columns.
  void remainder(std::int64_t j, std::int64_t rank) {
    double *const c = p_.column, *const combination = p_.theta;
    fill(d_, 0, combination);
    for (std::int64_t k = rank - 1; k >= 0; --k) {
      const double* r = p_.basis + k * dp_;
      c[k] = r[j];
      for (std::int64_t l = k + 1; l < rank; ++l)
        c[k] = aruba_fast::fma(-r[p_.order[l]], c[l], c[k]);
      combination[p_.order[k]] = -c[k];
    }
    combination[j] = 1;
    for (std::int64_t i = 0; i < m_; ++i)
      p_.work[i * dp_ + j] = exact_dot(x_ + i * dp_, combination, d_, 0);
    for (int twice = 0; twice < 2; ++twice) {
      for (std::int64_t k = 0; k < rank && !p_.stopped_after(4 * m_); ++k) {
        const double* q = p_.work + p_.order[k];
        double along = 0;
        for (std::int64_t i = 0; i < m_; ++i)
          along = aruba_fast::fma(q[i * dp_], p_.work[i * dp_ + j], along);
        for (std::int64_t i = 0; i < m_; ++i)
          p_.work[i * dp_ + j] = aruba_fast::fma(-along, q[i * dp_], p_.work[i * dp_ + j]);
      }
    }
  }

  // The sums of the squares of n columns, each row with its weight.
  void column_lengths(const double* from, std::int64_t stride, std::int64_t n, const double* weight,
                      double* out) {
    fill(n, 0, out);
    for (std::int64_t i = 0; i < m_; ++i) {
      const Doubles w(weight ? weight[i] : 1);
      over(n, [&](std::int64_t j) {
        const Doubles at = load(from + i * stride + j);
        store(out + j, fma(w * at, at, load(out + j)));
      });
      if (i % 64 == 63 && p_.stopped_after(64 * n)) return;
    }
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

  // Squares beyond this and its inverse are too near to the ends of float64.
  static constexpr double kLeast = 1e-280;
  // Of a column's length: what the data's own rounding may have left of a dependent one. A sum of
  // columns rounded once is 5e-17 off, one of ten rounded each time some 3e-16.
  static constexpr double kDependent = 3 * 0x1p-52;
  static constexpr double kSuspicious = 1e-18;  // of its square
  static constexpr std::int64_t kOpen = 0, kExact = 1, kDone = 2;

  Problem& p_;
  double* const x_;
  const std::int64_t m_, d_, dp_, most_;
};

}  // namespace aruba_fast::ARUBA_ISA
