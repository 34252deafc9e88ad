// The meta-learner, which owns what it has learned, and its training on tables of tasks.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include "export.h"
#include "tasks.h"

namespace aruba_fast {

struct History;
struct MetaState;
struct TrainOptions;

/// Which of two regret bounds the rates are least for: of half of the squared distances, or of all
/// of them, which makes the rates of OGD sqrt(2) times as large.
enum class Bound { kBlog, kTight };

/// What a learner is made with; by default nothing has to be chosen.
struct LearnerOptions {
  // The first rate within a task, > 0; nothing for that of `first_rate`, which `meta_train` finds.
  std::optional<double> learning_rate = {};
  // Nothing for the prior of one average task; or the smoothing of the squared gradients, > 0.
  std::optional<double> zeta = {};
  double p = 1;                                  // exponent of the smoothing's schedule, >= 0
  double decay = 0;                              // what every task discounts of the past, in [0, 1)
  bool isotropic = false;                        // one rate for all coordinates
  std::optional<double> max_learning_rate = {};  // upper limit of the rates, > 0
  Bound bound = Bound::kBlog;
  // Sizes of the parts that phi is joined of, such as a network's tensors, each with a prior of its
  // own; empty for one part. Only without `zeta`.
  std::vector<std::int64_t> tensors = {};
};

/// How a learner learns from a round of tasks.
struct UpdateOptions {
  // Weights of the tasks in the mean of theta_hat, [n_tasks], 0 or 1e-150 to 1e150; empty: all one.
  std::span<const double> weights = {};
  // Step of phi towards that mean, >= 0; nothing for an average of all tasks so far.
  std::optional<double> meta_step = {};
};

/// Learns an initialization phi and a learning rate for every coordinate, by ARUBA.
///
///     b   <- b + sum_k 1/2 (theta_hat_k - phi)^2
///     g   <- g + sum_k (sum of grad^2 of task k)
///     phi <- phi + meta_step (weighted mean of theta_hat - phi)
///     eta  = sqrt(b') / sqrt(g'),    b' = b + mean(b) / w,    g' = g + mean(g) / w
///
/// for a round of tasks k = 1, 2, ...; w is the number of tasks so far. A task that goes ten times
/// as far as the average one is shortened, and one that is not finite is left out and lowers all
/// rates. A learner is a value: it is copied and moved like a vector. Several threads may read one;
/// what changes it needs it alone.
///
/// Example:
///   const std::vector<float> phi(8);
///   const aruba_fast::MetaLearner<float> learner(phi);
///   check(learner.n_parameters() == 8 && learner.n_tasks() == 0);
template <class T>
class ARUBA_FAST_API MetaLearner {
 public:
  /// Args:
  ///   phi: The first initialization, [n_parameters], finite, one value at least; copied.
  ///   options: What it is made with.
  ///
  /// Throws ValueError where an argument is out of range.
  ///
  /// Example:
  ///   const std::vector<double> phi = {0, 0};
  ///   const aruba_fast::MetaLearner<double> learner(phi, {.learning_rate = 0.5});
  ///   check(learner.learning_rate()[1] == 0.5);
  explicit MetaLearner(std::span<const T> phi, const LearnerOptions& options = {});

  // What has been learned, [n_parameters] each; spans refer to the learner, and show what it is
  // when they are read.
  std::span<const T> phi() const { return phi_; }
  /// The rates that tasks are trained with; zero as long as the first one is not known.
  std::span<const T> learning_rate() const { return rates_; }
  /// Sums of squared distances, and of squared gradients, with their smoothing; copies.
  ///
  /// Example:
  ///   const std::vector<double> phi = {0}, theta_hat = {1, 3}, grad_sq = {4, 5};
  ///   aruba_fast::MetaLearner<double> learner(phi);
  ///   learner.update(theta_hat, grad_sq);
  ///   check(learner.b()[0] == 5 && learner.g()[0] == 9);
  std::vector<double> b() const;
  std::vector<double> g() const;
  /// Distance over expected distance in the last round: a rate rests where it is 2, for the tight
  /// bound 1, and grows above; nan before the first round and without a gradient.
  std::span<const double> rho() const { return rho_; }

  std::int64_t n_parameters() const { return std::ssize(phi_); }
  /// Tasks learned from, and left out because they were not finite.
  std::int64_t n_tasks() const { return counts_[0]; }
  std::int64_t n_skipped() const { return counts_[1]; }
  const LearnerOptions& options() const { return options_; }

  /// Finds the first learning rate from the rows of tasks, and starts with it if it may.
  ///
  ///     rate = mean_i |d_i| / max_i c_i |x_i|^2
  ///
  /// so that a step on no single row goes beyond the least of its loss: c is the most that the loss
  /// bends along its score, 1 for squared and Huber, 1/4 for logistic, 1/2 for softmax, and
  /// max(e^(x . phi), y, 1) for Poisson; d is the way that a score has to go, y - x . phi for the
  /// absolute loss, and 1 for the others. For the proximal rule it is
  ///
  ///     rate = n_features mean_i |d_i| / mean_i c_i |x_i|^2
  ///
  /// where a row holds a parameter, in the mean, as much as the start does.
  ///
  /// Args:
  ///   tasks: Tasks to be trained on; rows that are not finite are left out.
  ///   loss: Name of the loss, as in `run_tasks`.
  ///   proximal: Whether tasks will be trained with the proximal rule.
  ///
  /// Returns the rate, a number of type T. A learner without one that has not learned anything now
  /// starts with it; any other one is not changed.
  ///
  /// Throws ValueError as `run_tasks`.
  ///
  /// Example:
  ///   const std::vector<double> x = {3, 4, 1, 0}, y = {1, 2}, phi = {0, 0};
  ///   const std::vector<std::int64_t> offsets = {0, 2};
  ///   aruba_fast::MetaLearner<double> learner(phi);
  ///   check(learner.first_rate({x, y, offsets}, "squared") == 0.04);
  double first_rate(const Tasks<T>& tasks, std::string_view loss, bool proximal = false);

  /// The rule that tasks are trained with: OGD at `learning_rate()`.
  ///
  /// Throws ValueError as long as the first rate is not known.
  ///
  /// Example:
  ///   const std::vector<double> phi = {0, 0};
  ///   const aruba_fast::MetaLearner<double> learner(phi, {.learning_rate = 0.5});
  ///   check(learner.training_rule().name() == "ogd");
  Rule<T> training_rule() const;

  /// The rule for new tasks as learned so far: ARUBA++, whose rates start at `learning_rate()`.
  ///
  /// Args:
  ///   coef: For how many average tasks a task's own squared gradients count, times the tasks that
  ///     b and g hold; finite and >= 0. Nothing for that of the bound: one, or four.
  ///
  /// Returns OGD where nothing has been learned yet.
  ///
  /// Throws ValueError where `coef` is out of range, or the first rate is not known.
  ///
  /// Example:
  ///   const std::vector<double> phi = {0}, theta_hat = {1, 3}, grad_sq = {1, 1};
  ///   aruba_fast::MetaLearner<double> learner(phi, {.learning_rate = 0.5});
  ///   learner.update(theta_hat, grad_sq);
  ///   check(learner.rule().name() == "aruba++");
  Rule<T> rule(std::optional<double> coef = {}) const;

  /// Learns from a round of tasks that were run from this learner's phi at its rates.
  ///
  /// Args:
  ///   run: The tasks; or, of a model that brings its own gradients, where each task ended and its
  ///     sums of squared gradients, `theta_hat` and `grad_sq` [n_tasks, n_parameters].
  ///   options: Weights, and the step of phi.
  ///
  /// Throws ValueError where sizes do not fit, a weight or the step is out of range, or b, g or phi
  /// would not be finite; nothing is changed then.
  ///
  /// Example:
  ///   const std::vector<double> phi = {0}, theta_hat = {1, 3}, grad_sq = {1, 1};
  ///   aruba_fast::MetaLearner<double> learner(phi);
  ///   learner.update(theta_hat, grad_sq, {.meta_step = 0.5});
  ///   check(learner.phi()[0] == 1);
  void update(const TaskRun<T>& run, const UpdateOptions& options = {});
  void update(std::span<const T> theta_hat, std::span<const T> grad_sq,
              const UpdateOptions& options = {});

 private:
  template <class U>
  friend History meta_train(const Tasks<U>&, MetaLearner<U>&, std::string_view,
                            const TrainOptions&);

  bool knows_rate() const { return options_.learning_rate || n_tasks() > 0; }
  void require_rate(const char* function) const;
  void start(double rate);
  MetaState state();  // as the library's own code takes it

  LearnerOptions options_;
  std::vector<double> phi_master_, b_, g_, rho_, weight_ = {0, 0}, limit_;
  std::vector<T> phi_, rates_;
  std::vector<std::int64_t> counts_ = {0, 0}, tensors_;
};

/// How a learner is trained on a table.
struct TrainOptions {
  std::int64_t round_size = 1;  // tasks that start from the same phi at the same rates
  std::int64_t n_passes = 1;    // how often every task is visited
  std::int64_t batch_size = 1, n_epochs = 1;
  std::optional<double> radius = {};  // these three as in `RunOptions`
  // Tasks are solved near phi instead of taking steps: the proximal rule, without the three above.
  bool proximal = false;
  bool weigh_by_rows = false;  // tasks in the mean of theta_hat; else all alike
  // Step of phi, >= 0. Nothing: it falls from 1 to nothing over the call, 1 - (visits before the
  // round) / (all visits), or with `zeta` is the running mean.
  std::optional<double> meta_step = {};
  // The tasks in the order of their visits, [n_passes * n_tasks], pass after pass; empty for their
  // own order.
  std::span<const std::int64_t> order = {};
  // Told of visits done, and of all, a few times a second between rounds.
  std::function<void(std::int64_t, std::int64_t)> progress = {};
  std::function<bool()> interrupted = {};  // as in `RunOptions`
};

/// What the visits of a training were, in their order.
struct History {
  std::vector<double> loss;           // [n_visits], of a task from the phi of its round
  std::vector<std::uint8_t> skipped;  // [n_visits], one where a task was left out
};

/// Trains a learner on all tasks, round after round: `run_tasks` by `training_rule()` and `update`,
/// in one call. A learner that knows no first rate starts with `first_rate(tasks, loss)`.
///
/// Args:
///   tasks: The tasks.
///   learner: The learner; changed.
///   loss: Name of the loss, as in `run_tasks`.
///   options: Rounds, passes, the step of phi, reports.
///
/// Throws ValueError as `run_tasks`, where an option is out of range, and where b, g or phi would
/// not be finite; Interrupted as `options` asks. The learner has then learned from every round that
/// was complete, and from nothing else.
///
/// Example:
///   const std::vector<float> x = {1, 1, 2, 1}, y = {1, 2, 3, 1}, phi = {0};
///   const std::vector<std::int64_t> offsets = {0, 2, 4};
///   aruba_fast::MetaLearner<float> learner(phi);
///   aruba_fast::meta_train<float>({x, y, offsets}, learner, "squared", {.n_passes = 3});
///   check(learner.n_tasks() == 6 && learner.learning_rate()[0] > 0);
template <class T>
ARUBA_FAST_API History meta_train(const Tasks<T>& tasks, MetaLearner<T>& learner,
                                  std::string_view loss, const TrainOptions& options = {});

}  // namespace aruba_fast
