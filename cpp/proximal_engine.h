// The threads' memory for tasks under the proximal rule; made once, run many times.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "error.h"
#include "ops_proximal.h"

namespace aruba_fast {

// 64-byte aligned float64, not zeroed.
class Numbers {
 public:
  explicit Numbers(std::int64_t n) : memory_(new double[static_cast<std::size_t>(n + 8)]) {}
  double* get() const {
    return reinterpret_cast<double*>((reinterpret_cast<std::uintptr_t>(memory_.get()) + 63) / 64 *
                                     64);
  }

 private:
  std::unique_ptr<double[]> memory_;
};

class ProximalEngine {
 public:
  ProximalEngine(const TaskTable& table, const ProximalOptions& options, Watch& watch)
      : table_(table), options_(options), watch_(watch) {
    std::int64_t most_rows = 0;
    double work = 0;
    const auto n = static_cast<double>(table.n_features * options.n_classes);
    for (std::int64_t i = 0; i < table.n_tasks; ++i) {
      const std::int64_t rows = table.stops[i] - table.starts[i];
      most_rows = std::max(most_rows, rows);
      work += static_cast<double>(rows) * n * n;
    }
    const int threads = work < kParallelFrom
                            ? 1
                            : static_cast<int>(std::min<std::int64_t>(n_threads(), table.n_tasks));
    const std::int64_t numbers =
        kernels().proximal_numbers(most_rows, table.n_features, options.n_classes);
    for (int i = 0; i < threads; ++i) scratch_.emplace_back(numbers + 8);
  }

  void run(ProximalCall call, const double* phi, const double* root, bool diagonal) {
    const std::int64_t n = table_.n_features * options_.n_classes;
    std::int64_t next = 0;
    call.x = table_.x;
    call.y = table_.y;
    call.starts = table_.starts;
    call.stops = table_.stops;
    call.n_tasks = table_.n_tasks;
    call.n_features = table_.n_features;
    call.n_classes = options_.n_classes;
    call.loss_kind = options_.loss;
    call.phi = phi;
    call.root = root;
    call.root_stride = matrix_stride(n);
    call.diagonal = diagonal;
    call.next = &next;
    call.stop = &watch_.stop;
    const auto body = [&](int thread) {
      double* const memory = scratch_[static_cast<std::size_t>(thread)].get();
      kernels().proximal[table_.type == Type::kFloat64](own_call(call, memory, thread, watch_));
    };
    on_threads(static_cast<int>(scratch_.size()), body, watch_);
    if (watch_.stop) throw Interrupted("the proximal rule: interrupted");
  }

 private:
  // Rows times squared parameters, some 0.1 ms: less than that is not worth a second thread.
  static constexpr double kParallelFrom = 1e5;

  const TaskTable& table_;
  const ProximalOptions options_;
  Watch& watch_;
  std::vector<Numbers> scratch_;
};

}  // namespace aruba_fast
