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
void run_tasks(const py::tuple& table, py::handle phi, const py::tuple& rule,
               const py::tuple& options, const py::tuple& outputs) {
  DeviceArrays arrays("run_tasks");
  const RunArguments run(arrays, table, phi, rule, options, outputs);
  void* workspace = arrays.workspace(
      cuda::run_tasks_workspace_bytes(run.table, run.options, run.rule.rule, run.table.n_tasks));
  arrays.enqueue([&](const cuda::Stream& stream) {
    cuda::run_tasks({.table = run.table,
                     .options = run.options,
                     .rule = run.rule,
                     .phi = run.phi.data,
                     .phi_stride = run.phi_stride(),
                     .first = 0,
                     .n_tasks = run.table.n_tasks,
                     .outputs = run.outputs},
                    workspace, stream);
  });
}

void meta_train(const py::tuple& table, py::handle order, PyMetaState& state,
                const py::tuple& options, const py::tuple& training, const py::tuple& outputs) {
  DeviceArrays arrays("meta_train");
  TrainingArguments call(arrays, table, order, state.state(), options, training, outputs);
  arrays.one(state.initialization(), "learner", Access::kModify);
  arrays.keep(state.arrays());
  call.table.n_tasks = static_cast<std::int64_t>(py::len(order));
  void* workspace = arrays.workspace(cuda::meta_train_workspace_bytes(
      call.table, call.options, state.state(), call.training.round_size));
  call.training.lock = &state.lock();
  Watch watch(interrupted);
  try {
    arrays.enqueue([&](const cuda::Stream& stream) {
      const py::gil_scoped_release release;
      cuda::meta_train(call.table, call.options, state.state(), call.training, watch, workspace,
                       stream);
    });
  } catch (const Interrupted&) {
    throw py::error_already_set();
  }
}

void check_labels(const std::string& function, py::handle y, const std::string& loss,
                  std::int64_t n_classes) {
  DeviceArrays arrays(function.c_str());
  const Array labels = arrays.one(y, "y", Access::kRead);
  const Loss kind = loss_named(arrays.function(), loss);
  void* workspace = arrays.workspace(sizeof(std::int64_t));
  arrays.enqueue([&](const cuda::Stream& stream) {
    const py::gil_scoped_release release;
    cuda::require_labels(arrays.function(), labels, kind, n_classes, workspace, stream);
  });
}

}  // namespace

void bind_cuda_tasks(py::module_& module) {
  bind_task_functions(module, run_tasks, meta_train, check_labels);
}

}  // namespace aruba_fast::python
