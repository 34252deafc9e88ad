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

struct ProximalRounds::Memory {
  Memory(const TaskTable& table, const ProximalOptions& options, Watch& watch)
      : n(table.n_features * options.n_classes),
        crew(table, options.loss, options.n_classes, kernels().proximal_numbers, watch),
        phi(static_cast<std::size_t>(n)),
        root(phi.size()) {}

  const std::int64_t n;
  SolverCrew crew;
  std::vector<double> phi, root, theta, grad_sq;
  std::vector<std::int64_t> starts, stops;
};

ProximalRounds::ProximalRounds(const TaskTable& table, const ProximalOptions& options, double coef,
                               Watch& watch)
    : table_(table), coef_(coef), memory_(std::make_unique<Memory>(table, options, watch)) {}

ProximalRounds::~ProximalRounds() = default;

void ProximalRounds::run(const void* phi, const void* rates, bool one_rate, std::int64_t first,
                         std::int64_t n_tasks, const TaskOutputs& outputs) {
  Memory& memory = *memory_;
  const bool is_double = table_.type == Type::kFloat64;
  const auto number = [is_double](const void* values, std::int64_t i) {
    return is_double ? static_cast<const double*>(values)[i]
                     : static_cast<double>(static_cast<const float*>(values)[i]);
  };
  const auto n = static_cast<std::size_t>(memory.n), size = static_cast<std::size_t>(n_tasks) * n;
  for (std::int64_t j = 0; j < memory.n; ++j) {
    memory.phi[static_cast<std::size_t>(j)] = number(phi, j);
    memory.root[static_cast<std::size_t>(j)] = std::sqrt(coef_ * number(rates, one_rate ? 0 : j));
  }
  memory.starts.resize(static_cast<std::size_t>(n_tasks));
  memory.stops.resize(memory.starts.size());
  for (std::size_t i = 0; i < memory.starts.size(); ++i) {
    const std::int64_t position = first + static_cast<std::int64_t>(i),
                       task = table_.order ? table_.order[position] : position;
    memory.starts[i] = table_.starts[task];
    memory.stops[i] = table_.stops[task];
  }
  if (!is_double && memory.theta.size() < size) {
    memory.theta.resize(size);
    memory.grad_sq.resize(size);
  }
  ProximalCall call{};
  call.phi = memory.phi.data();
  call.root = memory.root.data();
  call.diagonal = true;
  call.theta = is_double ? static_cast<double*>(outputs.theta_hat) : memory.theta.data();
  call.grad_sq = is_double ? static_cast<double*>(outputs.grad_sq) : memory.grad_sq.data();
  call.loss = outputs.loss;
  call.block = 1;
  memory.crew.run("meta_train", call, kernels().proximal, memory.starts.data(), memory.stops.data(),
                  n_tasks);
  if (is_double) return;
  const auto narrow = [size](const std::vector<double>& from, void* to) {
    for (std::size_t i = 0; i < size; ++i) static_cast<float*>(to)[i] = static_cast<float>(from[i]);
  };
  narrow(memory.theta, outputs.theta_hat);
  narrow(memory.grad_sq, outputs.grad_sq);
}

}  // namespace aruba_fast
