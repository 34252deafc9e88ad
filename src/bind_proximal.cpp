// The proximal rule, and what many tasks say of its parameters: what proximal.py stands on.
#include <utility>

#include "bindings.h"
#include "ops_proximal.h"
#include "task_arguments.h"

namespace aruba_fast::python {
namespace {

ProximalOptions options_of(const char* function, const std::string& loss, std::int64_t n_classes) {
  const ProximalOptions options{.loss = loss_named(function, loss), .n_classes = n_classes};
  if (n_classes < 1 || facts_of(options.loss).has_classes != (n_classes > 1))
    refuse(function, "`n_classes`", "fit the loss", std::to_string(n_classes));
  return options;
}

// The memory of rates, and whether it is that of a diagonal.
std::pair<double*, bool> rates_of(Arrays& arrays, py::handle given, std::int64_t n) {
  if (arrays.one(given, "learning_rate", Access::kRead).n_dimensions == 1)
    return {arrays.doubles(given, "learning_rate", {n}), true};
  return {arrays.doubles(given, "learning_rate", {n, n}), false};
}

void run_proximal(const py::tuple& table_given, py::handle phi_given, py::handle rates_given,
                  const std::string& loss, std::int64_t n_classes, const py::tuple& outputs_given) {
  constexpr const char* function = "run_tasks";
  Arrays arrays(function);
  const TaskTable table = table_of(arrays, table_given);
  require_rows(function, table);
  const ProximalOptions options = options_of(function, loss, n_classes);
  const std::int64_t n = n_classes * table.n_features;
  const bool one_phi = arrays.one(phi_given, "phi", Access::kRead).n_dimensions == 1;
  const double* const phi = one_phi ? arrays.doubles(phi_given, "phi", {n})
                                    : arrays.doubles(phi_given, "phi", {table.n_tasks, n});
  const auto [values, diagonal] = rates_of(arrays, rates_given, n);
  const ProximalRates rates{.values = values, .n = n, .diagonal = diagonal};
  const bool is_sparse = table.rows.columns != nullptr;
  if (is_sparse && !diagonal)
    refuse(function, "`rule`", "have a rate for each parameter of sparse rows", "a matrix");
  const ProximalOutputs outputs{
      .theta = arrays.doubles(outputs_given[0], "theta_hat", {table.n_tasks, n}),
      .grad_sq = arrays.doubles(outputs_given[1], "grad_sq", {table.n_tasks, n}),
      .loss = arrays.doubles(outputs_given[2], "loss", {table.n_tasks})};
  Watch watch(interrupted);
  try {
    const py::gil_scoped_release release;
    const auto run = is_sparse ? aruba_fast::run_sparse_proximal : aruba_fast::run_proximal;
    run(table, options, phi, one_phi ? 0 : n, rates, watch, outputs);
  } catch (const Interrupted&) {
    throw py::error_already_set();
  }
}

py::tuple learn_population(const py::tuple& table_given, const std::string& loss,
                           std::int64_t n_classes, py::handle phi, py::handle rates) {
  constexpr const char* function = "learn_population";
  Arrays arrays(function);
  const TaskTable table = table_of(arrays, table_given);
  require_rows(function, table);
  const ProximalOptions options = options_of(function, loss, n_classes);
  const std::int64_t n = n_classes * table.n_features;
  Population population{};
  const auto [values, diagonal] = rates_of(arrays, rates, n);
  population.phi = arrays.doubles(phi, "phi", {n});
  population.rates = values;
  Watch watch(interrupted);
  try {
    const py::gil_scoped_release release;
    aruba_fast::learn_population(table, options, diagonal, watch, population);
  } catch (const Interrupted&) {
    throw py::error_already_set();
  }
  return py::make_tuple(population.scale, population.evidence, population.n_iterations,
                        population.n_tasks, population.n_skipped);
}

}  // namespace

void bind_proximal(py::module_& module) {
  module.def("run_proximal", run_proximal, py::arg("table"), py::arg("phi"),
             py::arg("learning_rate"), py::kw_only(), py::arg("loss"), py::arg("n_classes"),
             py::arg("outputs"),
             "Tasks under the proximal rule, into theta_hat, grad_sq and loss.");
  module.def("learn_population", learn_population, py::arg("table"), py::kw_only(), py::arg("loss"),
             py::arg("n_classes"), py::arg("phi"), py::arg("learning_rate"),
             "The parameters of the proximal rule that the tasks ask for, into phi and "
             "learning_rate; returns scale, evidence, n_iterations, n_tasks and n_skipped.");
}

}  // namespace aruba_fast::python
