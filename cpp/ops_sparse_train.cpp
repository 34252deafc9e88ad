// The online loop over tasks with sparse rows: a round costs the entries of its tasks.
#include <algorithm>

#include "ops_sparse.h"
#include "sparse_learner.h"

namespace aruba_fast {
namespace {

// Parameters of results that a round has in hand.
constexpr std::int64_t kBlockParameters = std::int64_t{1} << 20;

// A column's sums over the tasks of a round, in pairs.
struct Sums {
  Twofold<double> distance, grad_sq, theta_sum;
};

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
        learner_(state, table.n_features, options.n_outputs) {
    if (training.round_size > 1) slots_.assign(static_cast<std::size_t>(table.n_features), 0);
  }

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
    std::int64_t n_columns = 0;
    results_.resize(static_cast<std::size_t>(end - first));
    weights_.resize(training_.weigh_by_rows ? results_.size() : 0);
    for (std::int64_t i = first; i < end; ++i) {
      results_[static_cast<std::size_t>(i - first)].at = n_columns;
      n_columns += std::min(crew_.entries(i), table_.n_features);
      if (training_.weigh_by_rows)
        weights_[static_cast<std::size_t>(i - first)] = static_cast<double>(crew_.n_rows(i));
    }
    const auto bytes =
        static_cast<std::size_t>(n_columns * options_.n_outputs * size_of(table_.type));
    if (theta_hat_.size() < bytes) {
      theta_hat_.resize(bytes);
      grad_sq_.resize(bytes);
    }
    columns_.resize(std::max(columns_.size(), static_cast<std::size_t>(n_columns)));
    SparseCall call = crew_.call();
    call.learned = &learner_.rates();
    call.weights = weights_.empty() ? nullptr : weights_.data();
    call.theta_hat = theta_hat_.data();
    call.grad_sq = grad_sq_.data();
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
    learner_.round.resize(results_[0].n_columns, options_.n_outputs);
    std::copy_n(columns_.begin(), results_[0].n_columns, learner_.round.columns.begin());
    kernels().sparse_terms[index_of(table_.type)]({.into = learner_.sums(),
                                                   .theta_hat = theta_hat_.data(),
                                                   .grad_sq = grad_sq_.data(),
                                                   .coordinates = learner_.coordinates(),
                                                   .weight = weight(0),
                                                   .by = by});
  }

  // ---- rounds of several tasks ----

  void many_tasks(std::int64_t first, std::int64_t end, Statistics& statistics) {
    learner_.round.columns.clear();
    of_columns_.clear();
    weight_of_columns_.clear();
    for (std::int64_t at = first, next; at < end; at = next) {
      std::int64_t parameters = 0;
      for (next = at; next < end && (next == at || parameters < kBlockParameters); ++next)
        parameters += std::min(crew_.entries(next), table_.n_features) * options_.n_outputs;
      run_tasks(at, next);
      for (std::int64_t i = 0; i < next - at; ++i) {
        const double by = shortening_of(at, i, statistics);
        if (!(by == by)) continue;
        add_task(i, by);
      }
    }
    const std::int64_t n_outputs = options_.n_outputs,
                       n_columns = std::ssize(learner_.round.columns);
    learner_.round.resize(n_columns, n_outputs);
    for (std::int64_t k = 0; k < n_columns; ++k) {
      const std::int32_t column = learner_.round.columns[static_cast<std::size_t>(k)];
      slots_[static_cast<std::size_t>(column)] = 0;
      // A task that does not touch a column leaves phi there.
      const double others =
          statistics.weight.value() - weight_of_columns_[static_cast<std::size_t>(k)];
      for (std::int64_t c = 0; c < n_outputs; ++c) {
        const auto i = static_cast<std::size_t>(k * n_outputs + c);
        Sums& of = of_columns_[i];
        if (others > 0) add(of.theta_sum, others * phi_at(c * table_.n_features + column));
        learner_.round.distance[i] = of.distance.value();
        learner_.round.grad_sq[i] = of.grad_sq.value();
        learner_.round.theta_sum[i] = of.theta_sum.value();
      }
    }
  }

  void add_task(std::int64_t task, double by) {
    const SparseResult& result = results_[static_cast<std::size_t>(task)];
    const std::int64_t n_outputs = options_.n_outputs;
    const T *theta_hat = reinterpret_cast<const T*>(theta_hat_.data()) + result.at * n_outputs,
            *grad_sq = reinterpret_cast<const T*>(grad_sq_.data()) + result.at * n_outputs;
    const std::int32_t* columns = columns_.data() + result.at;
    constexpr std::int64_t kAhead = 16;
    for (std::int64_t k = 0; k < result.n_columns; ++k) {
      if (k + kAhead < result.n_columns) {
        __builtin_prefetch(slots_.data() + columns[k + kAhead], 1);
        __builtin_prefetch(learner_.coordinates() + columns[k + kAhead]);
      }
      const std::int32_t column = columns[k];
      std::int32_t& slot = slots_[static_cast<std::size_t>(column)];
      if (slot == 0) {
        learner_.round.columns.push_back(column);
        slot = static_cast<std::int32_t>(learner_.round.columns.size());
        of_columns_.resize(of_columns_.size() + static_cast<std::size_t>(n_outputs),
                           {{0, 0}, {0, 0}, {0, 0}});
        weight_of_columns_.push_back(0);
      }
      weight_of_columns_[static_cast<std::size_t>(slot) - 1] += weight(task);
      Sums* of = of_columns_.data() + (slot - 1) * n_outputs;
      for (std::int64_t c = 0; c < n_outputs; ++c) {
        const double from = phi_at(c * table_.n_features + column),
                     theta = shortened(static_cast<double>(theta_hat[k * n_outputs + c]), from, by);
        add(of[c].distance, half_square_distance(theta, from));
        add(of[c].grad_sq, by * by * static_cast<double>(grad_sq[k * n_outputs + c]));
        add(of[c].theta_sum, weight(task) * theta);
      }
    }
  }

  double phi_at(std::int64_t i) const { return static_cast<double>(learner_.coordinates()[i].phi); }

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
  std::vector<SparseResult> results_;
  std::vector<double> weights_;
  std::vector<char> theta_hat_, grad_sq_;
  std::vector<std::int32_t> columns_;
  std::vector<std::int32_t> slots_;  // of a column in the round, plus one
  std::vector<Sums> of_columns_;
  std::vector<double> weight_of_columns_;
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
