// Checks of values that the task engine relies on.
#include <cmath>
#include <limits>

#include "ops_tasks.h"

namespace aruba_fast {
namespace {

template <class T>
void require_within(const char* function, const std::string& subject, double value, Type type,
                    const std::string& named) {
  using Limits = std::numeric_limits<T>;
  const T there = static_cast<T>(value);
  if (value == 0 || (there >= Limits::min() && there <= Limits::max())) return;
  refuse(function, subject, named + " within " + name_of(type), text_of(value),
         text_of(double{Limits::min()}) + " to " + text_of(double{Limits::max()}));
}

}  // namespace

void require_within(const char* function, const std::string& subject, double value, Type type,
                    const std::string& named) {
  if (type == Type::kFloat64) require_within<double>(function, subject, value, type, named);
  else require_within<float>(function, subject, value, type, named);
}

std::string task_rule_names(int n) {
  std::string names;
  for (int i = 0; i < n; ++i) names += (i ? ", " : "") + std::string(kTaskRuleFacts[i].name);
  return names;
}

Loss loss_named(const char* function, std::string_view name) {
  std::string names;
  for (const LossFacts& facts : kLossFacts) {
    if (name == facts.name) return static_cast<Loss>(&facts - kLossFacts);
    names += (names.empty() ? "" : ", ") + std::string(facts.name);
  }
  refuse(function, "`loss`", "be the name of a loss", "'" + std::string(name) + "'",
         "one of " + names);
}

TaskRule rule_named(const char* function, std::string_view name) {
  for (const TaskRuleFacts& facts : kTaskRuleFacts)
    if (name == facts.name) return static_cast<TaskRule>(&facts - kTaskRuleFacts);
  refuse(function, "`rule`", "be the name of a rule", "'" + std::string(name) + "'",
         task_rule_names(kHostTaskRules));
}

void require_rows(const char* function, const TaskTable& table) {
  for (std::int64_t i = 0; i < table.n_tasks; ++i) {
    const std::int64_t start = table.starts[i], stop = table.stops[i];
    if (start < 0 || stop > table.n_rows || start >= stop)
      refuse(function, "the rows of task " + std::to_string(i), "be a non-empty part of the table",
             std::to_string(start) + ":" + std::to_string(stop),
             "0 <= start < stop <= " + std::to_string(table.n_rows));
  }
}

namespace {

// A fact about classes, in numbers.
std::string with_classes(std::string text, std::int64_t n_classes) {
  const auto replace = [&](const std::string& what, std::int64_t by) {
    const auto at = text.find(what);
    if (at != std::string::npos) text.replace(at, what.size(), std::to_string(by));
  };
  replace("n_classes - 1", n_classes - 1);
  replace("n_classes", n_classes);
  return text;
}

template <class T>
void require_each(const char* function, const Array& y, Loss loss, std::int64_t n_classes) {
  const T* labels = static_cast<const T*>(y.data);
  for (std::int64_t i = 0; i < y.size(); ++i) {
    const double label = static_cast<double>(labels[i]);
    if (!is_label(loss, label, static_cast<double>(n_classes)))
      refuse_label(function, loss, n_classes, label, i);
  }
}

}  // namespace

void refuse_label(const char* function, Loss loss, std::int64_t n_classes, double label,
                  std::int64_t row) {
  refuse(function, "`y`", with_classes(facts_of(loss).labels, n_classes),
         text_of(label) + " in row " + std::to_string(row),
         with_classes(facts_of(loss).remedy, n_classes));
}

void require_labels(const char* function, const Array& y, Loss loss, std::int64_t n_classes) {
  if (!facts_of(loss).labels) return;
  if (y.type == Type::kFloat64) require_each<double>(function, y, loss, n_classes);
  else require_each<float>(function, y, loss, n_classes);
}

void require_in_ball(const char* function, const Array& phi, double radius) {
  if (radius == 0) return;
  const std::int64_t n = phi.shape[phi.n_dimensions - 1];
  for (std::int64_t row = 0; row < phi.size() / n; ++row) {
    double norm_sq = 0;  // in units of the radius, whose square may be none
    for (std::int64_t j = row * n; j < (row + 1) * n; ++j) {
      const double value = phi.type == Type::kFloat64
                               ? static_cast<const double*>(phi.data)[j]
                               : static_cast<double>(static_cast<const float*>(phi.data)[j]);
      norm_sq += value / radius * (value / radius);
    }
    // Points that an earlier projection put on the sphere may be outside by rounding.
    if (!(std::sqrt(norm_sq) <= 1 + 1e-5))
      refuse(function, "`phi`", "lie in the ball of `radius`",
             "norm " + text_of(std::sqrt(norm_sq) * radius), "at most " + text_of(radius));
  }
}

}  // namespace aruba_fast
