// What run_tasks and meta_train are told, read the same way wherever the arrays live.
#pragma once

#include "arrays.h"
#include "ops_tasks.h"

namespace aruba_fast::python {

Loss loss_named(const char* function, const std::string& name);

// starts and stops live where x does; whether they lie in the table is not looked at here.
TaskTable table_of(Arrays& arrays, py::handle x, py::handle y, py::handle starts, py::handle stops);

TaskOptions options_of(const char* function, const TaskTable& table, const std::string& loss,
                       std::int64_t n_parameters, std::int64_t batch_size, std::int64_t n_epochs,
                       py::handle radius);

// Ctrl-C, seen from native code: true when a signal handler raised.
bool interrupted();

// One call of run_tasks.
struct RunArguments {
  TaskTable table;
  Array phi;
  TaskRuleArguments rule;
  TaskOptions options;
  TaskOutputs outputs;

  RunArguments(Arrays& arrays, py::handle x, py::handle y, py::handle starts, py::handle stops,
               py::handle phi, const std::string& rule, py::handle rate, py::handle damping,
               const std::string& loss, std::int64_t batch_size, std::int64_t n_epochs,
               py::handle radius, py::handle theta_hat, py::handle grad_sq, py::handle theta_bar,
               py::handle loss_out);
  std::int64_t phi_stride() const { return phi.n_dimensions == 2 ? phi.shape[1] : 0; }
};

// One call of meta_train: the table in the order given, and what to do between rounds.
struct TrainingArguments {
  TaskTable table;
  TaskOptions options;
  MetaTraining training;

  TrainingArguments(Arrays& arrays, py::handle x, py::handle y, py::handle starts, py::handle stops,
                    py::handle order, const MetaState& learner, const std::string& loss,
                    std::int64_t batch_size, std::int64_t n_epochs, py::handle radius,
                    std::int64_t round_size, bool use_row_weights, py::handle meta_step,
                    py::handle progress, py::handle loss_out, py::handle skipped_out);
};

// The functions run_tasks, meta_train and check_labels of an extension module, with the signatures
// that run.py and train.py rely on.
template <class RunTasks, class MetaTrain, class CheckLabels>
void bind_task_functions(py::module_& module, RunTasks run_tasks, MetaTrain meta_train,
                         CheckLabels check_labels) {
  module.def("check_labels", check_labels, py::arg("function"), py::arg("y"), py::arg("loss"),
             py::arg("n_classes"), "Refuses labels outside the domain of the loss.");
  module.def("run_tasks", run_tasks, py::arg("x"), py::arg("y"), py::arg("starts"),
             py::arg("stops"), py::arg("phi"), py::arg("rule"), py::arg("rate"), py::arg("damping"),
             py::arg("loss"), py::arg("batch_size"), py::arg("n_epochs"), py::arg("radius"),
             py::arg("theta_hat"), py::arg("grad_sq"), py::arg("theta_bar"), py::arg("loss_out"),
             "Runs every task whole, from phi, into the output arrays.");
  module.def("meta_train", meta_train, py::arg("x"), py::arg("y"), py::arg("starts"),
             py::arg("stops"), py::arg("order"), py::arg("state"), py::arg("loss"),
             py::arg("batch_size"), py::arg("n_epochs"), py::arg("radius"), py::arg("round_size"),
             py::arg("use_row_weights"), py::arg("meta_step"), py::arg("progress"),
             py::arg("loss_out"), py::arg("skipped_out"),
             "Runs the tasks in this order, a meta-update after every round.");
}

}  // namespace aruba_fast::python
