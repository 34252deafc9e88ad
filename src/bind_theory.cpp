// Least losses in hindsight and bounds on regret: what theory/hindsight.py and bounds.py stand on.
#include <algorithm>

#include "bindings.h"
#include "ops_hindsight.h"
#include "task_arguments.h"

namespace aruba_fast::python {
namespace {

void best_in_hindsight(const py::tuple& table_given, const py::tuple& outputs_given,
                       const std::string& loss, std::int64_t n_classes, std::int64_t batch_size,
                       std::int64_t n_epochs, double radius, double regularization,
                       double tolerance) {
  constexpr const char* function = "best_in_hindsight";
  Arrays arrays(function);
  const TaskTable table = table_of(arrays, table_given);
  require_rows(function, table);
  const HindsightOptions options{.loss = loss_named(function, loss),
                                 .n_classes = n_classes,
                                 .batch_size = batch_size,
                                 .n_epochs = n_epochs,
                                 .radius = radius,
                                 .regularization = regularization,
                                 .tolerance = tolerance};
  if (n_classes < 1 || batch_size < 1 || n_epochs < 1 || !(radius >= 0) || !(regularization >= 0) ||
      !(tolerance > 0))
    refuse(function, "its options", "be in range", "values that its caller should have refused");
  const HindsightOutputs outputs{
      .theta_star = arrays.doubles(outputs_given[0], "theta_star",
                                   {table.n_tasks, n_classes * table.n_features}),
      .loss = arrays.doubles(outputs_given[1], "loss", {table.n_tasks}),
      .gap = arrays.doubles(outputs_given[2], "gap", {table.n_tasks}),
      .no_minimizer =
          arrays.integers<std::uint8_t>(outputs_given[3], "no_minimizer", table.n_tasks)};
  Watch watch(interrupted);
  try {
    const py::gil_scoped_release release;
    aruba_fast::best_in_hindsight(table, options, watch, outputs);
  } catch (const Interrupted&) {
    throw py::error_already_set();
  }
}

void regret_upper_bound(const std::string& rule, py::handle theta_star, py::handle phi,
                        py::handle grad_sq, py::handle rate, py::handle second, py::handle n_rounds,
                        double gradient_weight, double diameter, py::handle value, py::handle d_phi,
                        py::handle d_rate) {
  constexpr const char* function = "regret_upper_bound";
  const auto found = std::find(std::begin(kBoundNames), std::end(kBoundNames), rule);
  if (found == std::end(kBoundNames))
    refuse(function, "`rule`", "be one that has a bound", "'" + rule + "'");
  Arrays arrays(function);
  const Array optimum = arrays.one(theta_star, "theta_star", Access::kRead);
  if (optimum.n_dimensions != 2)
    refuse(function, optimum.quoted(), "have a row for each task", optimum.shape_text());
  const std::int64_t n_tasks = optimum.shape[0], n = optimum.shape[1];
  BoundCall call{};
  const auto input = [&](const char* name, py::handle object,
                         std::initializer_list<std::int64_t> shape) {
    return arrays.doubles(object, name, shape);
  };
  const auto number_or_array = [&](const char* name, py::handle object, double& one) {
    if (!is_number(object)) return static_cast<const double*>(input(name, object, {n}));
    one = number(function, name, object);
    return static_cast<const double*>(nullptr);
  };
  call.theta_star = input("theta_star", theta_star, {n_tasks, n});
  const bool one_phi = arrays.one(phi, "phi", Access::kRead).n_dimensions == 1;
  call.phi = one_phi ? input("phi", phi, {n}) : input("phi", phi, {n_tasks, n});
  call.phi_stride = one_phi ? 0 : n;
  call.grad_sq = input("grad_sq", grad_sq, {n_tasks, n});
  call.rates = number_or_array("rate", rate, call.rate);
  call.seconds = number_or_array("second", second, call.second);
  call.n_rounds = n_rounds.is_none() ? nullptr : input("n_rounds", n_rounds, {n_tasks});
  call.gradient_weight = gradient_weight;
  call.diameter = diameter;
  call.n = n;
  call.value = input("value", value, {n_tasks});
  call.d_phi = d_phi.is_none() ? nullptr : input("d_phi", d_phi, {n_tasks, n});
  if (!d_rate.is_none())
    call.d_rate =
        call.rates ? input("d_rate", d_rate, {n_tasks, n}) : input("d_rate", d_rate, {n_tasks});
  const py::gil_scoped_release release;
  aruba_fast::regret_upper_bound(static_cast<BoundRule>(found - kBoundNames), call, n_tasks);
}

}  // namespace

void bind_theory(py::module_& module) {
  module.def("best_in_hindsight", best_in_hindsight, py::arg("table"), py::arg("outputs"),
             py::kw_only(), py::arg("loss"), py::arg("n_classes"), py::arg("batch_size"),
             py::arg("n_epochs"), py::arg("radius"), py::arg("regularization"),
             py::arg("tolerance"),
             "The least loss of every task, into theta_star, loss, gap and no_minimizer.");
  module.def("regret_upper_bound", regret_upper_bound, py::kw_only(), py::arg("rule"),
             py::arg("theta_star"), py::arg("phi"), py::arg("grad_sq"), py::arg("rate"),
             py::arg("second"), py::arg("n_rounds"), py::arg("gradient_weight"),
             py::arg("diameter"), py::arg("value"), py::arg("d_phi"), py::arg("d_rate"),
             "The bound on the regret of every task, into the output arrays.");
}

}  // namespace aruba_fast::python
