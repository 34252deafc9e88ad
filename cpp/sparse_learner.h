// A learner while it learns from sparse rows: what a round touches is changed, all else is found
// when it is asked for.
//
// The rates of all coordinates change with every task, but they are functions of a coordinate's own
// b and g and of a few numbers (`Prior`, rules/meta.h). Sums over the coordinates are kept in
// pairs.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "ops_meta.h"
#include "sparse_round.h"

namespace aruba_fast {

// Float32 rates are off by less than this, and so is what they spread.
constexpr double kRateSlack = 1e-6;

template <class T>
class SparseLearner {
 public:
  SparseRound round;  // to be learned from

  SparseLearner(MetaState& state, std::int64_t n_features, std::int64_t n_outputs)
      : state_(state),
        n_features_(n_features),
        n_outputs_(n_outputs),
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
  }

  const LearnedRates& rates() const { return rates_; }

  // By what a task is shortened; nan: it is left out, and counted.
  double shortening_of(const SparseResult& result) {
    if (!result.counts) return std::nan("");
    if (!plain_ || !is_limited()) return 1;
    if (!is_finite(result.spread)) return std::nan("");
    return result.spread <= least_limit() ? 1 : shortening(result.spread, limit());
  }

  SparseSums sums(const SparseRound::Part& part) {
    const std::int64_t first = part.first * n_outputs_;
    return {.columns = round.columns.get() + part.first,
            .n_columns = part.n_columns,
            .n_features = n_features_,
            .n_outputs = n_outputs_,
            .distance = round.distance.get() + first,
            .grad_sq = round.grad_sq.get() + first,
            .moved = round.moved.get() + first};
  }

  // Learns from `round`, whose tasks the statistics count; the lock is held.
  void learn(const Statistics& statistics, const double* meta_step) {
    if (statistics.n_tasks == 0) {
      *state_.n_skipped += statistics.n_skipped;
      if (plain_) find_prior();
      has_learned_ = has_learned_ || plain_;
      return;
    }
    const PreparedRound prepared = state_.prepare(statistics, meta_step);
    MetaStep<double> step = prepared.step;
    step.smoothing = step.least = 0;  // of all coordinates alike: in smoothing_
    if (!is_finite(prepared.weight.high) || !update(step, statistics.weight.value()))
      MetaState::refuse_unsound("meta_train");
    smoothing_ += prepared.step.smoothing;
    *state_.n_tasks += statistics.n_tasks;
    *state_.n_skipped += statistics.n_skipped;
    *state_.weight_high = prepared.weight.high;
    *state_.weight_low = prepared.weight.low;
    if (plain_) note_touched();
    std::swap(round, last_);
    rates_of_last_ = rates_;
    has_learned_ = has_round_ = true;
    rho_is_told_ = false;
    rates_.step = prepared.step;
    find_prior();
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
  // False, and nothing is changed, where the learner would not stay sound.
  bool update(const MetaStep<double>& step, double weight) {
    const std::int64_t n_parts = std::ssize(round.parts);
    std::int64_t n_columns = 0;
    for (const SparseRound::Part& part : round.parts) n_columns += part.n_columns;
    const bool parallel = n_columns * n_outputs_ >= kParallelFrom;
    grew_.resize(round.parts.size());
    const auto call = [&](std::int64_t p) {
      const SparseRound::Part& part = round.parts[static_cast<std::size_t>(p)];
      Grew& grew = grew_[static_cast<std::size_t>(p)];
      const std::int64_t first = part.first * n_outputs_;
      return SparseUpdateCall{.sums = sums(part),
                              .coordinates = coordinates_.data(),
                              .step = step,
                              .n_summed = state_.n_summed(),
                              .weight = weight,
                              .old_b = round.old_b.get() + first,
                              .old_g = round.old_g.get() + first,
                              .old_phi = round.old_phi.get() + first,
                              .new_b = round.new_b.get() + first,
                              .new_g = round.new_g.get() + first,
                              .theta_sum = round.theta_sum.get() + first,
                              .b_grew = &grew.b,
                              .g_grew = &grew.g};
    };
    for_each(n_parts, parallel, [&](std::int64_t p) {
      grew_[static_cast<std::size_t>(p)].is_sound = kernels().sparse_update[kType](call(p));
    });
    if (!std::all_of(grew_.begin(), grew_.end(), [](const Grew& grew) { return grew.is_sound; })) {
      for (std::int64_t p = 0; p < n_parts; ++p) kernels().sparse_undo[kType](call(p));
      return false;
    }
    for (const Grew& grew : grew_) {
      add(sum_b_, grew.b);
      add(sum_g_, grew.g);
    }
    return true;
  }

  // body(i, at): number i of `of` is of coordinate `at`.
  template <class Body>
  void over(const SparseRound& of, Body body) const {
    for (const SparseRound::Part& part : of.parts)
      for (std::int64_t k = part.first; k < part.first + part.n_columns; ++k)
        for (std::int64_t c = 0; c < n_outputs_; ++c)
          body(k * n_outputs_ + c, c * n_features_ + of.columns[k]);
  }

  void note_touched() {
    if (all_touched()) return;
    over(round, [&](std::int64_t i, std::int64_t at) {
      if (round.old_b[i] == 0 && round.old_g[i] == 0 && (round.new_b[i] > 0 || round.new_g[i] > 0))
        touched_.push_back(at);
    });
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
    return is_finite(found) ? (1 - kRateSlack) * found : 0;
  }

  // The limit itself takes all coordinates that were ever touched: asked for where a task is near.
  double limit() {
    if (limit_ >= 0) return limit_;
    const double spread =
        kernels().sparse_spread[kType]({.rates = rates_,
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
    over(last_, [&](std::int64_t i, std::int64_t at) {
      state_.rho[at] = resting_ratio(last_.distance[i], last_.grad_sq[i], last_rate(i, at));
    });
  }

  double last_rate(std::int64_t i, std::int64_t at) const {
    if (const void* rates = rates_of_last_.as_they_are)
      return static_cast<double>(static_cast<const T*>(rates)[at]);
    return static_cast<double>(static_cast<T>(
        rate_by_prior(last_.old_b[i], last_.old_g[i], rates_of_last_.prior, rates_of_last_.step)));
  }

  static constexpr int kType = sizeof(T) == sizeof(double);
  // Coordinates, some 0.1 ms.
  static constexpr std::int64_t kParallelFrom = std::int64_t{1} << 14;

  MetaState& state_;
  const std::int64_t n_features_, n_outputs_;
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
  struct Grew {
    Twofold<double> b, g;
    bool is_sound;
  };
  std::vector<Grew> grew_;  // of the parts of a round
  bool has_learned_ = false, has_round_ = false, rho_is_told_ = false;
  SparseRound last_;
};

}  // namespace aruba_fast
