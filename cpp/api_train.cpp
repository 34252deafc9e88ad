// The public training of a meta-learner on a table of tasks.
#include <cmath>

#include "api_checks.h"
#include "aruba_fast/learner.h"

namespace aruba_fast {
namespace {

constexpr const char* kFunction = "meta_train";

// How far the proximal rule goes at a learner's rates: as squared distances say, whole.
double proximal_coef(Bound bound) { return std::sqrt(bound == Bound::kTight ? 1.0 : 2.0); }

void require_training(const TrainOptions& options, std::int64_t n_tasks) {
  require_at_least_one(kFunction, "round_size", options.round_size);
  require_at_least_one(kFunction, "n_passes", options.n_passes);
  if (options.meta_step) require_not_negative(kFunction, "meta_step", *options.meta_step);
  if (options.proximal && (options.batch_size != 1 || options.n_epochs != 1 || options.radius))
    throw ValueError(
        "meta_train: `proximal` must be false with `batch_size`, `n_epochs` or "
        "`radius`: tasks are solved, and take no steps");
  if (options.order.empty()) return;
  require_size(kFunction, "`order`", "name every visit", std::ssize(options.order),
               options.n_passes * n_tasks);
  for (const std::int64_t task : options.order)
    if (task < 0 || task >= n_tasks)
      refuse(kFunction, "`order`", "hold task numbers", std::to_string(task),
             "0 to " + std::to_string(n_tasks - 1));
}

}  // namespace

template <class T>
History meta_train(const Tasks<T>& tasks, MetaLearner<T>& learner, std::string_view loss,
                   const TrainOptions& options) {
  const Loss kind = loss_named(kFunction, loss);
  const std::int64_t n = learner.n_parameters();
  TaskTable table = checked_table(kFunction, tasks, kind, n);
  const TaskOptions run = checked_options(
      kFunction, table, kind, "learner", n,
      {.batch_size = options.batch_size, .n_epochs = options.n_epochs, .radius = options.radius});
  require_training(options, table.n_tasks);
  require_in_ball(kFunction, array_of("phi", learner.phi()), run.radius);
  if (!learner.knows_rate()) learner.first_rate(tasks, loss, options.proximal);
  const std::int64_t n_tasks = table.n_tasks, n_visits = options.n_passes * n_tasks;
  History history{std::vector<double>(static_cast<std::size_t>(n_visits)),
                  std::vector<std::uint8_t>(static_cast<std::size_t>(n_visits))};
  Watch watch(options.interrupted);
  MetaState state = learner.state();
  for (std::int64_t done = 0; done < n_visits; done += n_tasks) {
    if (!options.order.empty()) table.order = options.order.data() + done;
    MetaTraining training = {.round_size = options.round_size,
                             .weigh_by_rows = options.weigh_by_rows,
                             .meta_step = nullptr,
                             .progress = nullptr,
                             .loss = history.loss.data() + done,
                             .skipped = history.skipped.data() + done};
    if (options.meta_step)
      training.meta_step = [&options](std::int64_t) { return options.meta_step; };
    else if (!learner.options().zeta) training.n_visits = n_visits, training.n_visited = done;
    if (options.proximal) training.proximal = proximal_coef(learner.options().bound);
    if (options.progress)
      training.progress = [&options, done, n_visits](std::int64_t of_pass, std::int64_t) {
        options.progress(done + of_pass, n_visits);
      };
    meta_train(table, run, state, training, watch);
  }
  return history;
}

#define ARUBA_FOR(T)                                                              \
  template History meta_train(const Tasks<T>&, MetaLearner<T>&, std::string_view, \
                              const TrainOptions&);
ARUBA_FOR(float)
ARUBA_FOR(double)
#undef ARUBA_FOR

}  // namespace aruba_fast
