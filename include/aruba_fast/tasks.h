// Tables of tasks, the rules within a task, and tasks that are run whole: linear models.
//
// T is float or double, and all numbers of a call are of one type; sums over tasks are double.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "export.h"

namespace aruba_fast {

/// A table of rows, and which of them belong to each task. It refers to memory of the caller's,
/// which must outlive it; nothing is copied. Whoever uses it checks it.
///
/// Example:
///   // Two people: three rows of two features, and one row.
///   const std::vector<float> x = {1, 0, 1, 1, 1, 2, 1, 5}, y = {1, 2, 3, 4};
///   const std::vector<std::int64_t> offsets = {0, 3, 4};
///   const aruba_fast::Tasks<float> tasks(x, y, offsets);
///   check(tasks.n_tasks() == 2 && tasks.n_features() == 2);
template <class T>
struct Tasks {
  std::span<const T> x;                      // [n_rows, n_features], row after row
  std::span<const T> y;                      // [n_rows], the labels
  std::span<const std::int64_t> starts;      // [n_tasks]: task t has the rows starts[t] ..
  std::span<const std::int64_t> stops;       // [n_tasks]: .. stops[t] - 1, one at least
  std::span<const double> row_weights = {};  // [n_rows], how much a row's loss counts, or empty

  Tasks() = default;
  /// A table whose tasks have all rows, one after the other.
  ///
  /// Args:
  ///   rows: x, [n_rows, n_features], row after row.
  ///   labels: y, [n_rows].
  ///   offsets: Task t has the rows offsets[t] .. offsets[t + 1] - 1; [n_tasks + 1].
  ///
  /// Throws nothing: what uses the table checks it.
  ///
  /// Example:
  ///   const std::vector<double> x = {1, 2, 3}, y = {1, 2, 3};
  ///   const std::vector<std::int64_t> offsets = {0, 1, 3};
  ///   check(aruba_fast::Tasks<double>(x, y, offsets).stops[1] == 3);
  Tasks(std::span<const T> rows, std::span<const T> labels, std::span<const std::int64_t> offsets)
      : x(rows),
        y(labels),
        starts(offsets.first(offsets.empty() ? 0 : offsets.size() - 1)),
        stops(offsets.subspan(offsets.empty() ? 0 : 1)) {}
  /// Any rows of a table: those that a task has shown so far, say, and the others to test it.
  ///
  /// Args:
  ///   rows: x, [n_rows, n_features], row after row.
  ///   labels: y, [n_rows].
  ///   first: Task t has the rows first[t] .. end[t] - 1; [n_tasks].
  ///   end: [n_tasks].
  ///
  /// Throws nothing: what uses the table checks it.
  ///
  /// Example:
  ///   const std::vector<double> x = {1, 2, 3}, y = {1, 2, 3};
  ///   const std::vector<std::int64_t> first = {0}, middle = {2}, end = {3};
  ///   const aruba_fast::Tasks<double> seen(x, y, first, middle), unseen(x, y, middle, end);
  ///   check(seen.n_tasks() == 1 && unseen.starts[0] == 2);
  Tasks(std::span<const T> rows, std::span<const T> labels, std::span<const std::int64_t> first,
        std::span<const std::int64_t> end)
      : x(rows), y(labels), starts(first), stops(end) {}

  std::int64_t n_tasks() const { return std::ssize(starts); }
  std::int64_t n_rows() const { return std::ssize(y); }
  std::int64_t n_features() const { return y.empty() ? 0 : std::ssize(x) / std::ssize(y); }
};

/// How parameters move within a task; made by one of these functions, or by `MetaLearner::rule`.
///
/// Example:
///   const auto rule = aruba_fast::Rule<float>::ogd(0.1);
///   check(rule.name() == "ogd");
template <class T>
class ARUBA_FAST_API Rule {
 public:
  /// A parameter: a number, or one for each coordinate.
  struct Parameter {
    double number;
    std::vector<T> each;  // empty: the number
  };

  /// Online gradient descent: theta <- Proj(theta - learning_rate * grad).
  ///
  /// Args:
  ///   learning_rate: A finite number >= 0, or one for each coordinate, [n_parameters].
  ///
  /// Throws ValueError where it is negative or not finite.
  ///
  /// Example:
  ///   const std::vector<double> rates = {0.1, 0.2};
  ///   check(aruba_fast::Rule<double>::ogd(rates).parameters()[0].each == rates);
  static Rule ogd(double learning_rate);
  static Rule ogd(std::span<const T> learning_rate);

  /// AdaGrad: s <- s + grad^2; theta <- Proj(theta - learning_rate * grad / sqrt(s + delta)).
  ///
  /// Args:
  ///   learning_rate: Finite, >= 0.
  ///   delta: Finite, > 0, for a first gradient of zero must not divide by zero.
  ///
  /// Throws ValueError where a number is out of range.
  ///
  /// Example:
  ///   check(aruba_fast::Rule<float>::adagrad(0.1, 1e-8).name() == "adagrad");
  static Rule adagrad(double learning_rate, double delta);

  /// Adam without momentum, as Reptile has it: v <- beta2 v + (1 - beta2) grad^2;
  /// theta <- Proj(theta - learning_rate * grad / (sqrt(v / (1 - beta2^t)) + eps)).
  ///
  /// Args:
  ///   learning_rate: Finite, >= 0.
  ///   beta2: What a step keeps of v, at least 0 and below 1.
  ///   eps: Finite, > 0, in units of the gradient.
  ///
  /// Throws ValueError where a number is out of range.
  ///
  /// Example:
  ///   check(aruba_fast::Rule<float>::adam(0.01).name() == "adam");
  static Rule adam(double learning_rate, double beta2 = 0.999, double eps = 1e-8);

  /// ARUBA++: eta = sqrt(b / g'); g' <- g' + coef * grad^2; theta <- Proj(theta - eta * grad).
  ///
  /// Args:
  ///   b: Sums of squared distances, [n_parameters], finite and >= 0.
  ///   g: Sums of squared gradients, [n_parameters], finite and > 0; g' is a copy of it.
  ///   coef: Weight of the task's own gradients, finite and >= 0; with 0 it is OGD.
  ///
  /// Throws ValueError where sizes differ, a number is out of range, or sqrt(b / g) or coef / g is
  /// no number of type T.
  ///
  /// Example:
  ///   const std::vector<double> b = {1, 4}, g = {1, 16};
  ///   check(aruba_fast::Rule<float>::aruba_plus_plus(b, g, 0.1).name() == "aruba++");
  static Rule aruba_plus_plus(std::span<const double> b, std::span<const double> g, double coef);

  std::string_view name() const { return name_; }
  const std::vector<Parameter>& parameters() const { return parameters_; }

 private:
  Rule(std::string_view name, std::vector<Parameter> parameters)
      : name_(name), parameters_(std::move(parameters)) {}

  std::string name_;
  std::vector<Parameter> parameters_;
};

/// How tasks are run, beside their rule.
struct RunOptions {
  std::int64_t batch_size = 1;             // consecutive rows of a step
  std::int64_t n_epochs = 1;               // passes over the rows of a task
  std::optional<double> radius = {};       // keeps theta in a ball around the origin
  bool average = false;                    // whether the mean iterate is wanted
  std::function<bool()> interrupted = {};  // asked some twenty times a second, on the calling
                                           // thread; true ends the call by an Interrupted
};

/// What tasks leave behind. A task that diverged has values that are not finite: `MetaLearner`
/// leaves it out and counts it.
template <class T>
struct TaskRun {
  std::int64_t n_tasks = 0;
  std::int64_t n_parameters = 0;
  std::vector<T> theta_hat;    // [n_tasks, n_parameters], where each ended
  std::vector<T> grad_sq;      // [n_tasks, n_parameters], its sums of squared gradients
  std::vector<T> theta_bar;    // [n_tasks, n_parameters], its mean iterate; empty: not asked for
  std::vector<double> loss;    // [n_tasks], sums over its rows, each before the step by it
  std::vector<double> weight;  // [n_tasks], its rows, or the sum of their weights
};

/// Runs every task whole from `phi`: a linear model, its rows in their order, tasks in parallel.
///
///     score z = <theta, x>;  every step:  theta <- Proj(theta - eta * mean gradient of the batch)
///
/// The losses of a row: "squared" (z - y)^2 / 2, "absolute" |z - y|, "huber" (delta = 1),
/// "logistic" log(1 + e^z) - y z for labels 0 and 1, "hinge" max(0, 1 - y z) for labels -1 and 1,
/// "poisson" e^z - y z + y log y - y for counts, "softmax" log sum e^z - z_y for class numbers,
/// with theta as [n_classes, n_features].
///
/// Args:
///   tasks: The tasks.
///   phi: Start of every task, [n_parameters]: n_features, for softmax n_classes * n_features.
///   rule: How theta moves.
///   loss: Name of the loss.
///   options: Batches, epochs, a ball, and what else is wanted.
///
/// Throws ValueError where sizes do not fit, a task has no row, the loss is unknown, a label lies
/// outside its domain, or phi lies outside the ball; Interrupted as `options` asks.
///
/// Example:
///   const std::vector<double> x = {1, 1, 2}, y = {1, 1, 4}, phi = {0};
///   const std::vector<std::int64_t> offsets = {0, 2, 3};
///   const aruba_fast::Tasks<double> tasks(x, y, offsets);
///   const auto run =
///       aruba_fast::run_tasks(tasks, phi, aruba_fast::Rule<double>::ogd(0.5), "squared");
///   check(run.theta_hat == std::vector<double>{0.75, 4});
///   check(run.loss == std::vector<double>{0.625, 8});
template <class T>
ARUBA_FAST_API TaskRun<T> run_tasks(const Tasks<T>& tasks,
                                    std::span<const std::type_identity_t<T>> phi,
                                    const std::type_identity_t<Rule<T>>& rule,
                                    std::string_view loss, const RunOptions& options = {});

/// Mean loss per row of every task at fixed parameters; by the weights of rows where they have
/// them.
///
/// Args:
///   tasks: The tasks.
///   theta: Parameters of all tasks, [n_parameters]; or a run of as many tasks, such as a run of
///     their first rows, for the `theta_hat` of each.
///   loss: Name of the loss, as in `run_tasks`.
///
/// Returns [n_tasks]; nan where a row or the parameters are not finite.
///
/// Throws ValueError where sizes do not fit, the loss is unknown, or a label lies outside its
/// domain.
///
/// Example:
///   const std::vector<float> x = {1, 1}, y = {1, 3}, theta = {1};
///   const std::vector<std::int64_t> offsets = {0, 2};
///   const aruba_fast::Tasks<float> tasks(x, y, offsets);
///   check(aruba_fast::evaluate(tasks, theta, "squared") == std::vector<double>{1});
template <class T>
ARUBA_FAST_API std::vector<double> evaluate(const Tasks<T>& tasks,
                                            std::span<const std::type_identity_t<T>> theta,
                                            std::string_view loss);
template <class T>
ARUBA_FAST_API std::vector<double> evaluate(const Tasks<T>& tasks,
                                            const std::type_identity_t<TaskRun<T>>& run,
                                            std::string_view loss);

}  // namespace aruba_fast
