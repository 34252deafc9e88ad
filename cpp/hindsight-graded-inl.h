// Coordinates of a task with columns far from zero, of any scale or nearly dependent.
//
// The rows of a column-pivoted R, made orthonormal from the largest on, are V (Stewart's QLP, SIAM
// J. Sci. Comput. 20 (1999)): theta = V u has u's length, and the columns of X V are near to
// orthogonal at whatever lengths the data's scales and near dependences leave them. X V is
// multiplied in twice the digits, so that the problem in u is the one in theta.
#pragma once

#include "hindsight-memory-inl.h"

namespace aruba_fast::ARUBA_ISA {

class Graded {
 protected:
  explicit Graded(Problem& problem)
      : p_(problem),
        x_(problem.x),
        m_(problem.m),
        d_(problem.d),
        dp_(problem.dp),
        most_(m_ < d_ ? m_ : d_) {}

  void grade() {
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
    add_gram(p_.work, p_.rp, p_.w, 1, m_, p_.r, p_.hessian, p_.stride, p_.stop());
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

  // The next direction less those before, of length one; a second time would lose nothing more
  // than rounding where the rows are as far apart as here.
  void orthogonalize(std::int64_t k) {
    double* direction = p_.basis + k * dp_;
    for (std::int64_t i = 0; i < k; ++i)
      axpy(d_, -dot(p_.basis + i * dp_, direction, d_), p_.basis + i * dp_, direction);
    const double scale = 1 / aruba_fast::sqrt(dot(direction, direction, d_));
    over(d_, [&](std::int64_t j) { store(direction + j, Doubles(scale) * load(direction + j)); });
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

  // Squares beyond this and its inverse are too near to the ends of float64.
  static constexpr double kLeast = 1e-280;
  // Of a column's length: what the data's own rounding may have left of a dependent one. A sum of
  // columns rounded once is 5e-17 off, one of ten rounded each time some 3e-16.
  static constexpr double kDependent = 3 * 0x1p-52;

  Problem& p_;
  double* const x_;
  const std::int64_t m_, d_, dp_, most_;

 private:
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

  static constexpr double kSuspicious = 1e-18;  // of its square
  static constexpr std::int64_t kOpen = 0, kExact = 1, kDone = 2;
};

}  // namespace aruba_fast::ARUBA_ISA
