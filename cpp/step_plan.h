// The checks of a step, done before memory is touched, and what is left to compute: the same for
// every device.
#pragma once

#include <vector>

#include "ops_step.h"

namespace aruba_fast {

// One array. `call` has n_rows 1 and n coordinates, or, where rows share their rates, n of a row;
// the rows are as many as `size` has room for.
struct StepPiece {
  StepCall call;
  Gradient kind;
  std::int64_t first;  // coordinates before this piece
  std::int64_t theta_bytes, grad_bytes;
};

struct StepPlan {
  std::vector<StepPiece> pieces;  // of the arrays that are not empty
  std::int64_t n = 0;             // coordinates in all

  std::int64_t size(std::size_t piece) const {
    return (piece + 1 < pieces.size() ? pieces[piece + 1].first : n) - pieces[piece].first;
  }
};

// Throws what aruba_fast::step documents.
StepPlan plan_step(const StepArguments& arguments);

}  // namespace aruba_fast
