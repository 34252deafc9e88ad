// What the functions of the public headers are told, as the entries below them take it.
#include "api_checks.h"

#include <cmath>

namespace aruba_fast {

void require_positive(const char* function, const std::string& name, double value) {
  if (value > 0 && is_finite(value)) return;
  refuse(function, "`" + name + "`", std::isfinite(value) ? "be positive" : "be finite",
         text_of(value), "a finite number > 0");
}

void require_not_negative(const char* function, const std::string& name, double value) {
  if (value >= 0 && is_finite(value)) return;
  refuse(function, "`" + name + "`", std::isfinite(value) ? "not be negative" : "be finite",
         text_of(value), "a finite number >= 0");
}

void require_fraction(const char* function, const std::string& name, double value) {
  if (!(value >= 0 && value < 1))
    refuse(function, "`" + name + "`", "be a fraction", text_of(value), "0 <= value < 1");
}

void require_at_least_one(const char* function, const std::string& name, std::int64_t value) {
  if (value < 1) refuse(function, "`" + name + "`", "be at least 1", std::to_string(value));
}

void require_size(const char* function, const std::string& subject, const std::string& rule,
                  std::int64_t size, std::int64_t expected) {
  if (size != expected)
    refuse(function, subject, rule, std::to_string(size), std::to_string(expected));
}

template <class T>
void require_finite(const char* function, const std::string& name, std::span<const T> values) {
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!std::isfinite(values[i]))
      refuse(function, "`" + name + "`", "be finite everywhere",
             text_of(static_cast<double>(values[i])) + " at " + std::to_string(i), "finite");
}

namespace {

void require_row_weights(const char* function, std::span<const double> weights,
                         std::int64_t n_rows) {
  if (weights.empty()) return;
  require_size(function, "`row_weights`", "have a value for each row", std::ssize(weights), n_rows);
  for (std::size_t i = 0; i < weights.size(); ++i)
    if (!(weights[i] > 0) || !std::isfinite(weights[i]))
      refuse(function, "`row_weights`", "be finite and > 0 everywhere",
             text_of(weights[i]) + " at " + std::to_string(i));
}

}  // namespace

template <class T>
TaskTable checked_table(const char* function, const Tasks<T>& tasks, Loss loss,
                        std::int64_t n_parameters) {
  const std::int64_t n_rows = tasks.n_rows(), n_features = tasks.n_features();
  if (n_features < 1 || std::ssize(tasks.x) != n_rows * n_features)
    refuse(function, "`tasks.x`", "have a row of as many features for each label",
           std::to_string(tasks.x.size()) + " numbers",
           "a multiple of " + std::to_string(n_rows) + " labels");
  require_at_least_one(function, "tasks.n_tasks()", tasks.n_tasks());
  require_size(function, "`tasks.stops`", "have a value for each task", std::ssize(tasks.stops),
               tasks.n_tasks());
  require_row_weights(function, tasks.row_weights, n_rows);
  TaskTable table{};
  table.x = tasks.x.data();
  table.y = tasks.y.data();
  table.starts = tasks.starts.data();
  table.stops = tasks.stops.data();
  table.n_tasks = tasks.n_tasks();
  table.n_rows = n_rows;
  table.n_features = n_features;
  table.type = kTypeOf<T>;
  table.row_weights = tasks.row_weights.empty() ? nullptr : tasks.row_weights.data();
  require_rows(function, table);
  require_labels(function, array_of("y", tasks.y), loss, n_parameters / n_features);
  return table;
}

TaskOptions checked_options(const char* function, const TaskTable& table, Loss loss,
                            const std::string& parameters, std::int64_t n_parameters,
                            const RunOptions& options) {
  const bool has_classes = facts_of(loss).has_classes;
  const std::int64_t n_outputs = has_classes ? n_parameters / table.n_features : 1;
  if (n_parameters != n_outputs * table.n_features || n_outputs < 1 + has_classes)
    refuse(function, "`" + parameters + "`",
           has_classes
               ? "have n_classes * n_features parameters for " + std::string(facts_of(loss).name)
               : "have one parameter per feature of `tasks`",
           std::to_string(n_parameters),
           has_classes ? "at least 2 times " + std::to_string(table.n_features)
                       : std::to_string(table.n_features));
  require_at_least_one(function, "batch_size", options.batch_size);
  require_at_least_one(function, "n_epochs", options.n_epochs);
  if (options.radius) {
    require_positive(function, "radius", *options.radius);
    require_within(function, "`radius`", *options.radius, table.type);
  }
  return {.loss = loss,
          .n_outputs = n_outputs,
          .batch_size = options.batch_size,
          .n_epochs = options.n_epochs,
          .radius = options.radius.value_or(0)};
}

#define ARUBA_FOR(T)                                                                 \
  template void require_finite(const char*, const std::string&, std::span<const T>); \
  template TaskTable checked_table(const char*, const Tasks<T>&, Loss, std::int64_t);
ARUBA_FOR(float)
ARUBA_FOR(double)
#undef ARUBA_FOR

}  // namespace aruba_fast
