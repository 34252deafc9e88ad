// The public functions on tasks: rules, runs and what they predict.
#include <cmath>

#include "api_checks.h"

namespace aruba_fast {

template <class T>
Rule<T> Rule<T>::ogd(double learning_rate) {
  require_not_negative("Rule::ogd", "learning_rate", learning_rate);
  return {"ogd", {{learning_rate, {}}}};
}

template <class T>
Rule<T> Rule<T>::ogd(std::span<const T> learning_rate) {
  require_finite("Rule::ogd", "learning_rate", learning_rate);
  for (const T rate : learning_rate)
    require_not_negative("Rule::ogd", "learning_rate", static_cast<double>(rate));
  return {"ogd", {{0, {learning_rate.begin(), learning_rate.end()}}}};
}

template <class T>
Rule<T> Rule<T>::adagrad(double learning_rate, double delta) {
  require_not_negative("Rule::adagrad", "learning_rate", learning_rate);
  require_positive("Rule::adagrad", "delta", delta);
  return {"adagrad", {{learning_rate, {}}, {delta, {}}}};
}

template <class T>
Rule<T> Rule<T>::adam(double learning_rate, double beta2, double eps) {
  require_not_negative("Rule::adam", "learning_rate", learning_rate);
  require_fraction("Rule::adam", "beta2", beta2);
  require_positive("Rule::adam", "eps", eps);
  return {"adam", {{learning_rate, {}}, {eps, {}}, {1 - beta2, {}}}};
}

template <class T>
Rule<T> Rule<T>::aruba_plus_plus(std::span<const double> b, std::span<const double> g,
                                 double coef) {
  constexpr const char* kFunction = "Rule::aruba_plus_plus";
  require_size(kFunction, "`g`", "have as many values as `b`", std::ssize(g), std::ssize(b));
  require_not_negative(kFunction, "coef", coef);
  Parameter rate{0, std::vector<T>(b.size())}, refinement = rate;
  for (std::size_t j = 0; j < b.size(); ++j) {
    require_not_negative(kFunction, "b", b[j]);
    require_positive(kFunction, "g", g[j]);
    rate.each[j] = static_cast<T>(std::sqrt(b[j]) / std::sqrt(g[j]));
    refinement.each[j] = static_cast<T>(coef / g[j]);
  }
  require_finite<T>(kFunction, "sqrt(b / g)", rate.each);
  require_finite<T>(kFunction, "coef / g", refinement.each);
  return {"aruba++", {std::move(rate), std::move(refinement)}};
}

namespace {

template <class T>
TaskRuleArguments arguments_of(const char* function, const Rule<T>& rule,
                               std::int64_t n_parameters) {
  TaskRuleArguments arguments{rule_named(function, rule.name()), {}, {}};
  const auto named = facts_of(arguments.rule).parameters;
  for (std::size_t i = 0; i < named.size(); ++i) {
    const auto& [number, each] = rule.parameters()[i];
    const std::string name(named[i].name);
    if (each.empty()) {
      arguments.numbers[i] = number;
      require_within(function, "`rule`", number, kTypeOf<T>, "have a `" + name + "`");
      continue;
    }
    require_size(function, "`rule`", "have one `" + name + "` per parameter", std::ssize(each),
                 n_parameters);
    arguments.arrays[i] = each.data();
  }
  return arguments;
}

// From one start for all; `run` has the memory for the results.
template <class T>
void run_from(const TaskTable& table, const TaskOptions& options, const TaskRuleArguments& rule,
              std::span<const T> start, const RunOptions& wanted, TaskRun<T>& run) {
  const std::int64_t n = table.n_features * options.n_outputs;
  const auto size = static_cast<std::size_t>(table.n_tasks * n);
  run.n_tasks = table.n_tasks;
  run.n_parameters = n;
  run.theta_hat.resize(size);
  run.grad_sq.resize(size);
  run.theta_bar.resize(wanted.average ? size : 0);
  run.loss.resize(static_cast<std::size_t>(table.n_tasks));
  run.weight.resize(run.loss.size());
  for (std::int64_t task = 0; task < table.n_tasks; ++task)
    run.weight[static_cast<std::size_t>(task)] = table.weight_of(task);
  Watch watch(wanted.interrupted);
  TaskEngine(table, options, watch)
      .run(rule, start.data(), 0, 0, table.n_tasks,
           {run.theta_hat.data(), run.grad_sq.data(),
            wanted.average ? run.theta_bar.data() : nullptr, run.loss.data()});
  if (watch.stop) throw Interrupted("run_tasks: interrupted");
}

template <class T>
std::vector<double> mean_losses(const Tasks<T>& tasks, std::span<const T> theta,
                                std::int64_t n_parameters, bool is_own, std::string_view loss) {
  const Loss kind = loss_named("evaluate", loss);
  const TaskTable table = checked_table("evaluate", tasks, kind, n_parameters);
  const TaskOptions options = checked_options("evaluate", table, kind, "theta", n_parameters, {});
  std::vector<double> losses(static_cast<std::size_t>(table.n_tasks));
  Watch watch;
  TaskEngine(table, options, watch)
      .run({TaskRule::kOgd, {}, {}}, theta.data(), is_own ? n_parameters : 0, 0, table.n_tasks,
           {nullptr, nullptr, nullptr, losses.data()});
  for (std::int64_t task = 0; task < table.n_tasks; ++task)
    losses[static_cast<std::size_t>(task)] /= table.weight_of(task);
  return losses;
}

}  // namespace

template <class T>
TaskRun<T> run_tasks(const Tasks<T>& tasks, std::span<const std::type_identity_t<T>> phi,
                     const std::type_identity_t<Rule<T>>& rule, std::string_view loss,
                     const RunOptions& options) {
  constexpr const char* kFunction = "run_tasks";
  const Loss kind = loss_named(kFunction, loss);
  const std::int64_t n = std::ssize(phi);
  const TaskTable table = checked_table(kFunction, tasks, kind, n);
  const TaskOptions checked = checked_options(kFunction, table, kind, "phi", n, options);
  const TaskRuleArguments arguments = arguments_of(kFunction, rule, n);
  require_in_ball(kFunction, array_of("phi", phi), checked.radius);
  TaskRun<T> run;
  run_from<T>(table, checked, arguments, phi, options, run);
  return run;
}

template <class T>
std::vector<double> evaluate(const Tasks<T>& tasks, std::span<const std::type_identity_t<T>> theta,
                             std::string_view loss) {
  return mean_losses<T>(tasks, theta, std::ssize(theta), false, loss);
}

template <class T>
std::vector<double> evaluate(const Tasks<T>& tasks, const std::type_identity_t<TaskRun<T>>& run,
                             std::string_view loss) {
  require_size("evaluate", "`run`", "be of as many tasks as `tasks`", run.n_tasks, tasks.n_tasks());
  require_size("evaluate", "`run.theta_hat`", "have a row for each task", std::ssize(run.theta_hat),
               run.n_tasks * run.n_parameters);
  return mean_losses<T>(tasks, run.theta_hat, run.n_parameters, true, loss);
}

#define ARUBA_FOR(T)                                                                            \
  template class Rule<T>;                                                                       \
  template TaskRun<T> run_tasks(const Tasks<T>&, std::span<const T>, const Rule<T>&,            \
                                std::string_view, const RunOptions&);                           \
  template std::vector<double> evaluate(const Tasks<T>&, std::span<const T>, std::string_view); \
  template std::vector<double> evaluate(const Tasks<T>&, const TaskRun<T>&, std::string_view);
ARUBA_FOR(float)
ARUBA_FOR(double)
#undef ARUBA_FOR

}  // namespace aruba_fast
