// run_tasks and meta_train on the arrays of a CUDA device.
#include "cuda/ops_tasks.h"
#include "cuda_bindings.h"
#include "device_arrays.h"
#include "meta_arguments.h"
#include "task_arguments.h"

namespace aruba_fast::python {
namespace {

// Offsets are in device memory, checked before they went there; phi is not tested against the ball
// of the radius, which would need a synchronization.
void run_tasks(py::handle x, py::handle y, py::handle starts, py::handle stops, py::handle phi,
               const std::string& rule, py::handle rate, py::handle damping,
               const std::string& loss, std::int64_t batch_size, std::int64_t n_epochs,
               py::handle radius, py::handle theta_hat, py::handle grad_sq, py::handle theta_bar,
               py::handle loss_out) {
  DeviceArrays arrays("run_tasks");
  const RunArguments run(arrays, x, y, starts, stops, phi, rule, rate, damping, loss, batch_size,
                         n_epochs, radius, theta_hat, grad_sq, theta_bar, loss_out);
  void* workspace =
      arrays.workspace(cuda::run_tasks_workspace_bytes(run.table, run.options, run.table.n_tasks));
  cuda::run_tasks(run.table, run.options, run.rule, run.phi.data, run.phi_stride(), 0,
                  run.table.n_tasks, run.outputs, workspace, arrays.stream());
  arrays.finished();
}

void meta_train(py::handle x, py::handle y, py::handle starts, py::handle stops, py::handle order,
                PyMetaState& state, const std::string& loss, std::int64_t batch_size,
                std::int64_t n_epochs, py::handle radius, std::int64_t round_size,
                bool use_row_weights, py::handle meta_step, py::handle progress,
                py::handle loss_out, py::handle skipped_out) {
  DeviceArrays arrays("meta_train");
  TrainingArguments call(arrays, x, y, starts, stops, order, state.state(), loss, batch_size,
                         n_epochs, radius, round_size, use_row_weights, meta_step, progress,
                         loss_out, skipped_out);
  arrays.one(state.initialization(), "learner", Access::kModify);
  call.table.n_tasks = static_cast<std::int64_t>(py::len(order));
  void* workspace = arrays.workspace(cuda::meta_train_workspace_bytes(
      call.table, call.options, state.state().n, call.training.round_size));
  call.training.lock = &state.lock();
  Watch watch(interrupted);
  try {
    const py::gil_scoped_release release;
    cuda::meta_train(call.table, call.options, state.state(), call.training, watch, workspace,
                     arrays.stream());
  } catch (const Interrupted&) {
    throw py::error_already_set();
  }
  arrays.finished();
}

void check_labels(const std::string& function, py::handle y, const std::string& loss,
                  std::int64_t n_classes) {
  DeviceArrays arrays(function.c_str());
  const Array labels = arrays.one(y, "y", Access::kRead);
  const Loss kind = loss_named(arrays.function(), loss);
  void* workspace = arrays.workspace(sizeof(std::int64_t));
  const py::gil_scoped_release release;
  cuda::require_labels(arrays.function(), labels, kind, n_classes, workspace, arrays.stream());
}

}  // namespace

void bind_cuda_tasks(py::module_& module) {
  bind_task_functions(module, run_tasks, meta_train, check_labels);
}

}  // namespace aruba_fast::python
