// Least losses in hindsight: what theory/hindsight.py stands on.
#include "bindings.h"
#include "ops_hindsight.h"
#include "task_table.h"

namespace aruba_fast::python {
namespace {

void best_in_hindsight(py::handle x, py::handle y, py::handle starts, py::handle stops,
                       const std::string& loss, std::int64_t n_classes, std::int64_t batch_size,
                       std::int64_t n_epochs, double radius, double regularization,
                       double tolerance, py::handle theta_star, py::handle loss_out, py::handle gap,
                       py::handle no_minimizer) {
  constexpr const char* function = "best_in_hindsight";
  const TaskTable table = table_of(function, x, y, starts, stops);
  const HindsightOptions options{loss_named(function, loss),
                                 n_classes,
                                 batch_size,
                                 n_epochs,
                                 radius,
                                 regularization,
                                 tolerance};
  if (n_classes < 1 || batch_size < 1 || n_epochs < 1 || !(radius >= 0) || !(regularization >= 0) ||
      !(tolerance > 0))
    refuse(function, "its options", "be in range", "values that its caller should have refused");
  const py::array_t<std::uint8_t, py::array::c_style> flags =
      py::reinterpret_borrow<py::object>(no_minimizer);
  if (flags.size() != table.n_tasks)
    refuse(function, "`no_minimizer`", "have an entry for each task", std::to_string(flags.size()),
           std::to_string(table.n_tasks));
  const auto output = [&](const char* name, py::handle object,
                          std::initializer_list<std::int64_t> shape) {
    return static_cast<double*>(exact(function, name, object, Type::kFloat64, shape).data);
  };
  const HindsightOutputs outputs{
      output("theta_star", theta_star, {table.n_tasks, n_classes * table.n_features}),
      output("loss_out", loss_out, {table.n_tasks}), output("gap", gap, {table.n_tasks}),
      const_cast<std::uint8_t*>(flags.data())};
  Watch watch(interrupted);
  try {
    const py::gil_scoped_release release;
    aruba_fast::best_in_hindsight(table, options, watch, outputs);
  } catch (const Interrupted&) {
    throw py::error_already_set();
  }
}

}  // namespace

void bind_theory(py::module_& module) {
  module.def("best_in_hindsight", best_in_hindsight, py::arg("x"), py::arg("y"), py::arg("starts"),
             py::arg("stops"), py::arg("loss"), py::arg("n_classes"), py::arg("batch_size"),
             py::arg("n_epochs"), py::arg("radius"), py::arg("regularization"),
             py::arg("tolerance"), py::arg("theta_star"), py::arg("loss_out"), py::arg("gap"),
             py::arg("no_minimizer"), "The least loss of every task, into the output arrays.");
}

}  // namespace aruba_fast::python
