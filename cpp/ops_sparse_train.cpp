// The online loop over tasks with sparse rows: a round costs the entries of its tasks.
#include <algorithm>

#include "ops_sparse.h"
#include "sparse_learner.h"
#include "sparse_piles.h"

namespace aruba_fast {
namespace {

// Parameters of results that a round has in hand.
constexpr std::int64_t kBlockParameters = std::int64_t{1} << 20;

template <class T>
class SparseTraining {
 public:
  SparseTraining(const TaskTable& table, const TaskOptions& options, MetaState& state,
                 const MetaTraining& training, Watch& watch)
      : table_(table),
        options_(options),
        state_(state),
        training_(training),
        watch_(watch),
        crew_(table, options, watch),
        learner_(state, table.n_features, options.n_outputs),
        piles_(table.n_features, options.n_outputs, columns_of_round(), watch) {}

  void run() {
    AfterRound after_round(training_, watch_, table_.n_tasks);
    for (std::int64_t first = 0; first < table_.n_tasks; first += training_.round_size) {
      const std::int64_t end = std::min(table_.n_tasks, first + training_.round_size);
      Statistics statistics{nullptr};
      if (end - first == 1) one_task(first, statistics);
      else many_tasks(first, end, statistics);
      learn(first, statistics);
      after_round(0, end);
    }
  }

  // Brings the learner's arrays up to date; its lock is held.
  void settle() { learner_.settle(); }

 private:
  // ---- running ----

  // Tasks first..end, to results_ and the arrays beside it.
  void run_tasks(std::int64_t first, std::int64_t end) {
    results_.resize(static_cast<std::size_t>(end - first));
    weights_.resize(training_.weigh_by_rows ? results_.size() : 0);
    for (std::size_t i = 0; i < weights_.size(); ++i)
      weights_[i] = crew_.weight(first + static_cast<std::int64_t>(i));
    const std::int64_t n_columns = crew_.lay_out(first, results_);
    const auto bytes =
        static_cast<std::size_t>(n_columns * options_.n_outputs * size_of(table_.type));
    if (theta_hat_.size() < bytes) {
      theta_hat_.resize(bytes);
      grad_sq_.resize(bytes);
      start_.resize(bytes);
    }
    columns_.resize(std::max(columns_.size(), static_cast<std::size_t>(n_columns)));
    SparseCall call = crew_.call();
    call.learned = &learner_.rates();
    call.weights = weights_.empty() ? nullptr : weights_.data();
    call.theta_hat = theta_hat_.data();
    call.grad_sq = grad_sq_.data();
    call.start = start_.data();
    call.columns = columns_.data();
    call.results = results_.data();
    call.loss = training_.loss + first;
    crew_.run(call, kernels().sparse_tasks[static_cast<int>(TaskRule::kOgd)][index_of(table_.type)],
              first, end - first);
    if (watch_.stop) throw Interrupted("meta_train: interrupted");
  }

  double weight(std::int64_t i) const {
    return weights_.empty() ? 1.0 : weights_[static_cast<std::size_t>(i)];
  }

  // By what a task is shortened, nan where it is left out; it is counted.
  double shortening_of(std::int64_t first, std::int64_t i, Statistics& statistics) {
    const double by = learner_.shortening_of(results_[static_cast<std::size_t>(i)]);
    const bool counted = by == by;
    training_.skipped[first + i] = !counted;
    ++(counted ? statistics.n_tasks : statistics.n_skipped);
    if (counted) add(statistics.weight, weight(i));
    return by;
  }

  void one_task(std::int64_t first, Statistics& statistics) {
    run_tasks(first, first + 1);
    const double by = shortening_of(first, 0, statistics);
    if (statistics.n_tasks == 0) return;
    SparseRound& round = learner_.round;
    round.reserve(results_[0].n_columns, options_.n_outputs);
    round.parts.assign(1, {0, results_[0].n_columns});
    std::copy_n(columns_.begin(), results_[0].n_columns, round.columns.get());
    kernels().sparse_terms[index_of(table_.type)]({.into = learner_.sums(round.parts[0]),
                                                   .theta_hat = theta_hat_.data(),
                                                   .grad_sq = grad_sq_.data(),
                                                   .start = start_.data(),
                                                   .weight = weight(0),
                                                   .by = by});
  }

  // ---- rounds of several tasks ----

  void many_tasks(std::int64_t first, std::int64_t end, Statistics& statistics) {
    for (std::int64_t at = first, next; at < end; at = next) {
      std::int64_t parameters = 0;
      for (next = at; next < end && (next == at || parameters < kBlockParameters); ++next)
        parameters += crew_.most_columns(next) * options_.n_outputs;
      run_tasks(at, next);
      by_.resize(static_cast<std::size_t>(next - at));
      for (std::int64_t i = 0; i < next - at; ++i)
        by_[static_cast<std::size_t>(i)] = shortening_of(at, i, statistics);
      piles_.add({.results = results_.data(),
                  .columns = columns_.data(),
                  .theta_hat = theta_hat_.data(),
                  .grad_sq = grad_sq_.data(),
                  .start = start_.data(),
                  .by = by_.data(),
                  .weights = weights_.empty() ? nullptr : weights_.data(),
                  .n_tasks = next - at},
                 next == end, learner_.round);
    }
  }

  // Of the first one; the others will be like it.
  std::int64_t columns_of_round() const {
    std::int64_t n = 0;
    for (std::int64_t i = 0; i < std::min(table_.n_tasks, training_.round_size); ++i)
      n += crew_.most_columns(i);
    return n;
  }

  void learn(std::int64_t first, const Statistics& statistics) {
    const auto step =
        training_.step_of(first, [&] { return *state_.n_tasks + statistics.n_tasks; });
    const auto held = training_.held();
    learner_.learn(statistics, step ? &*step : nullptr);
  }

  const TaskTable& table_;
  const TaskOptions& options_;
  MetaState& state_;
  const MetaTraining& training_;
  Watch& watch_;
  SparseCrew crew_;
  SparseLearner<T> learner_;
  SparsePiles<T> piles_;
  std::vector<SparseResult> results_;
  std::vector<double> weights_, by_;
  std::vector<char> theta_hat_, grad_sq_, start_;
  std::vector<std::int32_t> columns_;
};

template <class T>
void train(const TaskTable& table, const TaskOptions& options, MetaState& state,
           const MetaTraining& training, Watch& watch) {
  SparseTraining<T> work(table, options, state, training, watch);
  const auto close = [&] {
    const auto held = training.held();
    if (training.settle) *training.settle = nullptr;
    work.settle();
  };
  if (training.settle) {
    const auto held = training.held();
    *training.settle = [&work] { work.settle(); };
  }
  try {
    work.run();
  } catch (...) {
    close();
    throw;
  }
  close();
}

}  // namespace

void meta_train_sparse(const TaskTable& table, const TaskOptions& options, MetaState& state,
                       const MetaTraining& training, Watch& watch) {
  if (state.type == Type::kFloat64) train<double>(table, options, state, training, watch);
  else train<float>(table, options, state, training, watch);
}

}  // namespace aruba_fast
