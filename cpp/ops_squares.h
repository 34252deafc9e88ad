// Tasks under squared loss, prepared once for many passes over them by the proximal rule.
#pragma once

#include <vector>

#include "solver_crew.h"

namespace aruba_fast {

// The rows of tasks, of which those of many are replaced by as few as have the same losses.
class CondensedRows {
 public:
  explicit CondensedRows(const TaskTable& table, Watch& watch);
  // The rows times the roots of their weights, in float64.
  TaskTable table() const;
  // How many rows every task had beside those.
  const std::int64_t* rest() const { return rest_.data(); }
  // Whether fewer are left by so much that a copy is worth its memory.
  static bool are_worthwhile(const TaskTable& table);
  // Of a task.
  static std::int64_t left_of(const TaskTable& table, std::int64_t task);

 private:
  std::int64_t n_tasks_, n_features_;
  std::vector<std::int64_t> to_ = {0}, rest_;
  std::vector<Numbers> numbers_;  // x and y
};

// Tasks of few features, eight side by side.
class SquaredTasks {
 public:
  // Whether these are: of many features a task has work enough for a register, and one of fewer
  // rows than half of them is solved by its rows.
  static bool are_few(const TaskTable& table);

  SquaredTasks(const TaskTable& table, Watch& watch);
  std::int64_t n_groups() const { return std::ssize(rows_); }
  // What groups leave behind, as ProximalSums of blocks of so many of them.
  void run(const double* phi, const double* root, bool diagonal, bool wants_rows,
           std::int64_t block, double* sums);

 private:
  const std::int64_t n_features_;
  Watch& watch_;
  std::int64_t most_rows_ = 0, n_rows_ = 0;
  std::vector<std::int64_t> rows_, begins_;  // of each group
  std::vector<double> counts_;
  std::vector<Numbers> numbers_;  // x and y
  std::vector<Numbers> scratch_;
};

}  // namespace aruba_fast
