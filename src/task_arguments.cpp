// What run_tasks and meta_train are told, read the same way wherever the arrays live.
#include "task_arguments.h"

#include <cmath>

#include "meta_arguments.h"

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

namespace {

TaskRule rule_named(const char* function, const std::string& name) {
  if (name == "ogd") return kOgdTask;
  if (name == "adagrad") return kAdaGradTask;
  if (name == "aruba++") return kArubaTask;
  if (name == "eg") return kEgTask;
  refuse(function, "`rule`", "be the name of a rule", "'" + name + "'",
         "ogd, adagrad, aruba++ or eg");
}

// A rate or damping: a number, or an entry for each parameter.
const void* parameter_array(Arrays& arrays, const char* name, py::handle object, Type type,
                            std::int64_t n, double& value) {
  if (object.is_none()) return nullptr;
  if (!is_number(object)) return arrays.exact(object, name, type, {n}).data;
  value = number(arrays.function(), name, object);
  return nullptr;
}

}  // namespace

TaskTable table_of(Arrays& arrays, py::handle x, py::handle y, py::handle starts,
                   py::handle stops) {
  const char* function = arrays.function();
  const Array features = arrays.one(x, "x", Access::kExact);
  if (features.type != Type::kFloat32 && features.type != Type::kFloat64)
    refuse<TypeError>(function, features.quoted(), "be float32 or float64", name_of(features.type));
  if (features.n_dimensions != 2 || features.shape[1] == 0)
    refuse(function, features.quoted(), "be a table of rows", features.shape_text());
  TaskTable table{};
  table.type = features.type;
  table.n_rows = features.shape[0];
  table.n_features = features.shape[1];
  table.x = features.data;
  table.y = arrays.exact(y, "y", table.type, {table.n_rows}).data;
  table.n_tasks = static_cast<std::int64_t>(py::len(starts));
  table.starts = arrays.integers<std::int64_t>(starts, "starts", table.n_tasks);
  table.stops = arrays.integers<std::int64_t>(stops, "stops", table.n_tasks);
  return table;
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
    require_within(function, "`radius`", options.radius, table.type);
  }
  return options;
}

bool interrupted() {
  const py::gil_scoped_acquire gil;
  return PyErr_CheckSignals() != 0;
}

RunArguments::RunArguments(Arrays& arrays, py::handle x, py::handle y, py::handle starts,
                           py::handle stops, py::handle phi_argument, const std::string& rule_name,
                           py::handle rate, py::handle damping, const std::string& loss,
                           std::int64_t batch_size, std::int64_t n_epochs, py::handle radius,
                           py::handle theta_hat, py::handle grad_sq, py::handle theta_bar,
                           py::handle loss_out)
    : table(table_of(arrays, x, y, starts, stops)) {
  const char* function = arrays.function();
  phi = arrays.one(phi_argument, "phi", Access::kRead);
  if (phi.type != table.type)
    refuse<TypeError>(function, phi.quoted(), "have the type of `x`", name_of(phi.type),
                      name_of(table.type));
  if (phi.n_dimensions < 1 || phi.n_dimensions > 2 ||
      (phi.n_dimensions == 2 && phi.shape[0] != table.n_tasks))
    refuse(function, phi.quoted(), "be one vector, or one for each task", phi.shape_text(),
           std::to_string(table.n_tasks) + " rows");
  const std::int64_t n = phi.shape[phi.n_dimensions - 1];
  rule = {rule_named(function, rule_name), nullptr, nullptr, 0, 1};
  rule.rates = parameter_array(arrays, "rate", rate, table.type, n, rule.rate);
  rule.dampings = parameter_array(arrays, "damping", damping, table.type, n, rule.damping);
  require_within(function, "`rule`", rule.rate, table.type, "have a `learning_rate`");
  require_within(function, "`rule`", rule.damping, table.type, "have a `delta`");
  options = options_of(function, table, loss, n, batch_size, n_epochs, radius);
  if (rule.rule == kEgTask && (options.n_outputs > 1 || options.radius > 0))
    refuse(function, "`rule`", "be one that knows classes and balls", "'eg'");
  const auto output = [&](const char* name, py::handle object) {
    return arrays.exact(object, name, table.type, {table.n_tasks, n}).data;
  };
  outputs = {output("theta_hat", theta_hat), output("grad_sq", grad_sq),
             theta_bar.is_none() ? nullptr : output("theta_bar", theta_bar),
             arrays.doubles(loss_out, "loss_out", {table.n_tasks})};
}

TrainingArguments::TrainingArguments(Arrays& arrays, py::handle x, py::handle y, py::handle starts,
                                     py::handle stops, py::handle order, const MetaState& learner,
                                     const std::string& loss, std::int64_t batch_size,
                                     std::int64_t n_epochs, py::handle radius,
                                     std::int64_t round_size, bool use_row_weights,
                                     py::handle meta_step, py::handle progress, py::handle loss_out,
                                     py::handle skipped_out)
    : table(table_of(arrays, x, y, starts, stops)) {
  const char* function = arrays.function();
  if (learner.type != table.type)
    refuse<TypeError>(function, "`x`", "have the type of the learner's `phi`", name_of(table.type),
                      name_of(learner.type));
  options = options_of(function, table, loss, learner.n, batch_size, n_epochs, radius);
  if (round_size < 1) refuse(function, "`round_size`", "be at least 1", std::to_string(round_size));
  const auto n_runs = static_cast<std::int64_t>(py::len(order));
  table.order = arrays.integers<std::int64_t>(order, "order", n_runs);
  double step = 0;
  const bool callable = PyCallable_Check(meta_step.ptr()) != 0;
  const double* chosen = callable ? nullptr : optional_meta_step(function, meta_step, step);
  training = {round_size,
              use_row_weights,
              nullptr,
              nullptr,
              arrays.doubles(loss_out, "loss_out", {n_runs}),
              arrays.integers<std::uint8_t>(skipped_out, "skipped_out", n_runs)};
  if (chosen) training.meta_step = [step](std::int64_t) { return step; };
  if (callable)
    training.meta_step = [function, meta_step](std::int64_t n_tasks) -> std::optional<double> {
      const py::gil_scoped_acquire gil;
      double value = 0;
      if (!optional_meta_step(function, meta_step(n_tasks), value)) return std::nullopt;
      return value;
    };
  if (!progress.is_none())
    training.progress = [progress](std::int64_t done, std::int64_t total) {
      const py::gil_scoped_acquire gil;
      progress(done, total);
    };
}

}  // namespace aruba_fast::python
