// phi and the rates H = L L^T that the tasks ask for, of their sums in the coordinates v.
//
// With D = L v = theta - phi, S = X^T W X of a task and s the scale of its losses, what a task's
// bound |D|^2_{H^-1} / 2 + s log det(I + H S) / 2 is at most near the rates that it ran at has the
// derivative of |D|^2_{H^-1} / 2 + <G, H> / 2 with G = s S (I + H S)^-1: the two terms of ARUBA.
//
//   H diagonal:  eta_j <- b_j / (eta_j g_j), with b_j = sum D_j^2 and g_j = sum G_jj: it rests
//   where
//                eta_j = sqrt(b_j / g_j), the rule of descent, and takes a fifth of the iterations
//   H full:      H <- (sum D D^T / s + T H - H (sum G / s) H + w P) / (T + w), w tasks held at P
//   phi:         phi <- phi + (sum G)^-1 sum G (theta* - phi), a Newton step; of v: L (sum K)^-1
//   sum v
//
// Known as algorithms for variance components, where they are derived otherwise: Zhou, Hu, Zhou,
// Lange, JCGS 28 (2019), for sqrt(b / g); Wood, Fasiolo, Biometrics 73 (2017), for its square;
// Dempster, Laird, Rubin, JRSS B 39 (1977), for H full; MacKay, Neural Computation 4 (1992), for R.
#pragma once

#include "dense-inl.h"
#include "kernels.h"

namespace aruba_fast::ARUBA_ISA {

constexpr double kFirstRidge = 0x1p-10;

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
                     double* step, double* column, double* diagonal) {
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
  double* const factor = known + n * stride;
  double jitter = 0x1p-26;
  do {
    copy(n * stride, known, factor);
    for (std::int64_t j = 0; j < n; ++j) {
      double& own = factor[j * stride + j];
      own = own > 0 ? own * (1 + jitter) : 1;
    }
    jitter *= 16;
  } while (cholesky(factor, n, stride, column, diagonal, [](std::int64_t) { return false; }) == 0 &&
           jitter < 1);
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

inline void proximal_update(const ProximalUpdate& call) {
  const std::int64_t n = call.n, stride = matrix_stride(n);
  // Only what is asked of the layout: the number of features comes after all matrices.
  const ProximalSums sums(const_cast<double*>(call.sums), n, 1, call.diagonal);
  const double tasks = call.tasks;
  double *const known = call.scratch, *const left = known + n * stride,
                *const step = left + n * stride, *const column = step + stride,
                *const diagonal = column + stride;
  const auto never = [](std::int64_t) { return false; };

  move_phi(call, sums, known, step, column, diagonal);
  if (call.only_phi) return;

  if (call.diagonal) {
    for (std::int64_t j = 0; j < n; ++j) {
      const double distance = sums.square[j] / call.scale, own = sums.known[j * stride + j];
      if (!(own > 0)) continue;
      const double grown = call.root[j] * aruba_fast::sqrt(distance / own);
      call.root[j] = grown < call.low[j]    ? call.low[j]
                     : grown < call.high[j] ? grown
                                            : call.high[j];
    }
    return;
  }
  // left = L (sum v v^T / s + T I - K), both triangles of what is in brackets being needed.
  for (std::int64_t j = 0; j < n; ++j)
    for (std::int64_t k = 0; k <= j; ++k) {
      const double entry = sums.square[j * stride + k] / call.scale - sums.known[j * stride + k] +
                           (j == k ? tasks : 0);
      known[j * stride + k] = known[k * stride + j] = entry;
    }
  for (std::int64_t j = 0; j < n; ++j)
    for (std::int64_t k = n; k < stride; ++k) known[j * stride + k] = 0;
  fill(n * stride, 0, left);
  for (std::int64_t j = 0; j < n; ++j)
    for (std::int64_t k = 0; k <= j; ++k)
      axpy(n, call.root[j * stride + k], known + k * stride, left + j * stride);
  for (std::int64_t j = 0; j < n; ++j)
    for (std::int64_t k = 0; k <= j; ++k)
      known[j * stride + k] = (dot(left + j * stride, call.root + k * stride, n) +
                               (j == k ? call.weight * call.prior[j] : 0)) /
                              (tasks + call.weight);
  if (cholesky(known, n, stride, column, diagonal, never) == 0) return;
  fill(n * stride, 0, call.root);
  for (std::int64_t j = 0; j < n; ++j)
    for (std::int64_t k = 0; k <= j; ++k) call.root[j * stride + k] = known[j * stride + k];
}

}  // namespace aruba_fast::ARUBA_ISA
