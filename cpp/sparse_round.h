// What a round of tasks with sparse rows leaves behind, column by column.
#pragma once

#include <memory>
#include <vector>

#include "sparse_calls.h"

namespace aruba_fast {

// Memory that grows and keeps nothing then; what is not written is not touched.
template <class V>
class Memory {
 public:
  void reserve(std::int64_t n) {
    if (n <= n_) return;
    memory_.reset();
    memory_.reset(new V[static_cast<std::size_t>(n)]);
    n_ = n;
  }
  V* get() const { return memory_.get(); }
  V& operator[](std::int64_t i) const { return memory_[static_cast<std::size_t>(i)]; }

 private:
  std::unique_ptr<V[]> memory_;
  std::int64_t n_ = 0;
};

// The columns that a round touched, and its sums there.
struct SparseRound {
  // Some of them: columns[first..first + n_columns), first a multiple of kPad.
  struct Part {
    std::int64_t first, n_columns;
  };
  std::vector<Part> parts;
  Memory<std::int32_t> columns;
  Memory<double> distance, grad_sq, moved, old_b, old_g, old_phi, new_b, new_g, theta_sum;

  static std::int64_t padded(std::int64_t n) {
    return (n + SparseCall::kPad - 1) / SparseCall::kPad * SparseCall::kPad;
  }
  void reserve(std::int64_t n_columns, std::int64_t n_outputs) {
    columns.reserve(n_columns);
    for (auto* part :
         {&distance, &grad_sq, &moved, &old_b, &old_g, &old_phi, &new_b, &new_g, &theta_sum})
      part->reserve(padded(n_columns * n_outputs));
  }
};

}  // namespace aruba_fast
