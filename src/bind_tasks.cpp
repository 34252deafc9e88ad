// run_tasks and meta_train: what run.py stands on.
#include "bindings.h"
#include "meta_arguments.h"
#include "task_arguments.h"

namespace aruba_fast::python {
namespace {

void run_tasks(py::handle x, py::handle y, py::handle starts, py::handle stops, py::handle phi,
               const std::string& rule, py::handle rate, py::handle damping,
               const std::string& loss, std::int64_t batch_size, std::int64_t n_epochs,
               py::handle radius, py::handle theta_hat, py::handle grad_sq, py::handle theta_bar,
               py::handle loss_out) {
  Arrays arrays("run_tasks");
  const RunArguments run(arrays, x, y, starts, stops, phi, rule, rate, damping, loss, batch_size,
                         n_epochs, radius, theta_hat, grad_sq, theta_bar, loss_out);
  require_rows(arrays.function(), run.table);
  require_in_ball(arrays.function(), run.phi, run.options.radius);
  Watch watch(interrupted);
  {
    const py::gil_scoped_release release;
    TaskEngine(run.table, run.options, watch)
        .run(run.rule, run.phi.data, run.phi_stride(), 0, run.table.n_tasks, run.outputs);
  }
  if (watch.stop) throw py::error_already_set();
}

void meta_train(py::handle x, py::handle y, py::handle starts, py::handle stops, py::handle order,
                PyMetaState& state, const std::string& loss, std::int64_t batch_size,
                std::int64_t n_epochs, py::handle radius, std::int64_t round_size,
                bool use_row_weights, py::handle meta_step, py::handle progress,
                py::handle loss_out, py::handle skipped_out) {
  Arrays arrays("meta_train");
  TrainingArguments call(arrays, x, y, starts, stops, order, state.state(), loss, batch_size,
                         n_epochs, radius, round_size, use_row_weights, meta_step, progress,
                         loss_out, skipped_out);
  require_rows(arrays.function(), call.table);
  const std::int64_t n_runs = static_cast<std::int64_t>(py::len(order));
  for (std::int64_t i = 0; i < n_runs; ++i)
    if (call.table.order[i] < 0 || call.table.order[i] >= call.table.n_tasks)
      refuse(arrays.function(), "`order`", "hold task numbers", std::to_string(call.table.order[i]),
             "0 to " + std::to_string(call.table.n_tasks - 1));
  call.table.n_tasks = n_runs;
  call.training.lock = &state.lock();
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
}

}  // namespace aruba_fast::python
