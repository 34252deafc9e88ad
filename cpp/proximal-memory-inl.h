// One task's proximal problem: its memory, its rows, and its design in the coordinates v of
// theta = phi + L v, where the penalty is |v|^2 / 2 whatever the rates are.
#pragma once

#include "kernels.h"
#include "solver_task-inl.h"

namespace aruba_fast::ARUBA_ISA {

// Laid out over `base`; with a null base it only counts the numbers. A row has a score for each of
// the q classes; vectors over scores are [q, padded rows], of designs [q * rows, padded(n)].
struct ProximalMemory {
  double *x, *y, *weight;                              // [rows, features], [rows], [rows]
  double *design, *scaled;                             // A; a root of A^T W A, and its factor's
  double *start, *z, *dz, *slope, *curvature, *value;  // start: the scores of phi
  double *v, *gradient, *step, *trial, *mean, *alpha;  // [max(n, scores)]
  double *matrix, *column, *diagonal;                  // [k, k], k = min(n, scores)
  std::int64_t size;

  ProximalMemory(double* base, std::int64_t m, std::int64_t d, std::int64_t q) {
    const std::int64_t n = q * d, rows = q * m, k = rows < n ? rows : n,
                       most = (rows > n ? rows : n) + kPad;
    std::int64_t used = 0;
    const auto take = [&](std::int64_t n_numbers) {
      double* at = base ? base + used : nullptr;
      used += padded(n_numbers);
      return at;
    };
    x = take(m * padded(d));
    for (double** row : {&y, &weight}) *row = take(m);
    design = take(rows * padded(n));
    scaled = take(rows * matrix_stride(n));
    for (double** scores : {&start, &z, &dz, &slope, &curvature, &value})
      *scores = take(q * padded(m));
    for (double** vector : {&v, &gradient, &step, &trial, &mean, &alpha}) *vector = take(most);
    matrix = take(k * matrix_stride(k));
    for (double** vector : {&column, &diagonal}) *vector = take(k + kPad);
    size = used;
  }
};

struct ProximalProblem : ProximalMemory, Stopping<ProximalCall> {
  ProximalProblem(const ProximalCall& of_call, std::int64_t n_rows)
      : ProximalMemory(of_call.scratch, n_rows, of_call.n_features, of_call.n_classes),
        Stopping(of_call),
        call(of_call),
        facts(facts_of(of_call.loss_kind)),
        m(n_rows),
        mp(padded(n_rows)),
        d(of_call.n_features),
        dp(padded(d)),
        q(of_call.n_classes),
        n(q * d),
        np(padded(n)) {}

  const ProximalCall& call;
  const LossFacts& facts;
  const std::int64_t m, mp, d, dp, q, n, np;

  // The rows as float64, their scores at phi and their design; false where one is not finite.
  template <class T>
  bool read(std::int64_t task) {
    const double* phi = call.phi + task * call.phi_stride;
    double any = 0;
    for (std::int64_t j = 0; j < n; ++j) any += phi[j] - phi[j];
    const std::int64_t first = call.starts[task];
    if (!read_rows<T>(call.x, call.widening, call.y, first, m, d, x, y) || any != 0) return false;
    for (std::int64_t i = 0; i < mp; ++i)
      weight[i] = call.row_weights && i < m ? call.row_weights[first + i] : 1;
    // phi by classes, padded, in `mean`, which nobody has used yet.
    for (std::int64_t c = 0; c < q; ++c) {
      fill(d, 0, mean);
      for (std::int64_t j = 0; j < d; ++j) mean[j] = phi[c * d + j];
      for (std::int64_t i = 0; i < m; ++i) start[c * mp + i] = dot(x + i * dp, mean, d);
      for (std::int64_t i = m; i < mp; ++i) start[c * mp + i] = 0;
    }
    transform();
    return true;
  }

  // scores += the design times u.
  void add_scores(const double* u, double* scores) const {
    for (std::int64_t c = 0; c < q; ++c)
      for (std::int64_t i = 0; i < m; ++i) scores[c * mp + i] += dot(row(c, i), u, n);
  }

  // out += the design transposed times the slopes.
  void add_transposed(const double* slopes, double* out) const {
    for (std::int64_t c = 0; c < q; ++c)
      for (std::int64_t i = 0; i < m; ++i) axpy(n, slopes[c * mp + i], row(c, i), out);
  }

  const double* row(std::int64_t c, std::int64_t i) const { return design + (c * m + i) * np; }

  // Of a row; of the softmax, whose curvature holds probabilities, for class c.
  double root_of_curvature(std::int64_t c, std::int64_t i) const {
    const double own = curvature[c * mp + i];
    return aruba_fast::sqrt(facts.has_classes ? weight[i] * own : own);
  }

  // theta = phi + L v.
  void expand(const double* phi, const double* u, double* theta) const {
    for (std::int64_t j = 0; j < n; ++j) theta[j] = phi[j] + moved(u, j);
  }

 private:
  double moved(const double* u, std::int64_t j) const {
    if (call.diagonal) return call.root[j] * u[j];
    return dot(call.root + j * matrix_stride(n), u, j + 1);
  }

  // Row (c, i) of the design is L^T (e_c (x) x_i).
  void transform() const {
    for (std::int64_t c = 0; c < q; ++c)
      for (std::int64_t i = 0; i < m; ++i) {
        if (stopped_after(call.diagonal ? d : d * n / 2)) return;
        double* const to = design + (c * m + i) * np;
        if (call.diagonal) {
          fill(n, 0, to);
          for (std::int64_t j = 0; j < d; ++j) to[c * d + j] = x[i * dp + j] * call.root[c * d + j];
          continue;
        }
        // Row k of L ends at k: what lies before a register's columns is not looked at.
        const std::int64_t stride = matrix_stride(n);
        over(n, [&](std::int64_t at) {
          Doubles sum(0.0);
          const std::int64_t first = at / kPad * kPad - c * d;
          for (std::int64_t j = first > 0 ? first : 0; j < d; ++j)
            sum = fma(Doubles(x[i * dp + j]), load(call.root + (c * d + j) * stride + at), sum);
          store(to + at, sum);
        });
      }
  }
};

}  // namespace aruba_fast::ARUBA_ISA
