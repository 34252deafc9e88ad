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
  std::int64_t theta_bytes, grad_bytes, first_bytes;

  bool has_narrow_first() const { return first_bytes < theta_bytes; }
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
// The same in memory that was a plan's before: 1000 arrays need more of it than a call should make.
void plan_step(const StepArguments& arguments, StepPlan& plan);

// Refuses numbers of a rule that are not the same in memory of `type`; `first_is_array`: the first
// of them is not one.
void require_numbers(const char* function, StepRule rule, const double* numbers,
                     bool first_is_array, Type type);

// The memory that a step modifies, for gradients that come later.
class Modified {
 public:
  explicit Modified(const StepArguments& arguments);
  bool overlaps(const Array& array) const;

 private:
  struct Range {
    const char *begin, *end;
  };
  std::vector<Range> ranges_;  // in order, apart
};

}  // namespace aruba_fast
