// What run_tasks and meta_train are told, read the same way wherever the arrays live.
#include "task_arguments.h"

#include <tuple>
#include <utility>

#include "meta_arguments.h"

namespace aruba_fast::python {

namespace {

// The name of a rule, and its parameters: numbers, or an entry for each of theta.
TaskRuleArguments rule_of(Arrays& arrays, const py::tuple& given, Type type, std::int64_t n) {
  const char* function = arrays.function();
  TaskRuleArguments rule{rule_named(function, given[0].cast<std::string>()), {}, {}};
  const std::span<const Parameter> parameters = facts_of(rule.rule).parameters;
  if (given.size() != parameters.size() + 1)
    refuse(function, "`rule`", "have its parameters", std::to_string(given.size() - 1),
           std::to_string(parameters.size()));
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const py::handle object = given[i + 1];
    const char* name = parameters[i].name;
    if (!is_number(object)) {
      rule.arrays[i] = arrays.exact(object, name, type, {n}).data;
      continue;
    }
    rule.numbers[i] = number(function, name, object);
    require_within(function, "`rule`", rule.numbers[i], type, "have a `" + std::string(name) + "`");
  }
  return rule;
}

}  // namespace

namespace {

bool has_sparse_rows(const py::tuple& given) { return given.size() > 6; }

void read_tasks(Arrays& arrays, const py::tuple& given, TaskTable& table) {
  const py::handle y = given[1], starts = given[2], stops = given[3];
  table.y = arrays.exact(y, "y", table.type, {table.n_rows}).data;
  table.n_tasks = static_cast<std::int64_t>(py::len(starts));
  table.starts = arrays.integers<std::int64_t>(starts, "starts", table.n_tasks);
  table.stops = arrays.integers<std::int64_t>(stops, "stops", table.n_tasks);
  if (!given[4].is_none())
    table.row_weights = arrays.doubles(given[4], "row_weights", {table.n_rows});
}

// `table` has n_entries values, and their type, as its x.
TaskTable sparse_table_of(Arrays& arrays, const py::tuple& given, TaskTable table,
                          std::int64_t n_entries) {
  table.n_rows = static_cast<std::int64_t>(py::len(given[6])) - 1;
  table.n_features = given[8].cast<std::int64_t>();
  table.rows = {arrays.integers<std::int64_t>(given[6], "indptr", table.n_rows + 1),
                arrays.integers<std::int32_t>(given[7], "indices", n_entries),
                std::exchange(table.x, nullptr)};
  read_tasks(arrays, given, table);
  return table;
}

// Of bytes, which are what no other call reads.
TaskTable table_of_bytes(Arrays& arrays, const py::tuple& given) {
  TaskTable table{};
  table.type = Type::kFloat32;
  table.widening = {Narrow::kUInt8, given[5].cast<float>()};
  if (has_sparse_rows(given)) {
    const auto n_entries = static_cast<std::int64_t>(py::len(given[0]));
    table.x = arrays.integers<std::uint8_t>(given[0], "x", n_entries);
    return sparse_table_of(arrays, given, table, n_entries);
  }
  std::tie(table.n_rows, table.n_features) =
      given[0].attr("shape").cast<std::tuple<std::int64_t, std::int64_t>>();
  table.x =
      arrays.integers<std::uint8_t>(given[0].attr("ravel")(), "x", table.n_rows * table.n_features);
  read_tasks(arrays, given, table);
  return table;
}

Narrow narrow_of(Type type) {
  return type == Type::kBFloat16  ? Narrow::kBFloat16
         : type == Type::kFloat16 ? Narrow::kFloat16
                                  : Narrow::kNone;
}

}  // namespace

TaskTable table_of(Arrays& arrays, const py::tuple& given) {
  const char* function = arrays.function();
  if (!given[5].is_none()) return table_of_bytes(arrays, given);
  const Array features = arrays.one(given[0], "x", Access::kExact);
  const Narrow narrow = narrow_of(features.type);
  TaskTable table{};
  table.type = narrow == Narrow::kNone ? features.type : Type::kFloat32;
  table.widening = {narrow};
  table.x = features.data;
  if (has_sparse_rows(given)) return sparse_table_of(arrays, given, table, features.size());
  if (features.n_dimensions != 2 || features.shape[1] == 0)
    refuse(function, features.quoted(), "be a table of rows", features.shape_text());
  table.n_rows = features.shape[0];
  table.n_features = features.shape[1];
  read_tasks(arrays, given, table);
  return table;
}

namespace {

// The loss, batch_size, n_epochs and radius, as run.py has checked them.
TaskOptions options_of(const char* function, const TaskTable& table, const py::tuple& given,
                       std::int64_t n_parameters) {
  TaskOptions options{.loss = loss_named(function, given[0].cast<std::string>()),
                      .n_outputs = 1,
                      .batch_size = given[1].cast<std::int64_t>(),
                      .n_epochs = given[2].cast<std::int64_t>(),
                      .radius = given[3].is_none() ? 0 : given[3].cast<double>()};
  const bool has_classes = facts_of(options.loss).has_classes;
  if (has_classes) options.n_outputs = n_parameters / table.n_features;
  if (n_parameters != options.n_outputs * table.n_features || options.n_outputs < 1 + has_classes ||
      options.batch_size < 1 || options.n_epochs < 1)
    refuse(function, "its options", "be in range", "values that its caller should have refused");
  require_within(function, "`radius`", options.radius, table.type);
  return options;
}

// A projection moves every coordinate.
void require_no_ball(const char* function, const TaskTable& table, const TaskOptions& options) {
  if (table.rows.columns && options.radius > 0)
    refuse(function, "`radius`", "be None for sparse rows", aruba_fast::text_of(options.radius));
}

}  // namespace

bool interrupted() {
  const py::gil_scoped_acquire gil;
  return PyErr_CheckSignals() != 0;
}

RunArguments::RunArguments(Arrays& arrays, const py::tuple& table_given, py::handle phi_given,
                           const py::tuple& rule_given, const py::tuple& options_given,
                           const py::tuple& outputs_given)
    : table(table_of(arrays, table_given)) {
  const char* function = arrays.function();
  phi = arrays.one(phi_given, "phi", Access::kRead);
  if (phi.type != table.type)
    refuse<TypeError>(function, phi.quoted(), "have the type of `x`", name_of(phi.type),
                      name_of(table.type));
  if (phi.n_dimensions < 1 || phi.n_dimensions > 2 ||
      (phi.n_dimensions == 2 && phi.shape[0] != table.n_tasks))
    refuse(function, phi.quoted(), "be one vector, or one for each task", phi.shape_text(),
           std::to_string(table.n_tasks) + " rows");
  const std::int64_t n = phi.shape[phi.n_dimensions - 1];
  rule = rule_of(arrays, rule_given, table.type, n);
  options = options_of(function, table, options_given, n);
  if (rule.rule == TaskRule::kExponentiatedGradient &&
      (options.n_outputs > 1 || options.radius > 0 || table.rows.columns))
    refuse(function, "`rule`", "be one that knows classes, balls and sparse rows", "'eg'");
  require_no_ball(function, table, options);
  const auto output = [&](const char* name, py::handle object) {
    return arrays.exact(object, name, table.type, {table.n_tasks, n}).data;
  };
  // In host memory the losses may be all that is wanted.
  if (arrays.on_host() && outputs_given[0].is_none()) {
    outputs = {nullptr, nullptr, nullptr,
               arrays.doubles(outputs_given[3], "loss", {table.n_tasks})};
    return;
  }
  outputs = {
      .theta_hat = output("theta_hat", outputs_given[0]),
      .grad_sq = arrays.on_host() && outputs_given[1].is_none()
                     ? nullptr
                     : output("grad_sq", outputs_given[1]),
      .theta_bar = outputs_given[2].is_none() ? nullptr : output("theta_bar", outputs_given[2]),
      .loss = arrays.doubles(outputs_given[3], "loss", {table.n_tasks})};
}

TrainingArguments::TrainingArguments(Arrays& arrays, const py::tuple& table_given, py::handle order,
                                     const MetaState& learner, const py::tuple& options_given,
                                     const py::tuple& training_given,
                                     const py::tuple& outputs_given)
    : table(table_of(arrays, table_given)) {
  const char* function = arrays.function();
  if (learner.type != table.type)
    refuse<TypeError>(function, "`x`", "have the type of the learner's `phi`", name_of(table.type),
                      name_of(learner.type));
  options = options_of(function, table, options_given, learner.n);
  require_no_ball(function, table, options);
  const auto n_runs = static_cast<std::int64_t>(py::len(order));
  table.order = arrays.integers<std::int64_t>(order, "order", n_runs);
  const py::object meta_step = training_given[2], progress = training_given[3];
  double step = 0;
  const bool callable = PyCallable_Check(meta_step.ptr()) != 0;
  const double* chosen = callable ? nullptr : optional_meta_step(function, meta_step, step);
  training = {.round_size = training_given[0].cast<std::int64_t>(),
              .weigh_by_rows = training_given[1].cast<bool>(),
              .meta_step = nullptr,
              .progress = nullptr,
              .loss = arrays.doubles(outputs_given[0], "loss", {n_runs}),
              .skipped = arrays.integers<std::uint8_t>(outputs_given[1], "skipped", n_runs)};
  if (training.round_size < 1)
    refuse(function, "`round_size`", "be at least 1", std::to_string(training.round_size));
  if (chosen) training.meta_step = [step](std::int64_t) { return step; };
  if (callable)
    training.meta_step = [function, meta_step](std::int64_t n_tasks) -> std::optional<double> {
      const py::gil_scoped_acquire gil;
      double value = 0;
      if (!optional_meta_step(function, meta_step(n_tasks), value)) return std::nullopt;
      return value;
    };
  if (const py::object annealed = training_given[4]; !annealed.is_none())
    std::tie(training.n_visited, training.n_visits) =
        annealed.cast<std::tuple<std::int64_t, std::int64_t>>();
  training.proximal = training_given[5].cast<double>();
  if (training.proximal < 0 ||
      (training.proximal > 0 && (table.rows.columns || options.radius > 0)))
    refuse(function, "`rule`", "be steps, or proximal with dense rows and no ball",
           aruba_fast::text_of(training.proximal));
  if (!progress.is_none())
    training.progress = [progress](std::int64_t done, std::int64_t total) {
      const py::gil_scoped_acquire gil;
      progress(done, total);
    };
}

}  // namespace aruba_fast::python
