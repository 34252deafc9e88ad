// run_tasks and meta_train: what run.py stands on.
#include "bindings.h"
#include "meta_arguments.h"
#include "ops_sparse.h"
#include "task_arguments.h"

namespace aruba_fast::python {
namespace {

void run_tasks(const py::tuple& table, py::handle phi, const py::tuple& rule,
               const py::tuple& options, const py::tuple& outputs) {
  Arrays arrays("run_tasks");
  const RunArguments run(arrays, table, phi, rule, options, outputs);
  require_rows(arrays.function(), run.table);
  require_in_ball(arrays.function(), run.phi, run.options.radius);
  Watch watch(interrupted);
  {
    const py::gil_scoped_release release;
    if (run.table.rows.columns)
      run_sparse_tasks(run.table, run.options, run.rule, run.phi.data, run.phi_stride(),
                       run.outputs, watch);
    else
      TaskEngine(run.table, run.options, watch)
          .run(run.rule, run.phi.data, run.phi_stride(), 0, run.table.n_tasks, run.outputs);
  }
  if (watch.stop) throw py::error_already_set();
}

void meta_train(const py::tuple& table, py::handle order, PyMetaState& state,
                const py::tuple& options, const py::tuple& training, const py::tuple& outputs) {
  Arrays arrays("meta_train");
  TrainingArguments call(arrays, table, order, state.state(), options, training, outputs);
  require_rows(arrays.function(), call.table);
  const std::int64_t n_runs = static_cast<std::int64_t>(py::len(order));
  for (std::int64_t i = 0; i < n_runs; ++i)
    if (call.table.order[i] < 0 || call.table.order[i] >= call.table.n_tasks)
      refuse(arrays.function(), "`order`", "hold task numbers", std::to_string(call.table.order[i]),
             "0 to " + std::to_string(call.table.n_tasks - 1));
  call.table.n_tasks = n_runs;
  call.training.lock = &state.lock();
  call.training.settle = &state.settle();
  Watch watch(interrupted);
  try {
    const py::gil_scoped_release release;
    aruba_fast::meta_train(call.table, call.options, state.state(), call.training, watch);
  } catch (const Interrupted&) {
    throw py::error_already_set();
  }
}

void check_labels(const std::string& function, py::handle y, const std::string& loss,
                  std::int64_t n_classes) {
  Arrays arrays(function.c_str());
  const Array labels = arrays.one(y, "y", Access::kRead);
  const Loss kind = loss_named(arrays.function(), loss);
  const py::gil_scoped_release release;
  require_labels(arrays.function(), labels, kind, n_classes);
}

}  // namespace

void bind_tasks(py::module_& module) {
  bind_task_functions(module, run_tasks, meta_train, check_labels);
  module.def(
      "losses",
      [] {
        py::dict has_classes;
        for (const LossFacts& facts : kLossFacts) has_classes[facts.name] = facts.has_classes;
        return has_classes;
      },
      "The names of the losses, and whether they have a score for each class.");
}

}  // namespace aruba_fast::python
