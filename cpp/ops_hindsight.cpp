// The least loss of every task in hindsight, and the bounds on the regret against it.
#include "ops_hindsight.h"

#include <algorithm>

#include "solver_crew.h"

namespace aruba_fast {
namespace {

// Of bounds: tasks a part, and coordinates in all below which there is one part.
constexpr std::int64_t kBoundTasks = 256, kParallelBounds = std::int64_t{1} << 17;

}  // namespace

void best_in_hindsight(const TaskTable& table, const HindsightOptions& options, Watch& watch,
                       const HindsightOutputs& outputs) {
  HindsightCall call{};
  call.batch_size = options.batch_size;
  call.n_epochs = options.n_epochs;
  call.radius = options.radius;
  call.regularization = options.regularization;
  call.tolerance = options.tolerance;
  call.theta_star = outputs.theta_star;
  call.loss = outputs.loss;
  call.gap = outputs.gap;
  call.no_minimizer = outputs.no_minimizer;
  SolverCrew(table, options.loss, options.n_classes, kernels().hindsight_numbers, watch)
      .run("best_in_hindsight", call, kernels().hindsight);
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
