// One task's least-loss problem: its memory, and its design in coordinates that have full rank.
#pragma once

#include "kernels.h"
#include "solver_task-inl.h"

namespace aruba_fast::ARUBA_ISA {

// Laid out over `base`; with a null base it only counts the numbers.
struct HindsightMemory {
  double *x, *work, *basis;                       // [rows, features], all rows padded
  double *y, *label, *w, *value, *curvature;      // [rows]
  double *z, *slope, *dz, *score;                 // [outputs, rows], of score [classes, rows]
  double *dual, *low, *high, *quadratic;          // [rows], of the dual of a piecewise loss
  double *above, *below, *to_high, *to_low;       // [rows]: slacks, distances to the box
  double *shift, *weight, *d_dual, *corrections;  // [rows], corrections twice
  double *u, *gradient, *step, *trial, *right, *residual, *inside, *best;  // [parameters]
  double *column, *diagonal, *reach;                                       // [parameters]
  double *theta, *contrasts;               // [classes, features], [outputs, classes]
  double *row, *row_low, *unit, *columns;  // [features]
  std::int64_t *order, *state_of;          // [features]
  double *hessian, *factor;                // [parameters, stride]
  std::int64_t size;

  // r: the most that the design's rank may be taken for.
  HindsightMemory(double* base, std::int64_t m, std::int64_t d, std::int64_t n_classes,
                  std::int64_t r) {
    const std::int64_t q = n_classes > 1 ? n_classes - 1 : 1, n = r * q;
    std::int64_t used = 0;
    const auto take = [&](std::int64_t n_numbers) {
      double* at = base ? base + used : nullptr;
      used += padded(n_numbers);
      return at;
    };
    for (double** rows : {&x, &work}) *rows = take(m * padded(d));
    basis = take(r * padded(d));
    for (double** rows : {&y, &label, &w, &value, &curvature, &dual, &low, &high, &quadratic,
                          &above, &below, &to_high, &to_low, &shift, &weight, &d_dual})
      *rows = take(m);
    corrections = take(2 * padded(m));
    for (double** outputs : {&z, &slope, &dz, &score}) *outputs = take((q + 1) * padded(m));
    for (double** vector : {&u, &gradient, &step, &trial, &right, &residual, &inside, &best,
                            &column, &diagonal, &reach})
      *vector = take(n + kPad);
    theta = take((q + 1) * padded(d));
    for (double** features : {&row, &row_low, &unit, &columns}) *features = take(d);
    for (std::int64_t** features : {&order, &state_of})
      *features = reinterpret_cast<std::int64_t*>(take(d));
    contrasts = take(q * (q + 1));
    for (double** matrix : {&hessian, &factor}) *matrix = take(n * matrix_stride(n));
    size = used;
  }

  // A block's columns end in padding that reaches into the next block.
  static constexpr std::int64_t stride_of(std::int64_t n) { return padded(n) + kPad; }
};

// sum_i w_i l(<theta, x_i>, y_i) + ridge/2 |theta|^2 in the coordinates u of theta = u basis; the
// softmax has a u for each of the n_classes - 1 contrasts between classes.
struct Problem : HindsightMemory, Stopping<HindsightCall> {
  Problem(const HindsightCall& of_call, std::int64_t n_rows)
      : Problem(of_call, n_rows, n_rows < of_call.n_features ? n_rows : of_call.n_features) {}
  Problem(const HindsightCall& of_call, std::int64_t n_rows, std::int64_t most_rank)
      : HindsightMemory(of_call.scratch, n_rows, of_call.n_features, of_call.n_classes, most_rank),
        Stopping(of_call),
        call(of_call),
        facts(facts_of(call.loss_kind)),
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
  const LossFacts& facts;
  const std::int64_t m, mp, d, dp, q;
  double* a = nullptr;  // the design in u, [rows, r]
  std::int64_t r = 0, rp = 0, n = 0, stride = 0;
  double ridge = 0;
  bool orthonormal = false;  // the basis is there; else u is theta itself
  bool graded = false;       // its columns are of any scale, and products with it are exact
  bool scaled = false;       // theta is in units of `unit`
  bool shifted = false;      // u is on top of the parameters in `theta`, y what those leave over
  double condition = 1;      // how much of a column the other ones can make up for, inverted

  bool piecewise() const { return facts.minimization == Minimization::kPiecewise; }

  // The rows as float64 with their weights in the task's loss; false where one is not finite.
  template <class T>
  bool read(std::int64_t first) {
    for (std::int64_t i = 0; i < m; ++i) {
      const std::int64_t batch = i / call.batch_size * call.batch_size,
                         in_batch = m - batch < call.batch_size ? m - batch : call.batch_size;
      w[i] = static_cast<double>(call.n_epochs) / static_cast<double>(in_batch);
      if (call.row_weights) w[i] *= call.row_weights[first + i];
    }
    for (std::int64_t i = m; i < mp; ++i) w[i] = 0;
    const bool finite = read_rows<T>(call.x, call.widening, call.y, first, m, d, x, y);
    copy(m, y, label);
    return finite;
  }

  void use(std::int64_t rank, double* design) {
    a = design;
    r = rank;
    rp = padded(r);
    n = r * q;
    stride = matrix_stride(n);
    for (double* vector : {u, gradient, step, trial, right, residual, inside, best})
      fill(n + kPad, 0, vector);
  }

  void fill_matrix(double* matrix) { fill(n * stride, 0, matrix); }

  // out [outputs, rows] of the design times u.
  void predict(const double* from, double* out) const {
    for (std::int64_t c = 0; c < q; ++c) {
      for (std::int64_t i = 0; i < m; ++i) {
        out[c * mp + i] = dot(a + i * rp, from + c * r, r);
        if (i % 64 == 63 && stopped_after(64 * r)) return;
      }
      for (std::int64_t i = m; i < mp; ++i) out[c * mp + i] = 0;
    }
  }

  // out += the design transposed times the slopes [outputs, rows].
  void add_transposed(const double* slopes, double* out) const {
    for (std::int64_t c = 0; c < q; ++c) {
      for (std::int64_t i = 0; i < m; ++i) {
        axpy(r, slopes[c * mp + i], a + i * rp, out + c * r);
        if (i % 64 == 63 && stopped_after(64 * r)) return;
      }
    }
  }

  double norm(const double* vector) const { return aruba_fast::sqrt(dot(vector, vector, n)); }

  double contrast(std::int64_t k, std::int64_t c) const { return contrasts[k * (q + 1) + c]; }
};

}  // namespace aruba_fast::ARUBA_ISA
