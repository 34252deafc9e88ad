// Small dense linear algebra in float64 whose bits do not depend on the width of a register.
//
// Vectors are padded with zeros to kPad numbers. Sums run in eight virtual lanes; everything else
// is one fma after the other for each entry. Of symmetric matrices only the lower triangle counts.
#pragma once

#include "simd.h"

namespace aruba_fast::ARUBA_ISA {

constexpr std::int64_t kPad = 8;

ARUBA_RULE constexpr std::int64_t padded(std::int64_t n) { return (n + kPad - 1) / kPad * kPad; }

// The sum of the eight virtual lanes, folded from the outside in.
ARUBA_RULE double fold_eight(const Doubles* lanes) {
  double l[kPad];
#pragma GCC unroll 4
  for (int k = 0; k < kPad / Doubles::kWidth; ++k) store(l + k * Doubles::kWidth, lanes[k]);
  return ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]));
}

// sum_i a_i b_i over padded(n) numbers.
ARUBA_RULE double dot(const double* a, const double* b, std::int64_t n) {
  constexpr int kWidth = Doubles::kWidth, kRegs = kPad / kWidth;
  Doubles lanes[kRegs];
#pragma GCC unroll 4
  for (Doubles& lane : lanes) lane = Doubles(0.0);
  for (std::int64_t i = 0; i < n; i += kPad) {
#pragma GCC unroll 4
    for (int k = 0; k < kRegs; ++k)
      lanes[k] = fma(load(a + i + k * kWidth), load(b + i + k * kWidth), lanes[k]);
  }
  return fold_eight(lanes);
}

// high + low += a b, as if in twice the digits. Source: Ogita, Rump, Oishi, SIAM J. Sci. Comput. 26
// (2005), Dot2.
template <class V>
ARUBA_RULE void add_product(V a, V b, V& high, V& low) {
  using aruba_fast::fma;  // for one double
  const V product = a * b, sum = high + product, back = sum - high;
  low = low + (fma(a, b, -product) + ((high - (sum - back)) + (product - back)));
  high = sum;
}

// start + sum_i a_i b_i over padded(n) numbers, rounded once where no sum cancels 2^50-fold.
ARUBA_RULE double exact_dot(const double* a, const double* b, std::int64_t n, double start) {
  constexpr int kWidth = Doubles::kWidth, kRegs = kPad / kWidth;
  Doubles high[kRegs], low[kRegs];
  for (int k = 0; k < kRegs; ++k) high[k] = low[k] = Doubles(0.0);
  for (std::int64_t i = 0; i < n; i += kPad) {
#pragma GCC unroll 4
    for (int k = 0; k < kRegs; ++k)
      add_product(load(a + i + k * kWidth), load(b + i + k * kWidth), high[k], low[k]);
  }
  double lanes[kPad], lost = fold_eight(low);
  for (int k = 0; k < kRegs; ++k) store(lanes + k * kWidth, high[k]);
  for (const double lane : lanes) add_product(lane, 1.0, start, lost);
  return start + lost;
}

// body(i) for every register of padded(n) numbers.
template <class Body>
ARUBA_RULE void over(std::int64_t n, Body body) {
  for (std::int64_t i = 0; i < padded(n); i += Doubles::kWidth) body(i);
}

// y += s x.
ARUBA_RULE void axpy(std::int64_t n, double s, const double* x, double* y) {
  const Doubles scale(s);
  over(n, [&](std::int64_t i) { store(y + i, fma(scale, load(x + i), load(y + i))); });
}

ARUBA_RULE void copy(std::int64_t n, const double* from, double* to) {
  over(n, [&](std::int64_t i) { store(to + i, load(from + i)); });
}

ARUBA_RULE void fill(std::int64_t n, double value, double* to) {
  over(n, [&](std::int64_t i) { store(to + i, Doubles(value)); });
}

// h_jk += sum over kRows rows of weight x_j x_k for the n features of a block of a matrix; h has
// room for padded(n) columns.
template <int kRows>
ARUBA_RULE void add_outer(const double* x, std::int64_t x_stride, const double* weight,
                          std::int64_t n, double* h, std::int64_t h_stride, bool lower) {
  for (std::int64_t j = 0; j < n; ++j) {
    Doubles scale[kRows];
#pragma GCC unroll 4
    for (int k = 0; k < kRows; ++k) scale[k] = Doubles(weight[k] * x[k * x_stride + j]);
    over(lower ? j + 1 : n, [&](std::int64_t i) {
      Doubles sum = load(h + j * h_stride + i);
#pragma GCC unroll 4
      for (int k = 0; k < kRows; ++k) sum = fma(scale[k], load(x + k * x_stride + i), sum);
      store(h + j * h_stride + i, sum);
    });
  }
}

// h += x^T diag(weight) x over m rows, the lower triangle; `each` is 1, or 0 where all rows have
// the weight of the first. Gives up where stop(multiplications done since it was last asked) says
// so, like cholesky.
template <class Stop>
void add_gram(const double* x, std::int64_t x_stride, const double* weight, int each,
              std::int64_t m, std::int64_t n, double* h, std::int64_t h_stride, const Stop& stop) {
  std::int64_t i = 0;
  for (; i + 4 <= m; i += 4) {
    double weights[4];
    for (int k = 0; k < 4; ++k) weights[k] = weight[(i + k) * each];
    add_outer<4>(x + i * x_stride, x_stride, weights, n, h, h_stride, true);
    if (stop(2 * n * n)) return;
  }
  for (; i < m; ++i)
    add_outer<1>(x + i * x_stride, x_stride, weight + i * each, n, h, h_stride, true);
}

// a = L L^T, L in place of a. Returns the smallest pivot relative to its diagonal entry, or zero
// where a is not positive definite to rounding. `column` and `diagonal` hold padded(n) numbers.
template <class Stop>
double cholesky(double* a, std::int64_t n, std::int64_t stride, double* column, double* diagonal,
                const Stop& stop) {
  constexpr double kRounding = 0x1p-50;
  double smallest = 1;
  for (std::int64_t p = 0; p < n; ++p) diagonal[p] = a[p * stride + p];
  for (std::int64_t p = 0; p < n; ++p) {
    const double pivot = a[p * stride + p];
    if (stop((n - p) * (n - p) / 2)) return smallest;
    if (!(pivot > kRounding * diagonal[p])) return 0;
    if (pivot < smallest * diagonal[p]) smallest = pivot / diagonal[p];
    const double root = aruba_fast::sqrt(pivot), inverse = 1 / root;
    a[p * stride + p] = root;
    const std::int64_t first = (p + 1) / kPad * kPad;
    for (std::int64_t k = first; k <= p; ++k) column[k] = 0;
    for (std::int64_t k = p + 1; k < n; ++k) column[k] = a[k * stride + p] *= inverse;
    for (std::int64_t k = n; k < padded(n); ++k) column[k] = 0;
    for (std::int64_t j = p + 1; j < n; ++j)
      axpy(j + 1 - first, -column[j], column + first, a + j * stride + first);
  }
  return smallest;
}

// x := L^-1 x. x is padded, and zero beyond n.
inline void solve_lower(const double* l, std::int64_t n, std::int64_t stride, double* x) {
  for (std::int64_t j = 0; j < n; ++j) {
    // The row up to the diagonal; what lies beyond it meets the entries that are not solved yet.
    double known = 0;
    const double* row = l + j * stride;
    const std::int64_t whole = j / kPad * kPad;
    known = dot(row, x, whole);
    for (std::int64_t k = whole; k < j; ++k) known = aruba_fast::fma(row[k], x[k], known);
    x[j] = (x[j] - known) / row[j];
  }
}

// x := (L L^T)^-1 x, likewise.
inline void solve(const double* l, std::int64_t n, std::int64_t stride, double* x) {
  solve_lower(l, n, stride, x);
  for (std::int64_t j = n - 1; j >= 0; --j) {
    const double* row = l + j * stride;
    x[j] /= row[j];
    for (std::int64_t k = 0; k < j; ++k) x[k] = aruba_fast::fma(-x[j], row[k], x[k]);
  }
}

}  // namespace aruba_fast::ARUBA_ISA
