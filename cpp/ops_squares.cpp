// Tasks under squared loss, prepared once for many passes over them by the proximal rule.
#include "ops_squares.h"

#include <algorithm>
#include <numeric>

namespace aruba_fast {
namespace {

constexpr std::int64_t kSide = 8;
// Multiplications of a pass, some 0.1 ms: less is not worth a second thread.
constexpr double kParallelFrom = 2e6;

}  // namespace

std::int64_t CondensedRows::left_of(const TaskTable& table, std::int64_t task) {
  const std::int64_t n_rows = table.stops[task] - table.starts[task];
  return std::min(n_rows, table.n_features + 1);
}

bool CondensedRows::are_worthwhile(const TaskTable& table) {
  std::int64_t before = 0, left = 0;
  for (std::int64_t task = 0; task < table.n_tasks; ++task) {
    before += table.stops[task] - table.starts[task];
    left += left_of(table, task);
  }
  return 4 * left <= 3 * before;
}

CondensedRows::CondensedRows(const TaskTable& table, Watch& watch)
    : n_tasks_(table.n_tasks), n_features_(table.n_features) {
  for (std::int64_t task = 0; task < n_tasks_; ++task) {
    const std::int64_t left = left_of(table, task);
    rest_.push_back(table.stops[task] - table.starts[task] - left);
    to_.push_back(to_.back() + left);
  }
  for (const std::int64_t n : {to_.back() * n_features_, to_.back()}) numbers_.emplace_back(n);
  CondenseCall call{};
  call.to = to_.data();
  call.x_out = numbers_[0].get();
  call.y_out = numbers_[1].get();
  SolverCrew(table, Loss::kSquared, 1, kernels().condense_numbers, watch)
      .run("meta_fit", call, kernels().condense);
}

TaskTable CondensedRows::table() const {
  return {.x = numbers_[0].get(),
          .y = numbers_[1].get(),
          .starts = to_.data(),
          .stops = to_.data() + 1,
          .order = nullptr,
          .n_tasks = n_tasks_,
          .n_rows = to_.back(),
          .n_features = n_features_,
          .type = Type::kFloat64};
}

bool SquaredTasks::are_few(const TaskTable& table) {
  const std::int64_t d = table.n_features;
  if (d <= 16 || d > 32) return d <= 16;
  std::int64_t n_rows = 0;
  for (std::int64_t task = 0; task < table.n_tasks; ++task)
    n_rows += CondensedRows::left_of(table, task);
  return 2 * n_rows >= d * table.n_tasks;
}

SquaredTasks::SquaredTasks(const TaskTable& table, Watch& watch)
    : n_features_(table.n_features), watch_(watch) {
  const CondensedRows condensed(table, watch);
  const TaskTable few = condensed.table();
  const auto size = [&few](std::int64_t task) { return few.stops[task] - few.starts[task]; };
  // Those of one size side by side: who has fewer rows than its neighbours has zeros.
  std::vector<std::int64_t> order(static_cast<std::size_t>(few.n_tasks));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::int64_t a, std::int64_t b) { return size(a) < size(b); });
  const std::int64_t n_groups = (few.n_tasks + kSide - 1) / kSide, d = n_features_;
  for (std::int64_t group = 0; group < n_groups; ++group) {
    const std::int64_t last = std::min(few.n_tasks, (group + 1) * kSide) - 1;
    rows_.push_back(size(order[static_cast<std::size_t>(last)]));
    begins_.push_back(n_rows_);
    n_rows_ += rows_.back();
    most_rows_ = std::max(most_rows_, rows_.back());
  }
  for (const std::int64_t n : {n_rows_ * d * kSide, n_rows_ * kSide}) {
    numbers_.emplace_back(n);
    std::fill_n(numbers_.back().get(), n, 0.0);
  }
  counts_.assign(static_cast<std::size_t>(n_groups * kSide), 0.0);
  const double *const x = static_cast<const double*>(few.x), *const y =
                                                                 static_cast<const double*>(few.y);
  for (std::int64_t i = 0; i < few.n_tasks; ++i) {
    const std::int64_t task = order[static_cast<std::size_t>(i)], first = few.starts[task],
                       n = size(task), n_rows = n + condensed.rest()[task];
    const bool sound = std::all_of(x + first * d, x + (first + n) * d, is_finite) &&
                       std::all_of(y + first, y + first + n, is_finite);
    // Who is not finite is counted, and has zeros.
    counts_[static_cast<std::size_t>(i)] = static_cast<double>(sound ? n_rows : -n_rows);
    const std::int64_t to = begins_[static_cast<std::size_t>(i / kSide)];
    for (std::int64_t row = 0; sound && row < n; ++row) {
      for (std::int64_t j = 0; j < d; ++j)
        numbers_[0][((to + row) * d + j) * kSide + i % kSide] = x[(first + row) * d + j];
      numbers_[1][(to + row) * kSide + i % kSide] = y[first + row];
    }
  }
}

void SquaredTasks::run(const double* phi, const double* root, bool diagonal, bool wants_rows,
                       std::int64_t block, double* sums) {
  const auto n = static_cast<double>(n_features_);
  const double work = static_cast<double>(n_rows_ * kSide) * n * n +
                      static_cast<double>(n_groups() * kSide) * n * n * n;
  const std::int64_t n_blocks = (n_groups() + block - 1) / block;
  const int threads =
      work < kParallelFrom ? 1 : static_cast<int>(std::min<std::int64_t>(n_threads(), n_blocks));
  while (std::ssize(scratch_) < threads)
    scratch_.emplace_back(kernels().squares_numbers(most_rows_, n_features_));
  std::int64_t next = 0;
  const SquaresCall call = {.x = numbers_[0].get(),
                            .y = numbers_[1].get(),
                            .counts = counts_.data(),
                            .rows = rows_.data(),
                            .begins = begins_.data(),
                            .n_groups = n_groups(),
                            .most_rows = most_rows_,
                            .n_features = n_features_,
                            .phi = phi,
                            .root = root,
                            .diagonal = diagonal,
                            .wants_rows = wants_rows,
                            .block = block,
                            .sums = sums,
                            .next = &next,
                            .stop = &watch_.stop};
  const auto body = [&](int thread) {
    double* const memory = scratch_[static_cast<std::size_t>(thread)].get();
    kernels().squares(own_call(call, memory, thread, watch_));
  };
  on_threads(threads, body, watch_);
  if (watch_.stop) throw Interrupted("meta_fit: interrupted");
}

}  // namespace aruba_fast
