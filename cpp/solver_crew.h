// Threads for tasks that are solved and not run in steps, with memory for a task each.
#pragma once

#include <algorithm>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "aruba_fast/error.h"
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
             std::int64_t (*numbers)(std::int64_t, std::int64_t, std::int64_t, Loss), Watch& watch)
      : table_(table), loss_(loss), n_classes_(n_classes), watch_(watch) {
    std::int64_t most_rows = 0;
    for (std::int64_t i = 0; i < table.n_tasks; ++i) {
      const std::int64_t task = table.order ? table.order[i] : i;
      most_rows = std::max(most_rows, table.stops[task] - table.starts[task]);
    }
    n_numbers_ = numbers(most_rows, table.n_features, n_classes, loss);
  }

  // Runs the kernel of the table's type on every thread; `call` is told of the tasks.
  template <class Call>
  void run(const char* function, Call call, void (*const (&kernel)[2])(const Call&)) {
    run(function, call, kernel, table_.starts, table_.stops, table_.n_tasks);
  }
  // The same for some of the table's tasks.
  template <class Call>
  void run(const char* function, Call call, void (*const (&kernel)[2])(const Call&),
           const std::int64_t* starts, const std::int64_t* stops, std::int64_t n_tasks) {
    const int threads = threads_for(starts, stops, n_tasks);
    reserve(function, threads);
    std::int64_t next = 0;
    call.x = table_.x;
    call.widening = table_.widening;
    call.y = table_.y;
    call.row_weights = table_.row_weights;
    call.starts = starts;
    call.stops = stops;
    call.n_tasks = n_tasks;
    call.n_features = table_.n_features;
    call.n_classes = n_classes_;
    call.loss_kind = loss_;
    call.next = &next;
    call.stop = &watch_.stop;
    const auto body = [&](int thread) {
      double* const memory = scratch_[static_cast<std::size_t>(thread)].get();
      kernel[index_of(table_.type)](own_call(call, memory, thread, watch_));
    };
    on_threads(threads, body, watch_);
    if (watch_.stop) throw Interrupted(std::string(function) + ": interrupted");
  }

 private:
  // Rows times squared parameters, some 0.1 to 0.2 ms: less is not worth a second thread.
  static constexpr double kParallelFrom = 1e5;

  void reserve(const char* function, int threads) {
    try {
      while (std::ssize(scratch_) < threads) scratch_.emplace_back(n_numbers_);
    } catch (const std::bad_alloc&) {
      refuse(function, "`tasks`", "be small enough to be solved",
             std::to_string(table_.n_features * n_classes_) +
                 " parameters, of which the longest task takes " +
                 std::to_string(n_numbers_ >> 27) + " GiB",
             "fewer features or rows, or a rule that takes steps");
    }
  }

  int threads_for(const std::int64_t* starts, const std::int64_t* stops,
                  std::int64_t n_tasks) const {
    const auto n = static_cast<double>(table_.n_features * n_classes_);
    double work = 0;
    for (std::int64_t i = 0; i < n_tasks && work < kParallelFrom; ++i)
      work += static_cast<double>(stops[i] - starts[i]) * n * n;
    return work < kParallelFrom ? 1
                                : static_cast<int>(std::min<std::int64_t>(n_threads(), n_tasks));
  }

  const TaskTable& table_;
  const Loss loss_;
  const std::int64_t n_classes_;
  Watch& watch_;
  std::int64_t n_numbers_ = 0;  // of a thread
  std::vector<Numbers> scratch_;
};

}  // namespace aruba_fast
