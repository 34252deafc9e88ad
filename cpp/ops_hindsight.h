// The least loss of every task in hindsight, and the bounds on the regret against it.
#pragma once

#include <vector>

#include "ops_tasks.h"

namespace aruba_fast {

struct HindsightOptions {
  Loss loss;
  std::int64_t n_classes, batch_size, n_epochs;  // n_classes 1 unless softmax
  double radius, regularization, tolerance;      // radius 0: unbounded
};

// theta_star has n_tasks rows; no_minimizer gets a one where the loss has an infimum only.
struct HindsightOutputs {
  double *theta_star, *loss, *gap;
  std::uint8_t* no_minimizer;
};

// Throws Interrupted when `watch` says so.
void best_in_hindsight(const TaskTable& table, const HindsightOptions& options, Watch& watch,
                       const HindsightOutputs& outputs);

// Fills in value, and the derivatives that are wanted, of every task.
void regret_upper_bound(BoundRule rule, const BoundCall& call, std::int64_t n_tasks);

}  // namespace aruba_fast
