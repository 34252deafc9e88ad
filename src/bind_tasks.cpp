// run_tasks and meta_train: what run.py stands on.
#include <cmath>

#include "arrays.h"
#include "bindings.h"
#include "meta_state.h"
#include "ops_tasks.h"
#include "task_table.h"

namespace aruba_fast::python {
Loss loss_named(const char* function, const std::string& name) {
  constexpr std::pair<const char*, Loss> kLosses[] = {
      {"squared", Loss::kSquared},   {"absolute", Loss::kAbsolute}, {"huber", Loss::kHuber},
      {"logistic", Loss::kLogistic}, {"hinge", Loss::kHinge},       {"softmax", Loss::kSoftmax}};
  std::string names;
  for (const auto& [known, loss] : kLosses) {
    if (name == known) return loss;
    names += (names.empty() ? "" : ", ") + std::string(known);
  }
  refuse(function, "`loss`", "be the name of a loss", "'" + name + "'", "one of " + names);
}

TaskTable table_of(const char* function, py::handle x, py::handle y, py::handle starts,
                   py::handle stops) {
  Arrays arrays(function);
  const Array features = arrays.one(x, "x", Access::kRead);
  if (features.type != Type::kFloat32 && features.type != Type::kFloat64)
    refuse<TypeError>(function, features.quoted(), "be float32 or float64", name_of(features.type));
  if (features.n_dimensions != 2 || features.shape[1] == 0)
    refuse(function, features.quoted(), "be a table of rows", features.shape_text());
  TaskTable table{};
  table.type = features.type;
  table.n_rows = features.shape[0];
  table.n_features = features.shape[1];
  table.x = exact(function, "x", x, table.type, {table.n_rows, table.n_features}).data;
  table.y = exact(function, "y", y, table.type, {table.n_rows}).data;
  table.n_tasks = py::len(starts);
  table.starts = indices(function, "starts", starts, table.n_tasks);
  table.stops = indices(function, "stops", stops, table.n_tasks);
  require_rows(function, table);
  return table;
}

bool interrupted() {
  const py::gil_scoped_acquire gil;
  return PyErr_CheckSignals() != 0;
}

namespace {

TaskRule rule_named(const char* function, const std::string& name) {
  if (name == "ogd") return kOgdTask;
  if (name == "adagrad") return kAdaGradTask;
  if (name == "aruba++") return kArubaTask;
  if (name == "eg") return kEgTask;
  refuse(function, "`rule`", "be the name of a rule", "'" + name + "'",
         "ogd, adagrad, aruba++ or eg");
}

TaskOptions options_of(const char* function, const TaskTable& table, const std::string& loss,
                       std::int64_t n_parameters, std::int64_t batch_size, std::int64_t n_epochs,
                       py::handle radius) {
  TaskOptions options{loss_named(function, loss), 1, batch_size, n_epochs, 0};
  if (options.loss == Loss::kSoftmax) options.n_outputs = n_parameters / table.n_features;
  const bool softmax = options.loss == Loss::kSoftmax;
  if (n_parameters != options.n_outputs * table.n_features || (softmax && options.n_outputs < 2))
    refuse(function, "`phi`",
           softmax ? "have n_classes * n_features entries, n_classes >= 2"
                   : "have an entry for each feature",
           std::to_string(n_parameters),
           (softmax ? "a multiple of " : "") + std::to_string(table.n_features));
  if (batch_size < 1) refuse(function, "`batch_size`", "be at least 1", std::to_string(batch_size));
  if (n_epochs < 1) refuse(function, "`n_epochs`", "be at least 1", std::to_string(n_epochs));
  if (!radius.is_none()) {
    options.radius = number(function, "radius", radius);
    if (!(options.radius > 0) || std::isinf(options.radius))
      refuse(function, "`radius`", "be finite and positive, or None",
             py::str(py::float_(options.radius)));
  }
  return options;
}

// A rate or damping: a number, or an entry for each parameter.
const void* parameter_array(const char* function, const char* name, py::handle object, Type type,
                            std::int64_t n, double& value) {
  if (object.is_none()) return nullptr;
  if (!is_number(object)) return exact(function, name, object, type, {n}).data;
  value = number(function, name, object);
  return nullptr;
}

void run_tasks(py::handle x, py::handle y, py::handle starts, py::handle stops, py::handle phi,
               const std::string& rule, py::handle rate, py::handle damping,
               const std::string& loss, std::int64_t batch_size, std::int64_t n_epochs,
               py::handle radius, py::handle theta_hat, py::handle grad_sq, py::handle theta_bar,
               py::handle loss_out) {
  constexpr const char* function = "run_tasks";
  const TaskTable table = table_of(function, x, y, starts, stops);
  Arrays arrays(function);
  const Array start = arrays.one(phi, "phi", Access::kRead);
  if (start.type != table.type)
    refuse<TypeError>(function, start.quoted(), "have the type of `x`", name_of(start.type),
                      name_of(table.type));
  if (start.n_dimensions < 1 || start.n_dimensions > 2 ||
      (start.n_dimensions == 2 && start.shape[0] != table.n_tasks))
    refuse(function, start.quoted(), "be one vector, or one for each task", start.shape_text(),
           std::to_string(table.n_tasks) + " rows");
  const std::int64_t n = start.shape[start.n_dimensions - 1];
  TaskRuleArguments arguments{rule_named(function, rule), nullptr, nullptr, 0, 1};
  arguments.rates = parameter_array(function, "rate", rate, table.type, n, arguments.rate);
  arguments.dampings =
      parameter_array(function, "damping", damping, table.type, n, arguments.damping);
  const TaskOptions options = options_of(function, table, loss, n, batch_size, n_epochs, radius);
  if (arguments.rule == kEgTask && (options.n_outputs > 1 || options.radius > 0))
    refuse(function, "`rule`", "be one that knows classes and balls", "'eg'");
  require_in_ball(function, start, options.radius);
  const auto output = [&](const char* name, py::handle object) {
    return exact(function, name, object, table.type, {table.n_tasks, n}).data;
  };
  const TaskOutputs outputs{
      output("theta_hat", theta_hat), output("grad_sq", grad_sq),
      theta_bar.is_none() ? nullptr : output("theta_bar", theta_bar),
      static_cast<double*>(
          exact(function, "loss_out", loss_out, Type::kFloat64, {table.n_tasks}).data)};
  Watch watch(interrupted);
  {
    const py::gil_scoped_release release;
    TaskEngine(table, options, watch)
        .run(arguments, start.data, start.n_dimensions == 2 ? n : 0, 0, table.n_tasks, outputs);
  }
  if (watch.stop) throw py::error_already_set();
}

void meta_train(py::handle x, py::handle y, py::handle starts, py::handle stops, py::handle order,
                PyMetaState& state, const std::string& loss, std::int64_t batch_size,
                std::int64_t n_epochs, py::handle radius, std::int64_t round_size,
                bool use_row_weights, py::handle meta_step, py::handle progress,
                py::handle loss_out, py::handle skipped_out) {
  constexpr const char* function = "meta_train";
  TaskTable table = table_of(function, x, y, starts, stops);
  MetaState& learner = state.state();
  if (learner.type != table.type)
    refuse<TypeError>(function, "`x`", "have the type of the learner's `phi`", name_of(table.type),
                      name_of(learner.type));
  const TaskOptions options =
      options_of(function, table, loss, learner.n, batch_size, n_epochs, radius);
  if (round_size < 1) refuse(function, "`round_size`", "be at least 1", std::to_string(round_size));
  const std::int64_t n_runs = py::len(order);
  table.order = indices(function, "order", order, n_runs);
  for (std::int64_t i = 0; i < n_runs; ++i)
    if (table.order[i] < 0 || table.order[i] >= table.n_tasks)
      refuse(function, "`order`", "hold task numbers", std::to_string(table.order[i]),
             "0 to " + std::to_string(table.n_tasks - 1));
  table.n_tasks = n_runs;
  double step = 0;
  const bool callable = PyCallable_Check(meta_step.ptr()) != 0;
  const double* chosen = callable ? nullptr : optional_meta_step(meta_step, step);
  const py::array_t<std::uint8_t, py::array::c_style> skipped =
      py::reinterpret_borrow<py::object>(skipped_out);
  if (skipped.size() != n_runs)
    refuse(function, "`skipped_out`", "have an entry for each run", std::to_string(skipped.size()),
           std::to_string(n_runs));
  MetaTraining training{
      round_size,
      use_row_weights,
      nullptr,
      nullptr,
      static_cast<double*>(exact(function, "loss_out", loss_out, Type::kFloat64, {n_runs}).data),
      const_cast<std::uint8_t*>(skipped.data())};
  if (chosen) training.meta_step = [step](std::int64_t) { return step; };
  if (callable)
    training.meta_step = [meta_step](std::int64_t n_tasks) {
      const py::gil_scoped_acquire gil;
      double value = 0;
      return *optional_meta_step(meta_step(n_tasks), value);
    };
  if (!progress.is_none())
    training.progress = [progress](std::int64_t done, std::int64_t total) {
      const py::gil_scoped_acquire gil;
      progress(done, total);
    };
  Watch watch(interrupted);
  try {
    const py::gil_scoped_release release;
    aruba_fast::meta_train(table, options, learner, training, watch);
  } catch (const Interrupted&) {
    throw py::error_already_set();
  }
}

void check_labels(py::handle y, const std::string& loss, std::int64_t n_classes) {
  Arrays arrays("run_tasks");
  const Array labels = arrays.one(y, "y", Access::kRead);
  const Loss kind = loss_named("run_tasks", loss);
  const py::gil_scoped_release release;
  require_labels("run_tasks", labels, kind, n_classes);
}

}  // namespace

void bind_tasks(py::module_& module) {
  module.def("check_labels", check_labels, py::arg("y"), py::arg("loss"), py::arg("n_classes"),
             "Refuses labels outside the domain of the loss.");
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
