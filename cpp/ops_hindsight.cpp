// The least loss of every task in hindsight, and the bounds on the regret against it.
#include "ops_hindsight.h"

#include <algorithm>
#include <memory>

namespace aruba_fast {
namespace {

// Rows times squared parameters, some 0.2 ms: less than that is not worth a second thread.
constexpr double kParallelFrom = 1e5;
// Of bounds: tasks a part, and coordinates in all below which there is one part.
constexpr std::int64_t kBoundTasks = 256, kParallelBounds = std::int64_t{1} << 17;

}  // namespace

void best_in_hindsight(const TaskTable& table, const HindsightOptions& options, Watch& watch,
                       const HindsightOutputs& outputs) {
  std::int64_t most_rows = 0;
  double work = 0;
  for (std::int64_t i = 0; i < table.n_tasks; ++i) {
    const std::int64_t rows = table.stops[i] - table.starts[i];
    const double parameters = static_cast<double>(table.n_features * options.n_classes);
    most_rows = std::max(most_rows, rows);
    work += static_cast<double>(rows) * parameters * parameters;
  }
  const int threads = work < kParallelFrom
                          ? 1
                          : static_cast<int>(std::min<std::int64_t>(n_threads(), table.n_tasks));
  const std::int64_t numbers =
      kernels().hindsight_numbers(most_rows, table.n_features, options.n_classes) + 8;
  // Each thread's own allocation, untouched memory costs nothing.
  std::vector<std::unique_ptr<double[]>> scratch(static_cast<std::size_t>(threads));
  for (auto& own : scratch) own.reset(new double[static_cast<std::size_t>(numbers)]);
  std::int64_t next = 0;
  const HindsightCall call = {.x = table.x,
                              .y = table.y,
                              .starts = table.starts,
                              .stops = table.stops,
                              .n_tasks = table.n_tasks,
                              .n_features = table.n_features,
                              .n_classes = options.n_classes,
                              .batch_size = options.batch_size,
                              .n_epochs = options.n_epochs,
                              .loss_kind = options.loss,
                              .radius = options.radius,
                              .regularization = options.regularization,
                              .tolerance = options.tolerance,
                              .theta_star = outputs.theta_star,
                              .loss = outputs.loss,
                              .gap = outputs.gap,
                              .no_minimizer = outputs.no_minimizer,
                              .next = &next,
                              .stop = &watch.stop};
  const auto body = [&](int thread) {
    double* const memory = scratch[static_cast<std::size_t>(thread)].get();
    kernels().hindsight[table.type == Type::kFloat64](own_call(call, memory, thread, watch));
  };
  on_threads(threads, body, watch);
  if (watch.stop) throw Interrupted("best_in_hindsight: interrupted");
}

void regret_upper_bound(BoundRule rule, const BoundCall& call, std::int64_t n_tasks) {
  const std::int64_t parts = (n_tasks + kBoundTasks - 1) / kBoundTasks;
  for_each(parts, n_tasks * call.n >= kParallelBounds, [&](std::int64_t part) {
    BoundCall own = call;
    own.first = part * kBoundTasks;
    own.last = std::min(n_tasks, own.first + kBoundTasks);
    kernels().bound[static_cast<int>(rule)](own);
  });
}

}  // namespace aruba_fast
