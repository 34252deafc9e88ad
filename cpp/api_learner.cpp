// The public meta-learner: its memory, what it is told, and what it hands out.
#include <cmath>
#include <limits>
#include <numeric>

#include "api_checks.h"
#include "aruba_fast/learner.h"
#include "ops_first_rate.h"
#include "ops_prior.h"

namespace aruba_fast {
namespace {

constexpr const char* kMake = "MetaLearner";

// What b and g are kept in squares of, where there are units.
double unit_of_g(const LearnerOptions& options) { return options.zeta.value_or(1); }
double unit_of_b(const LearnerOptions& options) {
  return options.zeta ? options.learning_rate.value_or(1) * *options.zeta : 1;
}

void require_unit(const std::string& subject, double unit) {
  if (!(unit > 1e-150 && unit < 1e150))
    refuse(kMake, subject, "have a square within float64", text_of(unit), "1e-150 to 1e150");
}

void require_units(const LearnerOptions& options) {
  if (!options.zeta) return;
  require_unit("`zeta`", unit_of_g(options));
  if (options.learning_rate) require_unit("`learning_rate` times `zeta`", unit_of_b(options));
}

void require_options(const LearnerOptions& options, std::int64_t n) {
  if (options.learning_rate) require_positive(kMake, "learning_rate", *options.learning_rate);
  if (options.zeta) require_positive(kMake, "zeta", *options.zeta);
  require_not_negative(kMake, "p", options.p);
  require_fraction(kMake, "decay", options.decay);
  if (options.max_learning_rate)
    require_positive(kMake, "max_learning_rate", *options.max_learning_rate);
  require_units(options);
  if (options.tensors.empty()) return;
  if (options.zeta)
    refuse(kMake, "`tensors`", "be empty where `zeta` is a number, which is the prior of all",
           std::to_string(options.tensors.size()) + " of them");
  for (const std::int64_t size : options.tensors) require_at_least_one(kMake, "tensors", size);
  require_size(kMake, "`tensors`", "be the sizes of all that `phi` holds",
               std::reduce(options.tensors.begin(), options.tensors.end()), n);
}

MetaParameters parameters_of(const LearnerOptions& options) {
  return {.learning_rate = options.learning_rate.value_or(1),
          .zeta = unit_of_g(options),
          .p = options.p,
          .decay = options.decay,
          .max_learning_rate =
              options.max_learning_rate.value_or(std::numeric_limits<double>::infinity()),
          .isotropic = options.isotropic,
          .average_task = !options.zeta,
          .tight = options.bound == Bound::kTight};
}

std::vector<double> scaled(const std::vector<double>& values, double unit) {
  std::vector<double> result(values.size());
  for (std::size_t j = 0; j < values.size(); ++j) result[j] = unit * unit * values[j];
  return result;
}

}  // namespace

template <class T>
MetaLearner<T>::MetaLearner(std::span<const T> phi, const LearnerOptions& options)
    : options_(options), phi_(phi.begin(), phi.end()) {
  if (phi.empty()) refuse(kMake, "`phi`", "not be empty", "(0,)", ">= 1 value");
  require_finite(kMake, "phi", phi);
  require_options(options, std::ssize(phi));
  phi_master_.assign(phi.begin(), phi.end());
  b_.assign(phi.size(), options.zeta ? 1 : 0);
  g_ = b_;
  rho_.assign(phi.size(), std::numeric_limits<double>::quiet_NaN());
  limit_ = {std::numeric_limits<double>::infinity()};
  rates_.assign(phi.size(), T(0));
  if (!options.zeta)
    tensors_ = tensor_table(options.tensors.empty() ? std::vector<std::int64_t>{std::ssize(phi)}
                                                    : options.tensors);
  if (options.learning_rate) start(*options.learning_rate);
}

template <class T>
std::vector<double> MetaLearner<T>::b() const {
  return scaled(b_, options_.learning_rate || !options_.zeta ? unit_of_b(options_) : 0);
}

template <class T>
std::vector<double> MetaLearner<T>::g() const {
  return scaled(g_, unit_of_g(options_));
}

template <class T>
void MetaLearner<T>::require_rate(const char* function) const {
  if (!knows_rate())
    refuse(function, "the first learning rate", "be known", "none and no task",
           "learner.first_rate(tasks, loss) before, or a number for `learning_rate`; meta_train "
           "finds it by itself");
}

template <class T>
void MetaLearner<T>::start(double rate) {
  const double cap = options_.max_learning_rate.value_or(rate), first = std::min(rate, cap);
  require_within(kMake, cap < rate ? "`max_learning_rate`" : "`learning_rate`", first, kTypeOf<T>);
  options_.learning_rate = rate;
  require_units(options_);
  rates_.assign(rates_.size(), static_cast<T>(first));
}

template <class T>
MetaState MetaLearner<T>::state() {
  return {.phi_master = phi_master_.data(),
          .b = b_.data(),
          .g = g_.data(),
          .rho = rho_.data(),
          .phi = phi_.data(),
          .rates = rates_.data(),
          .n_tasks = &counts_[0],
          .n_skipped = &counts_[1],
          .weight_high = &weight_[0],
          .weight_low = &weight_[1],
          .limit = limit_.data(),
          .n = n_parameters(),
          .type = kTypeOf<T>,
          .parameters = parameters_of(options_),
          .tensors = tensors_.empty() ? Tensors()
                                      : Tensors(tensors_.data(), std::ssize(tensors_) / 2 - 1)};
}

template <class T>
double MetaLearner<T>::first_rate(const Tasks<T>& tasks, std::string_view loss, bool proximal) {
  constexpr const char* kFunction = "MetaLearner::first_rate";
  const Loss kind = loss_named(kFunction, loss);
  const TaskTable table = checked_table(kFunction, tasks, kind, n_parameters());
  checked_options(kFunction, table, kind, "phi", n_parameters(), {});
  const double rate = aruba_fast::first_rate(table, kind, phi_.data(), proximal).value_or(1);
  if (!knows_rate()) start(rate);
  return rate;
}

template <class T>
Rule<T> MetaLearner<T>::training_rule() const {
  require_rate("MetaLearner::training_rule");
  const bool one_rate = options_.isotropic && options_.tensors.size() < 2;
  return one_rate ? Rule<T>::ogd(static_cast<double>(rates_[0])) : Rule<T>::ogd(learning_rate());
}

template <class T>
Rule<T> MetaLearner<T>::rule(std::optional<double> coef) const {
  constexpr const char* kFunction = "MetaLearner::rule";
  require_rate(kFunction);
  if (coef) require_not_negative(kFunction, "coef", *coef);
  const double held = tasks_held(n_tasks(), options_.decay);
  if (n_tasks() == 0 && !(coef && options_.zeta)) return training_rule();
  std::vector<double> b = b_, g = g_;
  double share = 1;
  if (!options_.zeta) {
    const Tensors tensors(tensors_.data(), std::ssize(tensors_) / 2 - 1);
    const std::vector<SumsOfTensor> sums = sums_of_tensors(b.data(), g.data(), tensors);
    if (!add_prior(b.data(), g.data(), tensors, sums, held, options_.isotropic))
      return training_rule();
    share = restraint(n_tasks(), n_skipped());
    share *= share;
  } else if (options_.isotropic) {
    for (auto* values : {&b, &g}) {
      const double sum = std::accumulate(values->begin(), values->end(), 0.0);
      values->assign(values->size(), sum / static_cast<double>(values->size()));
    }
  }
  const double of_b = unit_of_b(options_), of_g = unit_of_g(options_),
               cap = options_.max_learning_rate.value_or(std::numeric_limits<double>::infinity());
  for (std::size_t j = 0; j < b.size(); ++j) {
    b[j] = share * of_b * of_b * b[j];
    g[j] = of_g * of_g * g[j];
    if (cap < std::numeric_limits<double>::infinity()) b[j] = std::min(b[j], cap * cap * g[j]);
  }
  const double own = options_.bound == Bound::kTight ? 4 : 1;
  return Rule<T>::aruba_plus_plus(b, g, coef.value_or(own * held));
}

template <class T>
void MetaLearner<T>::update(const TaskRun<T>& run, const UpdateOptions& options) {
  update(run.theta_hat, run.grad_sq, options);
}

template <class T>
void MetaLearner<T>::update(std::span<const T> theta_hat, std::span<const T> grad_sq,
                            const UpdateOptions& options) {
  constexpr const char* kFunction = "MetaLearner::update";
  if (options_.zeta) require_rate(kFunction);
  const std::int64_t n = n_parameters(), n_tasks = std::ssize(theta_hat) / n;
  if (std::ssize(theta_hat) != n_tasks * n)
    refuse(kFunction, "`theta_hat`", "have a row as long as `phi` for each task",
           std::to_string(theta_hat.size()), "a multiple of " + std::to_string(n));
  require_size(kFunction, "`grad_sq`", "have the shape of `theta_hat`", std::ssize(grad_sq),
               n_tasks * n);
  if (!options.weights.empty())
    require_size(kFunction, "`weights`", "have a value for each task", std::ssize(options.weights),
                 n_tasks);
  for (std::size_t i = 0; i < options.weights.size(); ++i)
    if (!is_weight(options.weights[i]))
      refuse(kFunction, "`weights`", "be moderate",
             text_of(options.weights[i]) + " at " + std::to_string(i), "0, or 1e-150 to 1e150");
  if (options.meta_step) require_not_negative(kFunction, "meta_step", *options.meta_step);
  state().learn(kFunction,
                {.theta_hat = theta_hat.data(),
                 .grad_sq = grad_sq.data(),
                 .phi = phi_.data(),
                 .weights = options.weights.empty() ? nullptr : options.weights.data(),
                 .n_tasks = n_tasks,
                 .n = n,
                 .type = kTypeOf<T>},
                options.meta_step ? &*options.meta_step : nullptr);
}

template class MetaLearner<float>;
template class MetaLearner<double>;

}  // namespace aruba_fast
