// What is refused is refused by one sentence, and nothing is changed; a long call ends when asked.
#include <aruba_fast/aruba_fast.h>

#include <cmath>
#include <cstdio>
#include <limits>
#include <string>

namespace {

using aruba_fast::LearnerOptions;
using aruba_fast::MetaLearner;
using Rule = aruba_fast::Rule<float>;

int n_failed = 0, n_refused = 0;

void expect(bool holds, const std::string& what) {
  if (holds) return;
  std::printf("%s\n", what.c_str());
  ++n_failed;
}

template <class Call>
void refused(const std::string& sentence, Call call) {
  ++n_refused;
  try {
    call();
    expect(false, "not refused: " + sentence);
  } catch (const aruba_fast::ValueError& error) {
    expect(error.what() == sentence, error.what() + std::string("\n  expected " + sentence));
  }
}

}  // namespace

int main() {
  const std::vector<float> x = {1, 2, 3, 4, 5, 6}, y = {1, 0, 1}, phi = {0, 0}, one = {0};
  const std::vector<std::int64_t> offsets = {0, 1, 3}, beyond = {0, 1, 4}, empty = {0, 0, 3},
                                  two = {1, 0}, one_offset = {0};
  const aruba_fast::Tasks<float> tasks(x, y, offsets);
  const float infinite = std::numeric_limits<float>::infinity();
  const auto made = [&](const LearnerOptions& options) {
    return [&phi, options] { MetaLearner<float>(phi, options); };
  };
  refused("MetaLearner: `phi` must be finite everywhere: got inf at 1, expected finite",
          [&] { MetaLearner<float>(std::vector{0.0F, infinite}); });
  refused("MetaLearner: `learning_rate` must be positive: got -1, expected a finite number > 0",
          made({.learning_rate = -1}));
  refused(
      "MetaLearner: `learning_rate` must be within float32: got 1e+300, expected "
      "1.17549435e-38 to 3.4028234663852886e+38",
      made({.learning_rate = 1e300}));
  refused("MetaLearner: `zeta` must be finite: got inf, expected a finite number > 0",
          made({.zeta = INFINITY}));
  refused(
      "MetaLearner: `learning_rate` times `zeta` must have a square within float64: got "
      "2.4099198651028841e-181, "
      "expected 1e-150 to 1e150",
      made({.learning_rate = 0x1p-300, .zeta = 0x1p-300}));
  refused("MetaLearner: `decay` must be a fraction: got 1, expected 0 <= value < 1",
          made({.decay = 1}));
  refused("MetaLearner: `tensors` must be the sizes of all that `phi` holds: got 3, expected 2",
          made({.tensors = {1, 2}}));

  MetaLearner<float> learner(phi);
  refused(
      "MetaLearner::rule: the first learning rate must be known: got none and no task, expected "
      "learner.first_rate(tasks, loss) before, or a number for `learning_rate`; meta_train finds "
      "it by itself",
      [&] { learner.rule(); });
  refused(
      "MetaLearner::update: `theta_hat` must have a row as long as `phi` for each task: got 3, "
      "expected a multiple of 2",
      [&] { learner.update(y, y); });
  refused(
      "MetaLearner::update: `weights` must be moderate: got -1 at 0, expected 0, or 1e-150 to "
      "1e150",
      [&] { learner.update(phi, phi, {.weights = std::vector{-1.0}}); });
  refused(
      "MetaLearner::update: `meta_step` must not be negative: got -1, expected a finite number "
      ">= 0",
      [&] { learner.update(phi, phi, {.meta_step = -1}); });
  expect(learner.n_tasks() == 0 && learner.b()[0] == 0, "a refused round changed the learner");

  const auto trained = [&](const aruba_fast::Tasks<float>& of, const char* loss,
                           const aruba_fast::TrainOptions& options) {
    return [&learner, of, loss, options] { meta_train(of, learner, loss, options); };
  };
  refused(
      "meta_train: `loss` must be the name of a loss: got 'square', expected one of squared, "
      "absolute, huber, logistic, hinge, poisson, softmax",
      trained(tasks, "square", {}));
  refused(
      "meta_train: the rows of task 1 must be a non-empty part of the table: got 1:4, expected "
      "0 <= start < stop <= 3",
      trained({x, y, beyond}, "squared", {}));
  refused(
      "meta_train: the rows of task 0 must be a non-empty part of the table: got 0:0, expected "
      "0 <= start < stop <= 3",
      trained({x, y, empty}, "squared", {}));
  refused(
      "meta_train: `y` must hold the labels -1 and 1 of the hinge loss: got 0 in row 1, expected "
      "-1 or 1, as 2 * y - 1 makes them of 0 and 1",
      trained(tasks, "hinge", {}));
  refused("meta_train: `tasks.n_tasks()` must be at least 1: got 0",
          trained({x, y, one_offset}, "squared", {}));
  refused("meta_train: `round_size` must be at least 1: got 0",
          trained(tasks, "squared", {.round_size = 0}));
  refused("meta_train: `order` must name every visit: got 2, expected 4",
          trained(tasks, "squared", {.n_passes = 2, .order = two}));
  refused(
      "meta_train: `proximal` must be false with `batch_size`, `n_epochs` or `radius`: tasks are "
      "solved, and take no steps",
      trained(tasks, "squared", {.n_epochs = 2, .proximal = true}));
  refused("run_tasks: `phi` must have one parameter per feature of `tasks`: got 1, expected 2",
          [&] { run_tasks(tasks, one, Rule::ogd(0.1), "squared"); });
  refused("run_tasks: `rule` must have one `learning_rate` per parameter: got 3, expected 2",
          [&] { run_tasks(tasks, phi, Rule::ogd(y), "squared"); });
  refused(
      "run_tasks: `phi` must lie in the ball of `radius`: got norm 1.4142135623730951, expected at "
      "most 1",
      [&] { run_tasks(tasks, std::vector{1.0F, 1.0F}, Rule::ogd(0.1), "squared", {.radius = 1}); });
  refused("evaluate: `run` must be of as many tasks as `tasks`: got 0, expected 2",
          [&] { evaluate(tasks, aruba_fast::TaskRun<float>{}, "squared"); });
  refused("Rule::adam: `beta2` must be a fraction: got 1, expected 0 <= value < 1",
          [&] { Rule::adam(0.1, 1); });
  refused("Rule::aruba_plus_plus: `g` must be positive: got 0, expected a finite number > 0",
          [&] { Rule::aruba_plus_plus(std::vector{1.0}, std::vector{0.0}, 1); });
  std::vector<float> theta = {1, 1};
  refused("step: `theta` is modified and must not overlap `grad`",
          [&] { aruba_fast::step(theta, theta, 0.5); });
  refused("step: `grad` must have the shape of `theta`: got (1,), expected (2,)",
          [&] { aruba_fast::step(theta, one, 0.5); });
  refused(
      "set_n_threads: `n` must be a number of threads: got -1, expected 1 to 4096, or 0 for the "
      "default",
      [] { aruba_fast::set_n_threads(-1); });
  expect(learner.n_tasks() == 0 && theta == std::vector<float>{1, 1},
         "a refused call changed something");

  std::int64_t reported = 0;
  try {
    trained(tasks, "squared",
            {.n_passes = 1000000,
             .progress = [&](std::int64_t done, std::int64_t) { reported = done; },
             .interrupted = [] { return true; }})();
    expect(false, "not interrupted");
  } catch (const aruba_fast::Interrupted&) {
    expect(learner.n_tasks() > 0 && learner.n_tasks() < 2000000, "what was finished stands");
  }
  MetaLearner<float> copy = learner;
  copy.update(phi, phi);
  expect(copy.n_tasks() == learner.n_tasks() + 1, "a copy is a learner of its own");
  std::printf("%d refusals\n", n_refused);
  return n_failed;
}
