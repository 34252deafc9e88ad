// Tasks with sparse rows, one after the other: all a task touches is its own columns.
//
// Rows are taken in order; a parameter that a row does not touch has no gradient, and no rule of
// the list moves it then.
#pragma once

#include "rules/sums.h"
#include "slots-inl.h"
#include "sparse_columns-inl.h"
#include "sparse_meta-inl.h"
#include "sparse_row-inl.h"

namespace aruba_fast::ARUBA_ISA {

template <class T, class Rule>
class SparseRunner : private SparseColumns<T> {
 public:
  explicit SparseRunner(const SparseCall& call) : SparseColumns<T>(call), values_(call) {
    char* free = this->free_memory();
    const auto take = [&free](auto*& part, std::int64_t n_bytes) {
      part = reinterpret_cast<std::remove_reference_t<decltype(part)>>(free);
      free += (n_bytes + 63) / 64 * 64;
    };
    take(slope_, outputs_ * static_cast<std::int64_t>(sizeof(T)));
    take(work_, outputs_ * ARUBA_REGISTER_BYTES);
    const std::int64_t n_bytes = 8 * call.array_size();
    for (T** part : {&theta_, &phi_, &gradient_, &total_, &rest_, &squares_total_})
      take(*part, n_bytes);
    for (T*& part : parameters_) take(part, n_bytes);
    for (T*& part : state_) take(part, n_bytes);
    for (double** part : {&theta_sum_, &b_, &g_}) take(*part, n_bytes);
    take(seen_, n_bytes);
    for (int i = 0; i < kParameters; ++i) {
      given_[i] = static_cast<const T*>(call.parameters[i]);
      numbers_[i] = static_cast<T>(call.numbers[i]);
    }
  }

  void run() {
    while (!stopped()) {
      const std::int64_t position = __atomic_fetch_add(call_.next, 1, __ATOMIC_RELAXED);
      if (position >= call_.n_tasks) return;
      task(position);
    }
  }

 private:
  using Base = SparseColumns<T>;
  using Base::call_, Base::outputs_, Base::local_, Base::columns_, Base::first_entry_,
      Base::n_columns_, Base::n_, Base::gather, Base::scatter, Base::clear, Base::over_entries;

  static constexpr int kStates = kStatesOf<Rule>, kParameters = kParametersOf<Rule>;
  static constexpr std::int64_t kUnseen = 4096;
  // Whether a state moves without a gradient.
  static constexpr bool kWaits = std::is_same_v<Rule, Adam>;

  bool stopped() const { return __atomic_load_n(call_.stop, __ATOMIC_RELAXED); }

  void task(std::int64_t position) {
    const std::int64_t number = call_.order ? call_.order[position] : position;
    const std::int64_t first = call_.starts[number], last = call_.stops[number];
    first_entry_ = call_.rows.begins[first];
    this->number_columns(call_.rows.begins[last] - first_entry_);
    start(position);
    bool goes_on = true;
    for (std::int64_t epoch = 0; epoch < call_.n_epochs && goes_on; ++epoch)
      goes_on = rows(first, last, epoch + 1 == call_.n_epochs);
    if (!stopped()) finish(position);
    this->forget_columns();
  }

  void start(std::int64_t position) {
    if (call_.learned) gather_learned(*call_.learned);
    else gather(phi_, static_cast<const T*>(call_.phi) + position * call_.phi_stride);
    copy_numbers(phi_, n_, theta_);
    for (int s = 0; s < kStates; ++s) clear(state_[s]);
    for (int i = 0; i < kParameters; ++i)
      if (given_[i]) gather(parameters_[i], given_[i]);
    if (call_.batch_size > 1)
      for (T* part : {gradient_, total_, rest_}) clear(part);
    if (Rule::kSquaresAreFree) clear(squares_total_);
    if (call_.theta_bar) clear(theta_sum_);
    if (call_.theta_bar || kWaits) clear(seen_);
    loss_ = {};
    batch_ = {};
    n_rounds_ = 0;
    for (T& state : waiting_) state = T(0);
  }

  void gather_learned(const LearnedRates& rates) {
    for (std::int64_t c = 0; c < outputs_; ++c) {
      const auto* row = Base::learned(rates) + c * call_.n_features;
      for (std::int64_t k = 0; k < n_columns_; ++k) {
        const LearnedCoordinate<T>& from = row[columns_[k]];
        const std::int64_t at = k * outputs_ + c;
        phi_[at] = from.phi;
        b_[at] = from.b;
        g_[at] = from.g;
      }
    }
    if (rates.as_they_are) gather(parameters_[0], static_cast<const T*>(rates.as_they_are));
    else rates_of(rates, b_, g_, n_, parameters_[0]);
  }

  // False where the task is at its end, and lost: a gradient that is no number is one in every
  // coordinate, zeros of the row included.
  bool rows(std::int64_t first, std::int64_t last, bool last_epoch) {
    const std::int64_t last_entry = call_.rows.begins[last];
    for (std::int64_t row = first; row < last; ++row) {
      const std::int64_t begin = call_.rows.begins[row], n = call_.rows.begins[row + 1] - begin;
      const T* x = values_.of(begin, n, last_entry);
      const std::int32_t* columns = call_.rows.columns + begin;
      const std::uint32_t* local = local_ + (begin - first_entry_);
      const T unweighted = sparse_loss(
          call_.loss_kind, outputs_, static_cast<const T*>(call_.y)[row], work_, slope_,
          [&](std::int64_t c) {
            return sparse_dot(x, columns, n,
                              [&](std::int64_t i) { return theta_[local[i] * outputs_ + c]; });
          });
      const T loss = sparse_weighted(call_, row, unweighted, slope_);
      T finite(0);
      for (std::int64_t c = 0; c < outputs_; ++c) finite += slope_[c] - slope_[c];
      if (!(finite == T(0))) {
        loss_.add(last_epoch && row + 1 == last ? loss : static_cast<T>(__builtin_nan("")));
        is_lost_ = true;
        return false;
      }
      if (call_.batch_size == 1) {
        loss_.add(loss);
        over_entries(local, n, [&](std::int64_t i, std::int64_t c, std::int64_t at) {
          step(at, slope_[c] * x[i]);
        });
        end_round();
      } else {
        add_to_batch(row, last, x, loss);
      }
      unseen_ += n * outputs_ + 8;
      if (unseen_ < kUnseen) continue;
      if (call_.poll) call_.poll(call_.poll_context, unseen_);
      unseen_ = 0;
      if (stopped()) return false;
    }
    return true;
  }

  ARUBA_RULE void step(std::int64_t at, T gradient) {
    State<Rule, T> state;
    Parameters<Rule, T> by;
    for (int s = 0; s < kStates; ++s) state[s] = state_[s][at];
    for (int i = 0; i < kParameters; ++i)
      by[i] = given_[i] || (i == 0 && call_.learned) ? parameters_[i][at] : numbers_[i];
    if (call_.theta_bar)
      theta_sum_[at] += static_cast<double>(n_rounds_ + 1 - seen_[at]) * theta_[at];
    if constexpr (kWaits) Rule::wait(state, waiting_, n_rounds_ - seen_[at], by);
    if (call_.theta_bar || kWaits) seen_[at] = n_rounds_ + 1;
    Rule::step(theta_[at], state, gradient, by);
    for (int s = 0; s < kStates; ++s) state_[s][at] = state[s];
  }

  void end_round() {
    ++n_rounds_;
    if constexpr (kWaits) {
      T theta(0);
      Rule::step(theta, waiting_, T(0), numbers_);
    }
    if (!gathers_squares<Rule>(n_rounds_, call_.batch_size)) return;
    for (std::int64_t at = 0; at < n_; ++at) {
      squares_total_[at] = squares_total_[at] + state_[0][at];
      state_[0][at] = T(0);
    }
  }

  // ---- mini-batches: rows add up their gradients, the end of the batch is the round ----

  void add_to_batch(std::int64_t row, std::int64_t last, const T* x, T loss) {
    const auto entries = [this](std::int64_t from, std::int64_t to, auto body) {
      const std::int64_t begin = call_.rows.begins[from];
      over_entries(local_ + (begin - first_entry_), call_.rows.begins[to] - begin, body);
    };
    entries(row, row + 1, [&](std::int64_t i, std::int64_t c, std::int64_t at) {
      gradient_[at] = aruba_fast::fma(slope_[c], x[i], gradient_[at]);
    });
    batch_.add(loss);
    const bool ends = batch_.rows == call_.batch_size || row + 1 == last;
    // What is added a second time is zero by then.
    if (ends ? batch_.is_long() : batch_.is_part()) {
      const std::int64_t terms = (batch_.rows - 1) % kTermsTogether + 1;
      entries(row + 1 - terms, row + 1, [&](std::int64_t, std::int64_t, std::int64_t at) {
        aruba_fast::gather(gradient_[at], total_[at], rest_[at]);
      });
    }
    if (!ends) {
      if (batch_.is_part()) batch_.gather();
      return;
    }
    const T mean = batch_.per_row();
    const std::int64_t begin = row + 1 - batch_.rows;
    const bool is_long = batch_.is_long();
    loss_.add(batch_.close());
    entries(begin, row + 1, [&](std::int64_t, std::int64_t, std::int64_t at) {
      if (is_long) aruba_fast::collect(gradient_[at], total_[at], rest_[at]);
      const T gradient = mean * gradient_[at];
      gradient_[at] = T(0);
      // A column of several rows is met again, without a gradient.
      if (gradient == T(0)) return;
      step(at, gradient);
    });
    end_round();
  }

  // ---- the end of a task ----

  void finish(std::int64_t position) {
    call_.loss[position] = loss_.value();
    if (Rule::kSquaresAreFree && n_rounds_ >= kSquaresTogether)
      for (std::int64_t at = 0; at < n_; ++at) state_[0][at] = squares_total_[at] + state_[0][at];
    if (call_.results) compress(position);
    else expand(position);
    is_lost_ = false;
  }

  void expand(std::int64_t position) {
    const std::int64_t n = outputs_ * call_.n_features, row = position * n;
    const T* phi = static_cast<const T*>(call_.phi) + position * call_.phi_stride;
    T *theta_hat = static_cast<T*>(call_.theta_hat) + row,
      *grad_sq = call_.grad_sq ? static_cast<T*>(call_.grad_sq) + row : nullptr,
      *theta_bar = call_.theta_bar ? static_cast<T*>(call_.theta_bar) + row : nullptr;
    const auto same = [](T value) { return value; };
    if (is_lost_) {
      for (T* part : {theta_hat, grad_sq, theta_bar})
        for (std::int64_t j = 0; part && j < n; ++j) part[j] = static_cast<T>(__builtin_nan(""));
      return;
    }
    copy_numbers(phi, n, theta_hat);
    scatter(theta_hat, theta_, same);
    if (grad_sq) {
      std::memset(grad_sq, 0, static_cast<std::size_t>(n) * sizeof(T));
      scatter(grad_sq, state_[0], same);
    }
    if (!theta_bar) return;
    for (std::int64_t at = 0; at < n_; ++at)
      theta_sum_[at] += static_cast<double>(n_rounds_ - seen_[at]) * theta_[at];
    copy_numbers(phi, n, theta_bar);
    const double rounds = static_cast<double>(n_rounds_);
    scatter(theta_bar, theta_sum_, [rounds](double sum) { return static_cast<T>(sum / rounds); });
  }

  void compress(std::int64_t position) {
    SparseResult& result = call_.results[position];
    result.n_columns = n_columns_;
    copy_numbers(columns_, n_columns_, call_.columns + result.at);
    const std::int64_t at = result.at * outputs_;
    copy_numbers(theta_, n_, static_cast<T*>(call_.theta_hat) + at);
    result.counts = !is_lost_;
    if (!call_.learned) return;
    copy_numbers(state_[0], n_, static_cast<T*>(call_.grad_sq) + at);
    copy_numbers(phi_, n_, static_cast<T*>(call_.start) + at);
    result.spread = spread_of(theta_, phi_, state_[0], parameters_[0], n_);
    const double weight = call_.weights ? call_.weights[position] : 1;
    // Numbers alone have a spread that is one, and those of float32 are far from what is too large.
    if (sizeof(T) == sizeof(double) || !is_finite(result.spread))
      for (std::int64_t i = 0; i < n_ && result.counts; ++i)
        result.counts = counts(theta_[i], phi_[i], state_[0][i], weight);
  }

  SparseValues<T> values_;
  const T* given_[kParameters];
  T numbers_[kParameters];
  T *slope_, *work_, *theta_, *phi_, *gradient_, *total_, *rest_, *squares_total_;
  T *parameters_[kMostParameters], *state_[kMostStates];
  double *theta_sum_, *b_, *g_;
  std::int64_t* seen_;  // rounds that a parameter's state knows of
  T waiting_[kStates];  // the state of a parameter that never had a gradient
  Compensated<T> loss_;
  BatchLoss<T> batch_;
  std::int64_t n_rounds_ = 0, unseen_ = 0;
  bool is_lost_ = false;
};

template <class T, class Rule>
void run_sparse_tasks(const SparseCall& call) {
  SparseRunner<T, Rule>(call).run();
}

}  // namespace aruba_fast::ARUBA_ISA
