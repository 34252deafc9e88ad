// phi and the rates H = L L^T that the tasks ask for, of their sums in the coordinates v.
//
// With D = L v = theta - phi, S = X^T W X of a task and s the scale of its losses, what a task's
// bound |D|^2_{H^-1} / 2 + s log det(I + H S) / 2 is at most near the rates that it ran at has the
// derivative of |D|^2_{H^-1} / 2 + <G, H> / 2 with G = s S (I + H S)^-1: the two terms of ARUBA.
//
//   H diagonal:  eta_j <- b_j / (eta_j g_j), with b_j = sum D_j^2 and g_j = sum G_jj. It rests at
//                eta_j = sqrt(b_j / g_j), the rule of descent, and takes a fifth of the passes
//   H full:      H <- (sum D D^T / s + T H - H (sum G / s) H + w P) / (T + w), w tasks held at P
//   phi:         phi <- phi + (sum G + R)^-1 (sum G (theta* - phi) - R phi), a Newton step. R is a
//                prior about zero: s over the mean square of phi_j, by all that is known of it,
//                R_j <- s / (phi_j^2 + s [(sum G + R)^-1]_jj). What many tasks determine it leaves
//                alone; columns that nearly depend on each other do not outbid each other
//
// Known as algorithms for variance components, where they are derived otherwise: Zhou, Hu, Zhou,
// Lange, JCGS 28 (2019), for sqrt(b / g); Wood, Fasiolo, Biometrics 73 (2017), for its square;
// Dempster, Laird, Rubin, JRSS B 39 (1977), for H full; MacKay, Neural Computation 4 (1992), for R.
#pragma once

#include "dense-inl.h"
#include "kernels.h"

namespace aruba_fast::ARUBA_ISA {

constexpr double kFirstRidge = 0x1p-10;
// Nobody stops an update: it takes a second where there are a thousand parameters.
constexpr auto kNever = [](std::int64_t) { return false; };

// x to row j of L, padded; returns its square, the rate of j.
inline double row_of_root(const ProximalUpdate& call, std::int64_t j, double* x) {
  fill(call.n, 0, x);
  if (call.diagonal) x[j] = call.root[j];
  else copy(j + 1, call.root + j * matrix_stride(call.n), x);
  return dot(x, x, call.n);
}

// phi by K + L^T R L, R its own prior, and a trace of the diagonal, which decides where columns
// depend on each other; then R by the step's phi and what is left unsure of it.
inline void move_phi(const ProximalUpdate& call, const ProximalSums& sums, double* known,
                     double* factor, double* step, double* column, double* diagonal) {
  const std::int64_t n = call.n, stride = matrix_stride(n);
  copy(n * stride, sums.known, known);
  fill(stride, 0, step);
  for (std::int64_t j = 0; j < n; ++j) step[j] = sums.v[j];
  for (std::int64_t j = 0; j < n; ++j) {
    const double rate = row_of_root(call, j, column);
    // To begin with, a thousandth of what the tasks say; L is diagonal then.
    if (call.ridge[j] == 0 && rate > 0) call.ridge[j] = kFirstRidge * known[j * stride + j] / rate;
    add_outer<1>(column, stride, call.ridge + j, n, known, stride, true);
    axpy(n, -call.ridge[j] * call.phi[j], column, step);
  }
  double jitter = 0x1p-26;
  do {
    copy(n * stride, known, factor);
    for (std::int64_t j = 0; j < n; ++j) {
      double& own = factor[j * stride + j];
      own = own > 0 ? own * (1 + jitter) : 1;
    }
    jitter *= 16;
  } while (cholesky(factor, n, stride, column, diagonal, kNever) == 0 && jitter < 1);
  solve(factor, n, stride, step);
  const double length = aruba_fast::sqrt(dot(step, step, n)),
               shorter = length > call.longest ? call.longest / length : 1;
  *call.moved = shorter * length;
  for (std::int64_t j = 0; j < n; ++j) {
    const double rate = row_of_root(call, j, column);
    call.phi[j] += shorter * dot(column, step, n);
    solve_lower(factor, n, stride, column);
    const double unsure = call.scale * dot(column, column, n), most = 0x1p20 * call.tasks / rate,
                 square = call.phi[j] * call.phi[j], ridge = call.scale / (square + unsure);
    call.ridge[j] = rate > 0 ? (ridge < most ? ridge : most) : 0;
  }
}

// The root of each diagonal rate.
inline void move_diagonal(const ProximalUpdate& call, const ProximalSums& sums) {
  for (std::int64_t j = 0; j < call.n; ++j) {
    const double distance = sums.square[j] / call.scale,
                 own = sums.known[j * matrix_stride(call.n) + j];
    if (!(own > 0)) continue;
    const double grown = call.root[j] * aruba_fast::sqrt(distance / own),
                 above = grown < call.high[j] ? grown : call.high[j];
    call.root[j] = grown < call.low[j] ? call.low[j] : above;
  }
}

// The root of H = L (sum v v^T / s + T I - K) L^T, held at the prior; as it was where rounding
// leaves no root.
inline void move_matrix(const ProximalUpdate& call, const ProximalSums& sums, double* inner,
                        double* left, double* column, double* diagonal) {
  const std::int64_t n = call.n, stride = matrix_stride(n);
  fill(n * stride, 0, inner);
  for (std::int64_t j = 0; j < n; ++j)
    for (std::int64_t k = 0; k <= j; ++k) {
      const std::int64_t at = j * stride + k;
      const double entry =
          sums.square[at] / call.scale - sums.known[at] + (j == k ? call.tasks : 0);
      inner[at] = inner[k * stride + j] = entry;
    }
  fill(n * stride, 0, left);
  for (std::int64_t j = 0; j < n; ++j)
    for (std::int64_t k = 0; k <= j; ++k)
      axpy(n, call.root[j * stride + k], inner + k * stride, left + j * stride);
  double* const grown = inner;
  for (std::int64_t j = 0; j < n; ++j)
    for (std::int64_t k = 0; k <= j; ++k)
      grown[j * stride + k] = (dot(left + j * stride, call.root + k * stride, n) +
                               (j == k ? call.weight * call.prior[j] : 0)) /
                              (call.tasks + call.weight);
  if (cholesky(grown, n, stride, column, diagonal, kNever) == 0) return;
  fill(n * stride, 0, call.root);
  for (std::int64_t j = 0; j < n; ++j)
    for (std::int64_t k = 0; k <= j; ++k) call.root[j * stride + k] = grown[j * stride + k];
}

inline void proximal_update(const ProximalUpdate& call) {
  const std::int64_t n = call.n, stride = matrix_stride(n);
  // Only what is asked of the layout: the number of features comes after all matrices.
  const ProximalSums sums(const_cast<double*>(call.sums), n, 1, call.diagonal);
  double *const one = call.scratch, *const other = one + n * stride,
                *const step = other + n * stride, *const column = step + stride,
                *const diagonal = column + stride;
  move_phi(call, sums, one, other, step, column, diagonal);
  if (call.only_phi) return;
  if (call.diagonal) move_diagonal(call, sums);
  else move_matrix(call, sums, one, other, column, diagonal);
}

}  // namespace aruba_fast::ARUBA_ISA
