// One task's least-loss problem: its memory, and its design in coordinates that have full rank.
#pragma once

#include "dense-inl.h"
#include "kernels.h"
#include "rules/hindsight.h"

namespace aruba_fast::ARUBA_ISA {

// Laid out over `base`; with a null base it only counts the numbers.
struct HindsightMemory {
  double *x, *work, *basis;                       // [rows, features], all rows padded
  double *y, *w, *value, *curvature;              // [rows]
  double *z, *slope, *dz, *score;                 // [outputs, rows], of score [classes, rows]
  double *dual, *low, *high, *quadratic;          // [rows], of the dual of a piecewise loss
  double *above, *below, *to_high, *to_low;       // [rows]: slacks, distances to the box
  double *shift, *weight, *d_dual, *corrections;  // [rows], corrections twice
  double *u, *gradient, *step, *trial, *right, *residual, *inside, *best;  // [parameters]
  double *column, *diagonal;                                               // [parameters]
  double *theta, *row, *contrasts;  // [classes, features], [features], [outputs, classes]
  double *hessian, *factor;         // [parameters, stride]
  std::int64_t size;

  HindsightMemory(double* base, std::int64_t m, std::int64_t d, std::int64_t n_classes) {
    const std::int64_t r = m < d ? m : d, q = n_classes > 1 ? n_classes - 1 : 1, n = r * q;
    std::int64_t used = 0;
    const auto take = [&](std::int64_t n_numbers) {
      double* at = base ? base + used : nullptr;
      used += padded(n_numbers);
      return at;
    };
    for (double** rows : {&x, &work}) *rows = take(m * padded(d));
    basis = take(r * padded(d));
    for (double** rows : {&y, &w, &value, &curvature, &dual, &low, &high, &quadratic, &above,
                          &below, &to_high, &to_low, &shift, &weight, &d_dual})
      *rows = take(m);
    corrections = take(2 * padded(m));
    for (double** outputs : {&z, &slope, &dz, &score}) *outputs = take((q + 1) * padded(m));
    for (double** vector :
         {&u, &gradient, &step, &trial, &right, &residual, &inside, &best, &column, &diagonal})
      *vector = take(n + kPad);
    theta = take((q + 1) * padded(d));
    row = take(d);
    contrasts = take(q * (q + 1));
    for (double** matrix : {&hessian, &factor}) *matrix = take(n * stride_of(n));
    size = used;
  }

  // A block's columns end in padding that reaches into the next block.
  static constexpr std::int64_t stride_of(std::int64_t n) { return padded(n) + kPad; }
};

// sum_i w_i l(<theta, x_i>, y_i) + ridge/2 |theta|^2 in the coordinates u of theta = u basis; the
// softmax has a u for each of the n_classes - 1 contrasts between classes.
struct Problem : HindsightMemory {
  Problem(const HindsightCall& of_call, std::int64_t n_rows)
      : HindsightMemory(of_call.scratch, n_rows, of_call.n_features, of_call.n_classes),
        call(of_call),
        m(n_rows),
        mp(padded(n_rows)),
        d(call.n_features),
        dp(padded(d)),
        q(call.n_classes > 1 ? call.n_classes - 1 : 1) {
    // Helmert's contrast k: (1, ..., 1, -(k + 1), 0, ...) over its length.
    for (std::int64_t k = 0; k < q; ++k) {
      const double length = aruba_fast::sqrt(static_cast<double>((k + 1) * (k + 2)));
      for (std::int64_t c = 0; c <= q; ++c)
        contrasts[k * (q + 1) + c] = c <= k       ? 1 / length
                                     : c == k + 1 ? -static_cast<double>(k + 1) / length
                                                  : 0;
    }
  }

  const HindsightCall& call;
  const std::int64_t m, mp, d, dp, q;
  double* a = nullptr;  // the design in u, [rows, r]
  std::int64_t r = 0, rp = 0, n = 0, stride = 0;
  double ridge = 0;
  bool orthonormal = false;  // the basis is there; else u is theta itself

  // Did somebody ask to stop?
  bool stopped() const {
    if (call.poll) call.poll(call.poll_context);
    return __atomic_load_n(call.stop, __ATOMIC_RELAXED);
  }

  // The rows as float64 with their weights in the task's loss; false where one is not finite.
  template <class T>
  bool read(std::int64_t first) {
    const T* rows = static_cast<const T*>(call.x) + first * d;
    const T* labels = static_cast<const T*>(call.y) + first;
    double any = 0;
    for (std::int64_t i = 0; i < m; ++i) {
      for (std::int64_t j = 0; j < d; ++j) {
        const double value_ij = static_cast<double>(rows[i * d + j]);
        x[i * dp + j] = value_ij;
        any += value_ij - value_ij;
      }
      for (std::int64_t j = d; j < dp; ++j) x[i * dp + j] = 0;
      y[i] = static_cast<double>(labels[i]);
      any += y[i] - y[i];
      const std::int64_t batch = i / call.batch_size * call.batch_size,
                         in_batch = m - batch < call.batch_size ? m - batch : call.batch_size;
      w[i] = static_cast<double>(call.n_epochs) / static_cast<double>(in_batch);
    }
    for (std::int64_t i = m; i < mp; ++i) y[i] = w[i] = 0;
    return any == 0;
  }

  // Chooses u: theta itself where the rows span all features safely, else an orthonormal basis of
  // their span, largest row first, so that dependent columns and short tasks lose nothing.
  void reduce() {
    if (m >= d) {
      use(d, x);
      fill_matrix(hessian);
      add_gram(x, dp, w, m, d, hessian, stride);
      // A relative pivot of 1e-8: a condition number of about 1e4 costs half the digits, no more.
      if (cholesky(hessian, d, stride, column, diagonal) > 1e-8) return;
    }
    span();
  }

  void span() {
    double largest = 0;
    for (std::int64_t i = 0; i < m; ++i) {
      copy(d, x + i * dp, work + i * dp);
      value[i] = dot(work + i * dp, work + i * dp, d);
      largest = value[i] > largest ? value[i] : largest;
    }
    const double rounding = 0x1p-51 * static_cast<double>(m > d ? m : d);
    const std::int64_t most = m < d ? m : d;
    std::int64_t rank = 0;
    while (rank < most) {
      std::int64_t next = 0;
      for (std::int64_t i = 1; i < m; ++i) next = value[i] > value[next] ? i : next;
      if (!(value[next] > largest * rounding * rounding)) break;
      double* direction = basis + rank * dp;
      copy(d, work + next * dp, direction);
      // Gram-Schmidt, a second time for what rounding left.
      for (std::int64_t k = 0; k < rank; ++k)
        axpy(d, -dot(basis + k * dp, direction, d), basis + k * dp, direction);
      const double scale = 1 / aruba_fast::sqrt(dot(direction, direction, d));
      over(d, [&](std::int64_t j) { store(direction + j, Doubles(scale) * load(direction + j)); });
      for (std::int64_t i = 0; i < m; ++i) {
        axpy(d, -dot(work + i * dp, direction, d), direction, work + i * dp);
        value[i] = dot(work + i * dp, work + i * dp, d);
      }
      value[next] = 0;
      ++rank;
    }
    use(rank, work);
    orthonormal = true;
    for (std::int64_t i = 0; i < m; ++i) {
      fill(r, 0, a + i * rp);
      for (std::int64_t k = 0; k < rank; ++k) a[i * rp + k] = dot(x + i * dp, basis + k * dp, d);
    }
  }

  void use(std::int64_t rank, double* design) {
    a = design;
    r = rank;
    rp = padded(r);
    n = r * q;
    stride = stride_of(n);
    for (double* vector : {u, gradient, step, trial, right, residual, inside, best})
      fill(n + kPad, 0, vector);
  }

  void fill_matrix(double* matrix) { fill(n * stride, 0, matrix); }

  // out [outputs, rows] of the design times u.
  void predict(const double* from, double* out) const {
    for (std::int64_t c = 0; c < q; ++c) {
      for (std::int64_t i = 0; i < m; ++i) out[c * mp + i] = dot(a + i * rp, from + c * r, r);
      for (std::int64_t i = m; i < mp; ++i) out[c * mp + i] = 0;
    }
  }

  // out += the design transposed times the slopes [outputs, rows].
  void add_transposed(const double* slopes, double* out) const {
    for (std::int64_t c = 0; c < q; ++c)
      for (std::int64_t i = 0; i < m; ++i) axpy(r, slopes[c * mp + i], a + i * rp, out + c * r);
  }

  double norm(const double* vector) const { return aruba_fast::sqrt(dot(vector, vector, n)); }

  double contrast(std::int64_t k, std::int64_t c) const { return contrasts[k * (q + 1) + c]; }

  // theta [n_classes, features] from u, and the scores of the rows themselves there, to p.z.
  void expand(const double* from) {
    const std::int64_t classes = call.n_classes > 1 ? call.n_classes : 1;
    fill(classes * dp, 0, theta);
    for (std::int64_t k = 0; k < q; ++k) {
      fill(d, 0, row);
      if (orthonormal)
        for (std::int64_t i = 0; i < r; ++i) axpy(d, from[k * r + i], basis + i * dp, row);
      else
        for (std::int64_t j = 0; j < d; ++j) row[j] = from[k * r + j];
      for (std::int64_t i = 0; i < m; ++i) z[k * mp + i] = dot(x + i * dp, row, d);
      for (std::int64_t c = 0; c < classes; ++c)
        axpy(d, classes > 1 ? contrast(k, c) : 1, row, theta + c * dp);
    }
  }
};

}  // namespace aruba_fast::ARUBA_ISA
