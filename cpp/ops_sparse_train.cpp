// The online loop over tasks with sparse rows: a round costs the entries of its tasks.
//
// A task changes b, g and phi in the columns that it touches. The rates of all coordinates change
// with it, but they are functions of a coordinate's own b and g and of a few numbers (`Prior`,
// rules/meta.h), found when a task asks for them. Sums over the coordinates are kept in pairs.
#include <algorithm>
#include <cmath>
#include <mutex>

#include "ops_sparse.h"

namespace aruba_fast {
namespace {

int index_of(Type type) { return type == Type::kFloat64; }

// Parameters of results that a round has in hand.
constexpr std::int64_t kBlockParameters = std::int64_t{1} << 20;
constexpr std::int64_t kPad = SparseCall::kPad;
// What a round takes at least, in coordinates that are moved.
constexpr std::int64_t kRoundWork = 1024;
// Float32 rates are off by less than this, and so is what they spread.
constexpr double kSlack = 1e-6;

// The columns that a round touched, and its sums there.
struct Round {
  std::vector<std::int32_t> columns;
  std::vector<double> distance, grad_sq, theta_sum, old_b, old_g, new_b, new_g, at;

  void resize(std::int64_t n_columns, std::int64_t n_outputs) {
    columns.resize(static_cast<std::size_t>(n_columns));
    const auto n = static_cast<std::size_t>((n_columns * n_outputs + kPad - 1) / kPad * kPad);
    for (auto* part : {&distance, &grad_sq, &theta_sum, &old_b, &old_g, &new_b, &new_g, &at})
      part->resize(n);
  }
};

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
        coordinates_(static_cast<std::size_t>(state.n)),
        plain_(state.parameters.average_task) {
    for (std::int64_t i = 0; i < state.n; ++i) {
      coordinates_[static_cast<std::size_t>(i)] = {state.phi_master[i], state.b[i], state.g[i],
                                                   static_cast<const T*>(state.phi)[i]};
      add(sum_b_, state.b[i]);
      add(sum_g_, state.g[i]);
      if (plain_ && (state.b[i] > 0 || state.g[i] > 0)) touched_.push_back(i);
    }
    rates_ = {coordinates_.data(), {}, {}, state.rates};
    limit_ = plain_ ? *state.limit : HUGE_VAL;
    if (training.round_size > 1) slots_.assign(static_cast<std::size_t>(table.n_features), 0);
  }

  void run() {
    const auto reported = std::chrono::milliseconds(100);
    auto last = std::chrono::steady_clock::now();
    for (std::int64_t first = 0; first < table_.n_tasks; first += training_.round_size) {
      const std::int64_t end = std::min(table_.n_tasks, first + training_.round_size);
      Statistics statistics{nullptr};
      if (end - first == 1) one_task(first, statistics);
      else many_tasks(first, end, statistics);
      learn(first, statistics);
      watch_.poll(kRoundWork);
      if (watch_.stop) throw Interrupted("meta_train: interrupted");
      if (training_.progress &&
          (end == table_.n_tasks || std::chrono::steady_clock::now() - last > reported)) {
        last = std::chrono::steady_clock::now();
        training_.progress(end, table_.n_tasks);
      }
    }
  }

  // Brings the learner's arrays up to date; its lock is held.
  void settle() {
    if (!has_learned_) return;
    if (has_round_) tell_rho();
    for (std::int64_t i = 0; i < state_.n; ++i) {
      const LearnedCoordinate<T>& at = coordinates_[static_cast<std::size_t>(i)];
      state_.phi_master[i] = at.phi_master;
      static_cast<T*>(state_.phi)[i] = at.phi;
      state_.b[i] = at.b + smoothing_;
      state_.g[i] = at.g + smoothing_;
      if (!plain_)
        static_cast<T*>(state_.rates)[i] =
            static_cast<T>(rate_by_prior(at.b, at.g, rates_.prior, rates_.step));
    }
    if (plain_) state_.find_rates();
  }

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
      columns_.resize(static_cast<std::size_t>(n_columns));
    }
    columns_.resize(std::max(columns_.size(), static_cast<std::size_t>(n_columns)));
    SparseCall call = crew_.call();
    call.learned = &rates_;
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

  // By what a task is shortened; nan: it is left out, and counted.
  double shortening_of(std::int64_t first, std::int64_t i, Statistics& statistics) {
    const SparseResult& result = results_[static_cast<std::size_t>(i)];
    double by = result.counts ? 1 : std::nan("");
    if (result.counts && plain_ && is_limited()) {
      if (!is_finite(result.spread)) by = std::nan("");
      else if (!(result.spread <= least_limit())) by = shortening(result.spread, limit());
    }
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
    round_.resize(results_[0].n_columns, options_.n_outputs);
    std::copy_n(columns_.begin(), results_[0].n_columns, round_.columns.begin());
    kernels().sparse_terms[index_of(table_.type)]({.into = sums(),
                                                   .theta_hat = theta_hat_.data(),
                                                   .grad_sq = grad_sq_.data(),
                                                   .coordinates = coordinates_.data(),
                                                   .weight = weight(0),
                                                   .by = by});
  }

  // ---- rounds of several tasks ----

  void many_tasks(std::int64_t first, std::int64_t end, Statistics& statistics) {
    round_.columns.clear();
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
    const std::int64_t n_outputs = options_.n_outputs, n_columns = std::ssize(round_.columns);
    round_.resize(n_columns, n_outputs);
    for (std::int64_t k = 0; k < n_columns; ++k) {
      const std::int32_t column = round_.columns[static_cast<std::size_t>(k)];
      slots_[static_cast<std::size_t>(column)] = 0;
      // A task that does not touch a column leaves phi there.
      const double others =
          statistics.weight.value() - weight_of_columns_[static_cast<std::size_t>(k)];
      for (std::int64_t c = 0; c < n_outputs; ++c) {
        const auto i = static_cast<std::size_t>(k * n_outputs + c);
        Sums& of = of_columns_[i];
        if (others > 0) add(of.theta_sum, others * phi_at(c * table_.n_features + column));
        round_.distance[i] = of.distance.value();
        round_.grad_sq[i] = of.grad_sq.value();
        round_.theta_sum[i] = of.theta_sum.value();
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
        __builtin_prefetch(coordinates_.data() + columns[k + kAhead]);
      }
      const std::int32_t column = columns[k];
      std::int32_t& slot = slots_[static_cast<std::size_t>(column)];
      if (slot == 0) {
        round_.columns.push_back(column);
        slot = static_cast<std::int32_t>(round_.columns.size());
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

  double phi_at(std::int64_t i) const {
    return static_cast<double>(coordinates_[static_cast<std::size_t>(i)].phi);
  }

  // ---- learning ----

  SparseSums sums() {
    return {.columns = round_.columns.data(),
            .n_columns = std::ssize(round_.columns),
            .n_features = table_.n_features,
            .n_outputs = options_.n_outputs,
            .distance = round_.distance.data(),
            .grad_sq = round_.grad_sq.data(),
            .theta_sum = round_.theta_sum.data()};
  }

  void learn(std::int64_t first, const Statistics& statistics) {
    std::optional<double> meta_step;
    if (training_.meta_step) meta_step = training_.meta_step(*state_.n_tasks + statistics.n_tasks);
    else if (training_.n_visits) meta_step = training_.annealed_step(first);
    std::unique_lock<StateLock> held;
    if (training_.lock) held = std::unique_lock(*training_.lock);
    if (statistics.n_tasks == 0) {
      *state_.n_skipped += statistics.n_skipped;
      if (plain_) find_prior();
      has_learned_ = has_learned_ || plain_;
      return;
    }
    const PreparedRound round = state_.prepare(statistics, meta_step ? &*meta_step : nullptr);
    MetaStep<double> step = round.step;
    step.smoothing = step.least = 0;  // of all coordinates alike: in smoothing_
    Twofold<double> b_grew, g_grew;
    const bool sound =
        is_finite(round.weight.high) &&
        kernels().sparse_update[index_of(state_.type)]({.sums = sums(),
                                                        .coordinates = coordinates_.data(),
                                                        .step = step,
                                                        .n_summed = state_.n_summed(),
                                                        .old_b = round_.old_b.data(),
                                                        .old_g = round_.old_g.data(),
                                                        .new_b = round_.new_b.data(),
                                                        .new_g = round_.new_g.data(),
                                                        .at = round_.at.data(),
                                                        .b_grew = &b_grew,
                                                        .g_grew = &g_grew});
    if (!sound) MetaState::refuse_unsound("meta_train");
    add(sum_b_, b_grew);
    add(sum_g_, g_grew);
    smoothing_ += round.step.smoothing;
    *state_.n_tasks += statistics.n_tasks;
    *state_.n_skipped += statistics.n_skipped;
    *state_.weight_high = round.weight.high;
    *state_.weight_low = round.weight.low;
    if (plain_) note_touched();
    std::swap(round_, last_);
    rates_of_last_ = rates_;
    has_learned_ = has_round_ = true;
    rho_is_told_ = false;
    rates_.step = round.step;
    find_prior();
  }

  void note_touched() {
    if (all_touched()) return;
    const std::int64_t n_outputs = options_.n_outputs;
    for (std::size_t k = 0; k < round_.columns.size(); ++k)
      for (std::int64_t c = 0; c < n_outputs; ++c) {
        const std::size_t i = k * static_cast<std::size_t>(n_outputs) + static_cast<std::size_t>(c);
        if (round_.old_b[i] == 0 && round_.old_g[i] == 0 &&
            (round_.new_b[i] > 0 || round_.new_g[i] > 0))
          touched_.push_back(c * table_.n_features + round_.columns[k]);
      }
  }
  // A list of most coordinates is slower than all of them.
  bool all_touched() const { return 4 * std::ssize(touched_) > state_.n; }

  // What makes the rates now, beside a coordinate's own b and g.
  void find_prior() {
    const double n = static_cast<double>(state_.n);
    if (!plain_) {
      rates_.as_they_are = nullptr;
      rates_.prior = state_.parameters.isotropic ? Prior{0, sum_b_.value() + n * smoothing_,
                                                         sum_g_.value() + n * smoothing_}
                                                 : Prior{1, smoothing_, smoothing_};
      return;
    }
    const SumsOfTensor all = {sum_b_.value(), sum_g_.value(), state_.n};
    rates_.step = {};
    rates_.step.learning_rate = restraint(*state_.n_tasks, *state_.n_skipped);
    rates_.step.cap = state_.rate_cap();
    limit_ = -1;
    if (!all.is_known()) return;
    rates_.as_they_are = nullptr;
    rates_.prior = prior_of(all, all, held(), state_.parameters.isotropic);
  }

  double held() const { return tasks_held(*state_.n_tasks, state_.parameters.decay); }

  // ---- the limit: the mean of what tasks have spread, over all coordinates at their rates ----

  bool is_limited() const {
    return limit_ < 0 ? sum_b_.high > 0 || sum_g_.high > 0 : is_finite(limit_);
  }

  // As the sum was last found. It grows with every b and g, and a change of the prior by a factor
  // changes every rate by at most its root.
  double least_limit() const {
    if (limit_ >= 0) return limit_;
    if (!(seen_.spread > 0)) return 0;
    const double b = rates_.prior.b / seen_.prior.b, g = rates_.prior.g / seen_.prior.g,
                 by = rates_.step.learning_rate / seen_.restraint,
                 most = by * std::sqrt(std::max(1.0, b) / std::min(1.0, g)),
                 least = by * std::sqrt(std::min(1.0, b) / std::max(1.0, g)),
                 found = spread_limit(seen_.spread * std::min(least, 1 / most), held());
    return is_finite(found) ? (1 - kSlack) * found : 0;
  }

  // The limit itself takes all coordinates that were ever touched: asked for where a task is near.
  double limit() {
    if (limit_ >= 0) return limit_;
    const double spread = kernels().sparse_spread[index_of(state_.type)](
        {.rates = rates_,
         .listed = all_touched() ? nullptr : touched_.data(),
         .n = all_touched() ? state_.n : std::ssize(touched_),
         .per_distance = state_.parameters.per_distance()});
    limit_ = spread_limit(spread, held());
    seen_ = {rates_.as_they_are ? 0 : spread, rates_.step.learning_rate, rates_.prior};
    return limit_;
  }

  // Of the last round that was learned from; nobody else has moved.
  void tell_rho() {
    if (rho_is_told_) return;
    rho_is_told_ = true;
    std::fill_n(state_.rho, state_.n, std::nan(""));
    const std::int64_t n_outputs = options_.n_outputs;
    for (std::int64_t k = 0; k < std::ssize(last_.columns); ++k)
      for (std::int64_t c = 0; c < n_outputs; ++c) {
        const auto i = static_cast<std::size_t>(k * n_outputs + c);
        const std::int64_t at = c * table_.n_features + last_.columns[static_cast<std::size_t>(k)];
        state_.rho[at] = resting_ratio(last_.distance[i], last_.grad_sq[i], last_rate(i, at));
      }
  }

  double last_rate(std::size_t i, std::int64_t at) const {
    if (const void* rates = rates_of_last_.as_they_are)
      return static_cast<double>(static_cast<const T*>(rates)[at]);
    return static_cast<double>(static_cast<T>(
        rate_by_prior(last_.old_b[i], last_.old_g[i], rates_of_last_.prior, rates_of_last_.step)));
  }

  const TaskTable& table_;
  const TaskOptions& options_;
  MetaState& state_;
  const MetaTraining& training_;
  Watch& watch_;
  SparseCrew crew_;
  std::vector<LearnedCoordinate<T>> coordinates_;  // without the smoothing of this call
  const bool plain_;
  double smoothing_ = 0;
  Twofold<double> sum_b_ = {0, 0}, sum_g_ = {0, 0};
  LearnedRates rates_, rates_of_last_;
  double limit_;  // negative: not known
  struct {
    double spread = 0, restraint = 1;
    Prior prior = {};
  } seen_;
  std::vector<std::int64_t> touched_;
  bool has_learned_ = false, has_round_ = false, rho_is_told_ = false;
  Round round_, last_;
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
  const auto with_lock = [&](auto body) {
    std::unique_lock<StateLock> held;
    if (training.lock) held = std::unique_lock(*training.lock);
    body();
  };
  const auto close = [&] {
    with_lock([&] {
      if (training.settle) *training.settle = nullptr;
      work.settle();
    });
  };
  with_lock([&] {
    if (training.settle) *training.settle = [&work] { work.settle(); };
  });
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
