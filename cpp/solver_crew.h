// Threads for tasks that are solved and not run in steps, with memory for a task each.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "error.h"
#include "ops_tasks.h"

namespace aruba_fast {

// 64-byte aligned float64, not zeroed: what is not used is never touched.
class Numbers {
 public:
  explicit Numbers(std::int64_t n)
      : memory_(new double[static_cast<std::size_t>(n + 8)]),
        aligned_(reinterpret_cast<double*>((reinterpret_cast<std::uintptr_t>(memory_.get()) + 63) /
                                           64 * 64)) {}
  double* get() const { return aligned_; }
  double& operator[](std::int64_t i) const { return aligned_[i]; }

 private:
  std::unique_ptr<double[]> memory_;
  double* aligned_;
};

// Made once for a table, run many times.
class SolverCrew {
 public:
  // `numbers` tells what a task of so many rows, features and classes takes.
  SolverCrew(const TaskTable& table, Loss loss, std::int64_t n_classes,
             std::int64_t (*numbers)(std::int64_t, std::int64_t, std::int64_t), Watch& watch)
      : table_(table), loss_(loss), n_classes_(n_classes), watch_(watch) {
    std::int64_t most_rows = 0;
    double work = 0;
    const auto n = static_cast<double>(table.n_features * n_classes);
    for (std::int64_t i = 0; i < table.n_tasks; ++i) {
      const std::int64_t rows = table.stops[i] - table.starts[i];
      most_rows = std::max(most_rows, rows);
      work += static_cast<double>(rows) * n * n;
    }
    const int threads = work < kParallelFrom
                            ? 1
                            : static_cast<int>(std::min<std::int64_t>(n_threads(), table.n_tasks));
    for (int i = 0; i < threads; ++i)
      scratch_.emplace_back(numbers(most_rows, table.n_features, n_classes));
  }

  // Runs the kernel of the table's type on every thread; `call` is told of the tasks.
  template <class Call>
  void run(const char* function, Call call, void (*const (&kernel)[2])(const Call&)) {
    std::int64_t next = 0;
    call.x = table_.x;
    call.y = table_.y;
    call.starts = table_.starts;
    call.stops = table_.stops;
    call.n_tasks = table_.n_tasks;
    call.n_features = table_.n_features;
    call.n_classes = n_classes_;
    call.loss_kind = loss_;
    call.next = &next;
    call.stop = &watch_.stop;
    const auto body = [&](int thread) {
      double* const memory = scratch_[static_cast<std::size_t>(thread)].get();
      kernel[index_of(table_.type)](own_call(call, memory, thread, watch_));
    };
    on_threads(static_cast<int>(scratch_.size()), body, watch_);
    if (watch_.stop) throw Interrupted(std::string(function) + ": interrupted");
  }

 private:
  // Rows times squared parameters, some 0.1 to 0.2 ms: less is not worth a second thread.
  static constexpr double kParallelFrom = 1e5;

  const TaskTable& table_;
  const Loss loss_;
  const std::int64_t n_classes_;
  Watch& watch_;
  std::vector<Numbers> scratch_;
};

}  // namespace aruba_fast
