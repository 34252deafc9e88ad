// Tasks under the proximal rule, with the rates that they are given.
#include "ops_proximal.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "solver_crew.h"

namespace aruba_fast {
namespace {

// L of H = L L^T in rows of matrix_stride numbers, zero beyond the diagonal. What is left of a
// column that others explain is rounding, and taken for zero.
void factor(const ProximalRates& rates, double* root) {
  const std::int64_t n = rates.n, stride = matrix_stride(n);
  if (rates.diagonal) {
    for (std::int64_t j = 0; j < n; ++j) root[j] = std::sqrt(rates.values[j]);
    return;
  }
  std::fill_n(root, n * stride, 0.0);
  for (std::int64_t k = 0; k < n; ++k) {
    double* const row = root + k * stride;
    for (std::int64_t j = 0; j <= k; ++j) {
      const double* const other = root + j * stride;
      double left = rates.values[k * n + j];
      for (std::int64_t i = 0; i < j; ++i) left = std::fma(-row[i], other[i], left);
      const double rounding = 0x1p-40 * rates.values[k * n + k];
      if (j < k) {
        row[j] = other[j] > 0 ? left / other[j] : 0;
        continue;
      }
      if (left < -rounding * static_cast<double>(n))
        throw ValueError("Proximal: `learning_rate` must have no negative eigenvalue: got " +
                         std::to_string(left) + " left of row " + std::to_string(k) +
                         " when it was factorized, expected a covariance matrix");
      row[k] = left > rounding ? std::sqrt(left) : 0;
    }
  }
}

}  // namespace

void run_proximal(const TaskTable& table, const ProximalOptions& options, const double* phi,
                  std::int64_t phi_stride, const ProximalRates& rates, Watch& watch,
                  const ProximalOutputs& outputs) {
  const Numbers root(rates.diagonal ? rates.n : rates.n * matrix_stride(rates.n));
  factor(rates, root.get());
  ProximalCall call{};
  call.phi = phi;
  call.phi_stride = phi_stride;
  call.root = root.get();
  call.diagonal = rates.diagonal;
  call.theta = outputs.theta;
  call.grad_sq = outputs.grad_sq;
  call.loss = outputs.loss;
  call.block = 1;
  SolverCrew(table, options.loss, options.n_classes, kernels().proximal_numbers, watch)
      .run("run_tasks", call, kernels().proximal);
}

}  // namespace aruba_fast
