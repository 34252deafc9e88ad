// Tasks under squared loss by the proximal rule, several side by side, a task a lane: what many of
// them leave behind for whoever learns phi and H. As proximal-inl.h has it, in the coordinates v of
// theta = phi + L v, but in closed form:
//
//   v = -(I + A^T A)^-1 A^T (X phi - y),   A = X L,   I + A^T A = C C^T,   Z = C^-1
//
// and once more for what rounding left of its gradient. Eight virtual lanes keep sums of their own,
// which are folded in one order, so that bits do not depend on the width of a register.
#pragma once

#include "dense-inl.h"
#include "kernels.h"
#include "rules/exp.h"

namespace aruba_fast::ARUBA_ISA {

class Squares {
 public:
  explicit Squares(const SquaresCall& call) : call_(call), n_(call.n_features) {
    double* free = call.scratch;
    const auto take = [&free](std::int64_t n_registers) {
      Doubles* const at = reinterpret_cast<Doubles*>(free);
      free += n_registers * Doubles::kWidth;
      return at;
    };
    lanes_ = free;
    free += kPad * n_sums();
    design_ = take(call.most_rows * n_);
    left_ = take(call.most_rows);
    factor_ = take(triangle(n_));
    inverse_ = take(triangle(n_));
    for (Doubles** vector : {&v_, &gradient_, &solved_}) *vector = take(n_);
  }
  static std::int64_t numbers(std::int64_t most_rows, std::int64_t n) {
    return kPad * (n + 2 * triangle(n) + n + kNumbers) +
           Doubles::kWidth * (most_rows * (n + 1) + 2 * triangle(n) + 3 * n);
  }

  void run() {
    while (!__atomic_load_n(call_.stop, __ATOMIC_RELAXED)) {
      const std::int64_t block = __atomic_fetch_add(call_.next, 1, __ATOMIC_RELAXED),
                         first = block * call_.block;
      if (first >= call_.n_groups) return;
      const std::int64_t end = first + call_.block,
                         last = end < call_.n_groups ? end : call_.n_groups;
      fill(kPad * n_sums(), 0, lanes_);
      for (std::int64_t group = first; group < last; ++group) {
        for (int strip = 0; strip < kPad; strip += Doubles::kWidth) run(group, strip);
        if (call_.poll) call_.poll(call_.poll_context);
      }
      fold(block);
    }
  }

 private:
  // Of a lane: residual, curvature, determinant, rows and tasks that count, tasks that do not.
  static constexpr std::int64_t kNumbers = 5;
  static constexpr std::int64_t triangle(std::int64_t n) { return n * (n + 1) / 2; }

  std::int64_t n_squares() const { return call_.diagonal ? n_ : triangle(n_); }
  std::int64_t n_sums() const { return n_ + n_squares() + triangle(n_) + n_ + kNumbers; }

  // ---- tasks group * 8 + strip and those beside it ----

  void run(std::int64_t group, int strip) {
    strip_ = strip;
    n_rows_ = call_.rows[group];
    x_ = call_.x + call_.begins[group] * n_ * kPad + strip;
    y_ = call_.y + call_.begins[group] * kPad + strip;
    what_the_start_leaves();
    transform();
    factorize();
    for (std::int64_t j = 0; j < n_; ++j) v_[j] = Doubles(0.0);
    const Doubles none(0.0), counts = load(call_.counts + group * kPad + strip);
    for (int times = 0; times < 2; ++times) improve();
    Doubles residual = none;
    for (std::int64_t i = 0; i < n_rows_; ++i) {
      const Doubles slope = slope_of(i);
      residual = fma(slope, slope, residual);
    }
    for (std::int64_t j = 0; j < n_; ++j) residual = fma(v_[j], v_[j], residual);
    // A sum that is no number is left out; nobody counts for zero rows.
    const auto is_finite = residual - residual == none;
    add_sums(residual, is_finite, select(is_finite, counts, -abs(counts)));
  }

  Doubles x(std::int64_t i, std::int64_t j) const { return load(x_ + (i * n_ + j) * kPad); }
  Doubles& at(Doubles* triangular, std::int64_t j, std::int64_t k) const {
    return triangular[triangle(j) + k];
  }

  // left = X phi - y.
  void what_the_start_leaves() {
    for (std::int64_t i = 0; i < n_rows_; ++i) {
      Doubles sum = -load(y_ + i * kPad);
      for (std::int64_t j = 0; j < n_; ++j) sum = fma(Doubles(call_.phi[j]), x(i, j), sum);
      left_[i] = sum;
    }
  }

  void transform() {
    for (std::int64_t i = 0; i < n_rows_; ++i)
      for (std::int64_t k = 0; k < n_; ++k) {
        if (call_.diagonal) {
          design_[i * n_ + k] = Doubles(call_.root[k]) * x(i, k);
          continue;
        }
        Doubles sum(0.0);
        const double* column = call_.root + k;
        for (std::int64_t j = k; j < n_; ++j)
          sum = fma(Doubles(column[j * matrix_stride(n_)]), x(i, j), sum);
        design_[i * n_ + k] = sum;
      }
  }

  // C to factor_, its diagonal the squares of what it is; Z to inverse_.
  void factorize() {
    for (std::int64_t j = 0; j < n_; ++j) {
      for (std::int64_t k = 0; k <= j; ++k) {
        Doubles sum(j == k ? 1.0 : 0.0);
        for (std::int64_t i = 0; i < n_rows_; ++i)
          sum = fma(design_[i * n_ + j], design_[i * n_ + k], sum);
        for (std::int64_t i = 0; i < k; ++i) sum = fma(-at(factor_, j, i), at(factor_, k, i), sum);
        if (k < j) {
          at(factor_, j, k) = sum * at(inverse_, k, k);
          continue;
        }
        at(factor_, j, j) = sum;
        at(inverse_, j, j) = Doubles(1.0) / sqrt(sum);
      }
      for (std::int64_t k = 0; k < j; ++k) {
        Doubles sum(0.0);
        for (std::int64_t i = k; i < j; ++i) sum = fma(at(factor_, j, i), at(inverse_, i, k), sum);
        at(inverse_, j, k) = -sum * at(inverse_, j, j);
      }
    }
  }

  Doubles slope_of(std::int64_t i) const {
    Doubles sum = left_[i];
    for (std::int64_t j = 0; j < n_; ++j) sum = fma(design_[i * n_ + j], v_[j], sum);
    return sum;
  }

  // v -= Z^T Z (v + A^T slopes): Newton's step.
  void improve() {
    for (std::int64_t j = 0; j < n_; ++j) gradient_[j] = v_[j];
    for (std::int64_t i = 0; i < n_rows_; ++i) {
      const Doubles slope = slope_of(i);
      for (std::int64_t j = 0; j < n_; ++j)
        gradient_[j] = fma(design_[i * n_ + j], slope, gradient_[j]);
    }
    for (std::int64_t j = 0; j < n_; ++j) {
      Doubles sum(0.0);
      for (std::int64_t k = 0; k <= j; ++k) sum = fma(at(inverse_, j, k), gradient_[k], sum);
      solved_[j] = sum;
    }
    for (std::int64_t j = 0; j < n_; ++j)
      for (std::int64_t k = 0; k <= j; ++k) v_[k] = fma(-at(inverse_, j, k), solved_[j], v_[k]);
  }

  // ---- sums of each lane ----

  void add(std::int64_t entry, Doubles term) {
    double* const to = lanes_ + entry * kPad + strip_;
    store(to, load(to) + term);
  }
  void add_product(std::int64_t entry, Doubles a, Doubles b) {
    double* const to = lanes_ + entry * kPad + strip_;
    store(to, fma(a, b, load(to)));
  }

  void add_sums(Doubles residual, Doubles::Mask is_finite, Doubles counts) {
    const Doubles none(0.0), one(1.0);
    std::int64_t entry = 0;
    for (std::int64_t j = 0; j < n_; ++j) {
      v_[j] = select(is_finite, v_[j], none);
      add(entry++, v_[j]);
    }
    for (std::int64_t j = 0; j < n_; ++j)
      for (std::int64_t k = call_.diagonal ? j : 0; k <= j; ++k) add_product(entry++, v_[j], v_[k]);
    Doubles determinant(0.0);
    for (std::int64_t j = 0; j < n_; ++j) {
      determinant = determinant + log_positive(select(is_finite, at(factor_, j, j), one));
      for (std::int64_t k = 0; k <= j; ++k)
        at(inverse_, j, k) = select(is_finite, at(inverse_, j, k), j == k ? one : none);
    }
    // I - Z^T Z.
    for (std::int64_t j = 0; j < n_; ++j)
      for (std::int64_t k = 0; k <= j; ++k) {
        Doubles sum(j == k ? 1.0 : 0.0);
        for (std::int64_t r = j; r < n_; ++r)
          sum = fma(-at(inverse_, r, j), at(inverse_, r, k), sum);
        add(entry++, sum);
      }
    for (std::int64_t j = 0; j < n_; ++j) {
      Doubles sum(0.0);
      for (std::int64_t i = 0; call_.wants_rows && i < n_rows_; ++i)
        sum = fma(x(i, j), x(i, j), sum);
      add(entry++, select(is_finite, sum, none));
    }
    add(entry++, select(is_finite, residual, none));
    add(entry++, determinant);
    add(entry++, select(counts > none, counts, none));
    add(entry++, select(counts > none, one, none));
    add(entry++, select(counts < none, one, none));
  }

  double folded(std::int64_t entry) const {
    Doubles lanes[kPad / Doubles::kWidth];
    for (int strip = 0; strip < kPad; strip += Doubles::kWidth)
      lanes[strip / Doubles::kWidth] = load(lanes_ + entry * kPad + strip);
    return fold_eight(lanes);
  }

  void fold(std::int64_t block) const {
    const std::int64_t size = ProximalSums(nullptr, n_, n_, call_.diagonal).size,
                       stride = matrix_stride(n_);
    fill(size, 0, call_.sums + block * size);
    const ProximalSums sums(call_.sums + block * size, n_, n_, call_.diagonal);
    std::int64_t entry = 0;
    for (std::int64_t j = 0; j < n_; ++j) sums.v[j] = folded(entry++);
    for (std::int64_t j = 0; j < n_; ++j) {
      if (call_.diagonal) {
        sums.square[j] = folded(entry++);
        continue;
      }
      for (std::int64_t k = 0; k <= j; ++k) sums.square[j * stride + k] = folded(entry++);
    }
    for (std::int64_t j = 0; j < n_; ++j)
      for (std::int64_t k = 0; k <= j; ++k) sums.known[j * stride + k] = folded(entry++);
    for (std::int64_t j = 0; j < n_; ++j) sums.rows[j] = folded(entry++);
    for (double* number : {sums.residual, sums.determinant, sums.count, sums.tasks, sums.skipped})
      *number = folded(entry++);
    *sums.curvature = *sums.count;
  }

  const SquaresCall& call_;
  const std::int64_t n_;
  double* lanes_;
  Doubles *design_, *left_, *factor_, *inverse_, *v_, *gradient_, *solved_;
  int strip_ = 0;
  std::int64_t n_rows_ = 0;
  const double *x_ = nullptr, *y_ = nullptr;
};

inline void squares(const SquaresCall& call) { Squares(call).run(); }

inline std::int64_t squares_numbers(std::int64_t most_rows, std::int64_t n_features) {
  return Squares::numbers(most_rows, n_features);
}

}  // namespace aruba_fast::ARUBA_ISA
