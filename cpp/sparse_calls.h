// What the kernels of tasks with sparse rows are told. Plain pointers only.
#pragma once

#include <cstdint>

#include "rules/loss.h"
#include "rules/meta.h"
#include "rules/step.h"
#include "widening.h"

namespace aruba_fast {

// Row i has the entries begins[i]..begins[i + 1], whose columns rise strictly.
struct SparseRows {
  const std::int64_t* begins;
  const std::int32_t* columns;  // null: rows are dense
  const void* values;
};

// What a learner holds of a coordinate, in one cache line: a task's columns lie anywhere, and each
// line that is not in a cache costs more than all that is computed with it.
template <class T>
struct alignas(32) LearnedCoordinate {
  double phi_master, b, g;
  T phi;
};

// A learner's rates, found where they are needed: functions of a coordinate's b and g, and of what
// is the same for all.
struct LearnedRates {
  const void* coordinates;  // LearnedCoordinates of the tasks' type
  Prior prior;
  MetaStep<double> step;
  const void* as_they_are;  // not null: the rates, which nothing has moved yet
};

// Where a task's columns begin in the arrays of results, and what the kernel found.
struct SparseResult {
  std::int64_t at, n_columns;
  double spread;  // in the metric of the learner's rates; nan where a number is none
  bool counts;    // by a learner's rates as `counts` of rules/meta.h has it, else: went to its end
};

// One thread's share of a round of tasks. Every task has a dense row of results, or, where there
// are `results`, n_outputs numbers for each column that it touches: theta_hat, and by a learner's
// rates the others.
struct SparseCall {
  SparseRows rows;
  Widening widening;  // of their values
  const void *y, *phi;
  const double* row_weights;                // of the table's rows; null: all one
  const void* parameters[kMostParameters];  // [n_outputs, n_features]; null: the number
  double numbers[kMostParameters];
  const LearnedRates* learned;  // null: phi and the rates are given
  const double* weights;        // of the tasks; null: all one
  const std::int64_t *starts, *stops, *order;
  std::int64_t n_tasks, n_features, n_outputs, phi_stride, batch_size, n_epochs;
  Loss loss_kind;
  void *theta_hat, *grad_sq, *theta_bar;
  void* start;  // beside results: phi of the columns
  SparseResult* results;
  std::int32_t* columns;
  double* loss;
  std::int64_t most_entries, most_columns;  // of a task
  std::int64_t* next;
  const bool* stop;
  void (*poll)(void*, std::int64_t) = nullptr;
  void* poll_context = nullptr;
  void* scratch = nullptr;  // scratch_bytes() of zeros, 64-byte aligned

  static constexpr int kArrays = 17, kPad = 32;

  std::int64_t array_size() const {
    return (most_columns * n_outputs + kPad - 1) / kPad * kPad + kPad;
  }
  // A number of each column of the table, of each entry and of each column of a task; the slopes
  // and scores of a row; arrays of 8 bytes a parameter.
  std::int64_t own_bytes() const {
    return (4 * (n_features + most_entries + most_columns) + 128 * n_outputs + 256 +
            8 * kArrays * array_size() + 63) /
           64 * 64;
  }
  // Behind them, where values are narrow, those of at most a task in float32.
  std::int64_t scratch_bytes() const { return own_bytes() + (widening ? 4 * most_entries : 0); }
  float* widened() const {
    return reinterpret_cast<float*>(static_cast<char*>(scratch) + own_bytes());
  }
};

// The sums of a round over the columns that its tasks touch, n_outputs numbers a column.
struct SparseSums {
  const std::int32_t* columns;
  std::int64_t n_columns, n_features, n_outputs;
  double *distance, *grad_sq, *moved;  // moved: the weighted sum of theta_hat - phi
};

// The sums of a single task.
struct SparseTermsCall {
  SparseSums into;
  const void *theta_hat, *grad_sq, *start;
  double weight, by;
};

// The meta-update of some of those columns, and the way back where it was not sound.
struct SparseUpdateCall {
  SparseSums sums;
  void* coordinates;
  MetaStep<double> step;
  double n_summed, weight;            // weight: of the tasks
  double *old_b, *old_g, *old_phi;    // as the sums: what was before
  double *new_b, *new_g, *theta_sum;  // memory
  Twofold<double>*b_grew, *g_grew;
};

// What tasks have spread so far: b and g of `n` coordinates, those that are listed or all.
struct SparseSpreadCall {
  LearnedRates rates;
  const std::int64_t* listed;
  std::int64_t n;
  double per_distance;
};

}  // namespace aruba_fast
