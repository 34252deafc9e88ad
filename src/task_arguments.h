// What run_tasks and meta_train are told, read the same way wherever the arrays live.
#pragma once

#include "arrays.h"
#include "ops_tasks.h"

namespace aruba_fast::python {

// What the package's own code hands over comes as tuples, in the order of these names.
//   table    x, y, starts, stops, row_weights or None, what uint8 features are multiplied by or
//            None: starts and stops live where x does, and whether they lie in the table is not
//            looked at here; x is of rows, also in bfloat16, float16 or uint8, or in host memory
//            the values of sparse ones, after which come where each row begins and the columns, as
//            read_csr made them, and n_features
//   rule     its name, and its parameters
//   options  loss, batch_size, n_epochs, radius
TaskTable table_of(Arrays& arrays, const py::tuple& table);

// Ctrl-C, seen from native code: true when a signal handler raised.
bool interrupted();

// One call of run_tasks.
struct RunArguments {
  TaskTable table;
  Array phi;
  TaskRuleArguments rule;
  TaskOptions options;
  TaskOutputs outputs;

  // outputs: theta_hat, grad_sq, theta_bar or None, loss; in host memory the first two may be None.
  RunArguments(Arrays& arrays, const py::tuple& table, py::handle phi, const py::tuple& rule,
               const py::tuple& options, const py::tuple& outputs);
  std::int64_t phi_stride() const { return phi.n_dimensions == 2 ? phi.shape[1] : 0; }
};

// One call of meta_train: the table in the order given, and what to do between rounds.
struct TrainingArguments {
  TaskTable table;
  TaskOptions options;
  MetaTraining training;

  // training: round_size, weigh_by_rows, meta_step, progress, None or the visits before this pass
  // and in all, where phi's steps fall over them, and how far the proximal rule goes, zero for
  // steps; outputs: loss, skipped.
  TrainingArguments(Arrays& arrays, const py::tuple& table, py::handle order,
                    const MetaState& learner, const py::tuple& options, const py::tuple& training,
                    const py::tuple& outputs);
};

// The functions run_tasks, meta_train and check_labels of an extension module, with the signatures
// that run.py and train.py rely on.
template <class RunTasks, class MetaTrain, class CheckLabels>
void bind_task_functions(py::module_& module, RunTasks run_tasks, MetaTrain meta_train,
                         CheckLabels check_labels) {
  module.def("check_labels", check_labels, py::arg("function"), py::arg("y"), py::arg("loss"),
             py::arg("n_classes"), "Refuses labels outside the domain of the loss.");
  module.def("run_tasks", run_tasks, py::arg("table"), py::arg("phi"), py::arg("rule"),
             py::arg("options"), py::arg("outputs"),
             "Runs every task whole, from phi, into the output arrays.");
  module.def("meta_train", meta_train, py::arg("table"), py::arg("order"), py::arg("state"),
             py::arg("options"), py::arg("training"), py::arg("outputs"),
             "Runs the tasks in this order, a meta-update after every round.");
}

}  // namespace aruba_fast::python
