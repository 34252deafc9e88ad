// The proximal rule for tasks with rows in CSR form: what a task does not touch stays at the start,
// so that each is solved in the columns that it does touch.
#include <algorithm>
#include <atomic>
#include <cmath>

#include "ops_proximal.h"
#include "solver_crew.h"

namespace aruba_fast {
namespace {

// A thread's task in its own columns, as dense rows of float64.
class OwnColumns {
 public:
  OwnColumns(const TaskTable& table, const ProximalOptions& options)
      : table_(table), options_(options) {}

  // Solves a task into its rows of the outputs; `call` has what is the same for all.
  void run(std::int64_t task, ProximalCall call, const double* phi, const double* rates,
           const ProximalOutputs& outputs) {
    begin_ = table_.starts[task];
    n_rows_ = table_.stops[task] - begin_;
    find_columns();
    if (table_.type == Type::kFloat64) read<double>();
    else read<float>();
    gather(phi, start_);
    gather(rates, root_);
    for (double& rate : root_) rate = std::sqrt(rate);
    solve(call, outputs.loss + task);
    const std::int64_t n = options_.n_classes * table_.n_features;
    expand(phi, theta_, outputs.theta + task * n);
    expand(nullptr, grad_sq_, outputs.grad_sq + task * n);
  }

 private:
  std::int64_t width() const { return std::ssize(columns_); }
  std::int64_t n_own() const { return options_.n_classes * width(); }

  void find_columns() {
    const std::int64_t* const begins = table_.rows.begins;
    columns_.assign(table_.rows.columns + begins[begin_],
                    table_.rows.columns + begins[begin_ + n_rows_]);
    std::sort(columns_.begin(), columns_.end());
    columns_.erase(std::unique(columns_.begin(), columns_.end()), columns_.end());
    if (columns_.empty()) columns_.push_back(0);  // the solver wants one
  }

  template <class T>
  void read() {
    x_.assign(static_cast<std::size_t>(n_rows_ * width()), 0.0);
    y_.resize(static_cast<std::size_t>(n_rows_));
    double* to = x_.data();
    for (std::int64_t i = 0; i < n_rows_; ++i, to += width()) {
      y_[static_cast<std::size_t>(i)] =
          static_cast<double>(static_cast<const T*>(table_.y)[begin_ + i]);
      const std::int64_t first = table_.rows.begins[begin_ + i],
                         last = table_.rows.begins[begin_ + i + 1];
      auto column = columns_.begin();
      for (std::int64_t entry = first; entry < last; ++entry) {
        column = std::lower_bound(column, columns_.end(), table_.rows.columns[entry]);
        to[column - columns_.begin()] = static_cast<double>(
            table_.widening ? static_cast<T>(widened(table_.rows.values, table_.widening, entry))
                            : static_cast<const T*>(table_.rows.values)[entry]);
      }
    }
  }

  void gather(const double* from, std::vector<double>& to) const {
    to.clear();
    for (std::int64_t c = 0; c < options_.n_classes; ++c)
      for (const std::int32_t column : columns_) to.push_back(from[c * table_.n_features + column]);
  }

  void solve(ProximalCall& call, double* loss) {
    const std::int64_t numbers =
        kernels().proximal_numbers(n_rows_, width(), options_.n_classes, options_.loss);
    if (numbers > n_numbers_) {
      scratch_.clear();
      scratch_.emplace_back(numbers);
      n_numbers_ = numbers;
    }
    theta_.resize(static_cast<std::size_t>(n_own()));
    grad_sq_.resize(theta_.size());
    const std::int64_t first = 0;
    std::int64_t next = 0;
    call.x = x_.data();
    call.y = y_.data();
    call.row_weights = table_.row_weights ? table_.row_weights + begin_ : nullptr;
    call.starts = &first;
    call.stops = &n_rows_;
    call.n_tasks = 1;
    call.n_features = width();
    call.phi = start_.data();
    call.root = root_.data();
    call.theta = theta_.data();
    call.grad_sq = grad_sq_.data();
    call.loss = loss;
    call.next = &next;
    call.scratch = scratch_.front().get();
    kernels().proximal[index_of(Type::kFloat64)](call);
  }

  // Where the task ended; `rest`: what it did not touch, null: zeros. Of a task that is lost all is
  // none.
  void expand(const double* rest, const std::vector<double>& own, double* to) const {
    const std::int64_t d = table_.n_features, n = options_.n_classes * d;
    if (std::isnan(own.front())) {
      std::fill_n(to, n, std::nan(""));
      return;
    }
    if (rest) std::copy_n(rest, n, to);
    else std::fill_n(to, n, 0.0);
    for (std::int64_t c = 0; c < options_.n_classes; ++c)
      for (std::int64_t k = 0; k < width(); ++k)
        to[c * d + columns_[static_cast<std::size_t>(k)]] =
            own[static_cast<std::size_t>(c * width() + k)];
  }

  const TaskTable& table_;
  const ProximalOptions& options_;
  std::int64_t begin_ = 0, n_rows_ = 0, n_numbers_ = 0;
  std::vector<std::int32_t> columns_;
  std::vector<double> x_, y_, start_, root_, theta_, grad_sq_;
  std::vector<Numbers> scratch_;  // one, of so many
};

}  // namespace

void run_sparse_proximal(const TaskTable& table, const ProximalOptions& options, const double* phi,
                         std::int64_t phi_stride, const ProximalRates& rates, Watch& watch,
                         const ProximalOutputs& outputs) {
  ProximalCall call{};
  call.n_classes = options.n_classes;
  call.loss_kind = options.loss;
  call.diagonal = true;
  call.block = 1;
  call.stop = &watch.stop;
  std::atomic<std::int64_t> next = 0;
  const int threads =
      table.n_rows < 64 ? 1 : static_cast<int>(std::min<std::int64_t>(n_threads(), table.n_tasks));
  const auto body = [&](int thread) {
    OwnColumns own(table, options);
    const ProximalCall of_thread = own_call(call, nullptr, thread, watch);
    for (std::int64_t task; (task = next++) < table.n_tasks;) {
      if (of_thread.poll) of_thread.poll(of_thread.poll_context);
      if (__atomic_load_n(&watch.stop, __ATOMIC_RELAXED)) return;
      own.run(task, of_thread, phi + task * phi_stride, rates.values, outputs);
    }
  };
  on_threads(threads, body, watch);
  if (watch.stop) throw Interrupted("run_tasks: interrupted");
}

}  // namespace aruba_fast
