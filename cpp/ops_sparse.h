// Tasks with sparse rows: what they cost is their entries.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <vector>

#include "ops_tasks.h"

namespace aruba_fast {

// Checked copies of the two arrays that say where entries are, fit for the kernels.
struct CsrIndex {
  std::vector<std::int64_t> begins;
  std::vector<std::int32_t> columns;
  bool is_canonical = true;  // columns rise strictly in every row; else they have to be brought so
};

// Reads begins [n_rows + 1] and columns, whose entries lie below n_columns, each int32 or int64.
template <class Begin, class Column>
CsrIndex read_csr(const char* function, const Begin* begins, std::int64_t n_rows,
                  const Column* columns, std::int64_t n_entries, std::int64_t n_columns);

// Sorts the columns of every row and sums the values of those that are there twice, in the order
// in which they were; returns how many entries are left. Words of 8 or 16 bits, which are what
// narrow values are stored in, are not summed: refuses what is there twice.
template <class T>
std::int64_t make_canonical(const char* function, CsrIndex& index, T* values);

// The squared length of every row, and its score by phi, which may be null: float64, term after
// term.
void measure_rows(const TaskTable& table, const double* phi, double* squares, double* scores);

// The threads' memory for tasks of a table.
class SparseCrew {
 public:
  SparseCrew(const TaskTable& table, const TaskOptions& options, Watch& watch);
  // Of all tasks but their start, rule and results.
  SparseCall call() const;
  // Runs tasks order[first..first + n_tasks), or those rows of starts and stops.
  void run(SparseCall call, void (*kernel)(const SparseCall&), std::int64_t first,
           std::int64_t n_tasks);
  std::int64_t task(std::int64_t position) const {
    return table_.order ? table_.order[position] : position;
  }
  std::int64_t entries(std::int64_t position) const {
    const std::int64_t at = task(position);
    return table_.rows.begins[table_.stops[at]] - table_.rows.begins[table_.starts[at]];
  }
  // No more columns than that are touched.
  std::int64_t most_columns(std::int64_t position) const {
    return std::min(entries(position), table_.n_features);
  }
  // Where the columns of tasks from `first` on begin in the arrays of results; returns the end.
  std::int64_t lay_out(std::int64_t first, std::vector<SparseResult>& results) const {
    std::int64_t end = 0;
    for (SparseResult& result : results) {
      result.at = end;
      end += most_columns(first++);
    }
    return end;
  }
  std::int64_t n_rows(std::int64_t position) const {
    return table_.stops[task(position)] - table_.starts[task(position)];
  }
  double weight(std::int64_t position) const { return table_.weight_of(task(position)); }

 private:
  struct Free {
    void operator()(char* memory) const { std::free(memory); }
  };
  const TaskTable& table_;
  const TaskOptions& options_;
  Watch& watch_;
  std::int64_t most_entries_ = 0;
  std::vector<std::unique_ptr<char, Free>> scratch_;
};

// Runs every task whole, to dense results; theta_hat null: the losses at phi alone.
void run_sparse_tasks(const TaskTable& table, const TaskOptions& options,
                      const TaskRuleArguments& rule, const void* phi, std::int64_t phi_stride,
                      const TaskOutputs& outputs, Watch& watch);

// Where tasks end in the columns that they touch; elsewhere they stay at their start.
struct SparseThetas {
  std::vector<std::int64_t> begins;   // task i has begins[i]..begins[i + 1]; none if it diverged
  std::vector<std::int32_t> columns;  // in no order
  std::vector<char> theta_hat;        // n_outputs numbers of the table's type a column
};
SparseThetas run_sparse_tasks(const TaskTable& table, const TaskOptions& options,
                              const TaskRuleArguments& rule, const void* phi,
                              std::int64_t phi_stride, Watch& watch);

// As meta_train. What a learner's arrays hold of all coordinates is brought up to date at the end,
// and when somebody reads them.
void meta_train_sparse(const TaskTable& table, const TaskOptions& options, MetaState& state,
                       const MetaTraining& training, Watch& watch);

}  // namespace aruba_fast
