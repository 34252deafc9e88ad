// The table of kernels that every instruction set fills in, and what a call of each is told. Plain
// pointers only.
#pragma once

#include <cstdint>

#include "rules/bound.h"
#include "rules/loss.h"
#include "rules/meta.h"
#include "rules/step.h"
#include "sparse_calls.h"
#include "widening.h"

namespace aruba_fast {

// Types of (theta, gradient) that the step kernels exist for.
enum Gradient { kFloat, kDouble, kFloatFromBFloat16, kFloatFromFloat16, kGradients };

// n_rows rows of n contiguous coordinates.
struct StepCall {
  void* theta;
  void* state;  // null: no statistics
  const void* grad;
  const void* first;  // the first parameter of each coordinate of a row; null: its number
  double parameters[kMostParameters];
  std::int64_t n_rows, n;
};

// Columns whose six sums (96 KB) stay in the second-level cache: shorter pieces of a task's row
// cost more than that saves (AVX-512, [1000, 100 000]: 256 29 ms, 512 23, 1024 20.5, 2048 18.6,
// 8192 19.2).
constexpr std::int64_t kSumTile = 2048;

// Sums over tasks first..last, at most a chunk, of columns begin..end, at most kSumTile, into
// six rows of `stride`, which need hold nothing: distance, grad_sq, theta; high, low.
struct ReduceCall {
  const void *theta_hat, *grad_sq, *phi;
  const double* weights;     // null: all one
  const std::uint8_t* skip;  // null: none
  const double* shortening;  // of each task; null: all one
  std::int64_t first, last, begin, end, n, stride;
  double* sums;
  bool columns_follow;  // the next call is for the next columns, else for more tasks
  bool flag_tells;      // InexactFlag's
};

// What tasks first..last spread in columns begin..end, at most a segment, to one number each.
struct SpreadCall {
  const void *theta_hat, *grad_sq, *phi, *rates;
  std::int64_t first, last, begin, end, n;
  double* spreads;
};

struct MergeCall {
  double *into_high, *into_low;
  const double *high, *low;
  std::int64_t n;
  bool into_nothing;  // as if into_high and into_low were zero; they are not read
  double reach;       // a power of two: a sum times it should be finite
};

struct MetaCall {
  double *b, *g, *phi_master, *rho;
  void *phi, *rates;
  const double* sums;  // six rows of `stride`
  std::int64_t n, stride;
  MetaStep<double> step;
  double n_summed;    // coordinates whose b and g are summed
  bool rates_follow;  // by another call, which knows the prior
};

// Float64 within least and most to pairs of float32, whose sum it is but for the digits beyond 48.
struct NarrowCall {
  const double* from;
  float *high, *low;
  std::int64_t n;
  double least, most;
};

// The rates by the prior of one average task, of a segment at most, and what such tasks spread.
struct RatesCall {
  const double *b, *g;
  void* rates;
  std::int64_t n;
  MetaStep<double> step;
  Prior prior;
  bool stay;  // the rates: nothing is known that would move them
  double per_distance;
  double* spread;
};

constexpr int kMaxSlots = 64;

// One thread's share of a round of tasks.
struct TasksCall {
  const void *x, *y, *phi;
  Widening widening;                        // of x
  const double* row_weights;                // of the table's rows; null: all one
  const void* parameters[kMostParameters];  // of the rule, each n_outputs rows of `stride`
  int n_states;                             // of the rule
  const std::int64_t *starts, *stops;
  const std::int64_t* order;  // null: 0, 1, 2, ...
  std::int64_t n_tasks, n_features, n_outputs, stride, phi_stride, batch_size, n_epochs;
  void *theta_hat, *grad_sq, *theta_bar;  // theta_bar null: not wanted
  double* loss;                           // all that `losses` writes
  Loss loss_kind;
  double radius;                                // 0: unbounded
  bool one_rate;                                // of all coordinates: the projection is Euclidean
  std::int64_t* next;                           // shared: the next task that nobody has taken
  const bool* stop;                             // shared: somebody asked to stop
  void (*poll)(void*, std::int64_t) = nullptr;  // told of the work since the last; may set stop
  void* poll_context = nullptr;
  void* scratch = nullptr;  // scratch_numbers() numbers of this thread's own, 64-byte aligned
  int n_slots;              // tasks in lock-step, at most kMaxSlots
  std::int64_t window = 0;  // rows of a task that are widened at a time; 0: x is not narrow
  bool is_long;             // some task has more terms in a sum than are added one by one

  // Batches, means and balls need more of a task than its parameters and the rule's state; and what
  // is rare is not unrolled.
  bool is_plain() const { return batch_size == 1 && !theta_bar && !(radius > 0) && !row_weights; }
  std::int64_t scratch_numbers() const {
    const std::int64_t n_arrays = 1 + n_states + (is_plain() ? 0 : 3) + (is_long ? 5 : 0);
    return n_arrays * n_slots * n_outputs * stride + 2 * kMaxSlots * n_outputs +
           n_slots * window_numbers();
  }
  // Of exponentiated gradient, a task and a row of it at a time.
  std::int64_t eg_scratch_numbers() const {
    return ((is_long ? 8 : 4) + (widening ? 1 : 0)) * stride;
  }
  std::int64_t window_numbers() const { return (window * n_features + 15) / 16 * 16; }
};

// Least losses in hindsight: a thread's share of the tasks. `scratch` holds hindsight_numbers(...)
// numbers of float64 for the longest task, 64-byte aligned.
struct HindsightCall {
  const void *x, *y;
  Widening widening;          // of x
  const double* row_weights;  // of the table's rows; null: all one
  const std::int64_t *starts, *stops;
  std::int64_t n_tasks, n_features, n_classes, batch_size, n_epochs;  // n_classes 1: one output
  Loss loss_kind;
  double radius, regularization, tolerance;  // radius 0: unbounded
  double *theta_star, *loss, *gap;
  std::uint8_t* no_minimizer;
  std::int64_t* next;
  const bool* stop;
  void (*poll)(void*) = nullptr;
  void* poll_context = nullptr;
  double* scratch = nullptr;
};

// Rows of squared losses, times the roots of their weights; of a task that is to have fewer, which
// is one more than features, those of a triangle. `scratch` holds condense_numbers(...) numbers of
// float64, 64-byte aligned.
struct CondenseCall {
  const void *x, *y;
  Widening widening;          // of x
  const double* row_weights;  // of the table's rows; null: all one
  const std::int64_t *starts, *stops;
  std::int64_t n_tasks, n_features, n_classes;
  Loss loss_kind;
  const std::int64_t* to;  // the rows of task t go to to[t]..to[t + 1]
  double *x_out, *y_out;
  std::int64_t* next;  // shared: the next task that nobody has taken
  const bool* stop;
  void (*poll)(void*) = nullptr;
  void* poll_context = nullptr;
  double* scratch = nullptr;
};

// The proximal rule: a thread's share of the tasks, theta = phi + L v of n = n_classes * n_features
// parameters each. `scratch` holds proximal_numbers(...) numbers for the longest task, 64-byte
// aligned.
struct ProximalCall {
  const void *x, *y;
  Widening widening;          // of x
  const double* row_weights;  // of the table's rows; null: all one
  const std::int64_t *starts, *stops;
  std::int64_t n_tasks, n_features, n_classes;
  Loss loss_kind;
  const double* phi;
  std::int64_t phi_stride;  // 0: one phi for all
  const double* root;       // L, the lower triangle in rows of matrix_stride, or its diagonal
  bool diagonal;
  double *theta, *grad_sq, *loss;  // of every task; null: not wanted
  double* sums;                    // of blocks of `block` tasks, see ProximalSums; null: not wanted
  const std::int64_t* condensed;   // rows that a task had beside those that it has; null: none
  std::int64_t block;
  std::int64_t* next;  // shared: the next block that nobody has taken
  const bool* stop;
  void (*poll)(void*) = nullptr;
  void* poll_context = nullptr;
  double* scratch = nullptr;
};

// Tasks of squared loss under the proximal rule, eight side by side in groups: row i of group g is
// x[begins[g] + i], [n_features, 8], and y[begins[g] + i], [8]; a task of fewer rows has zeros.
// `scratch` holds squares_numbers(...) numbers, 64-byte aligned.
struct SquaresCall {
  const double *x, *y;
  // Of each task, [n_groups, 8]: rows that it had; zero: nobody; less: it is not finite, and its
  // rows are zeros.
  const double* counts;
  const std::int64_t *rows, *begins;  // of each group
  std::int64_t n_groups, most_rows, n_features;
  const double *phi, *root;  // as in ProximalCall
  bool diagonal, wants_rows;
  std::int64_t block;  // groups
  double* sums;        // ProximalSums of each block; without `wants_rows`, but for `rows`
  std::int64_t* next;  // shared: the next block that nobody has taken
  const bool* stop;
  void (*poll)(void*) = nullptr;
  void* poll_context = nullptr;
  double* scratch = nullptr;
};

// The rows of an n by n matrix of float64: whole registers, and as many numbers again, for a
// block's columns end in padding that reaches into the next block.
constexpr std::int64_t matrix_stride(std::int64_t n) { return (n + 7) / 8 * 8 + 8; }

// What the tasks of a block leave behind, in the coordinates v; of matrices the lower triangle.
// Laid out over `base`; with a null base it only counts the numbers.
struct ProximalSums {
  double* v;       // sum v                               [n]
  double* square;  // sum v v^T, or its diagonal         [n, n] or [n]
  double* known;   // sum S (I + S)^-1, S = A^T W A      [n, n]
  double* rows;    // sum of the squares of features      [n_features]
  // Numbers: sums of squared slopes and |v|^2; of curvatures; of log det(I + S); of the least
  // objectives; rows and tasks that count, and tasks that are not finite.
  double *residual, *curvature, *determinant, *objective, *count, *tasks, *skipped;
  std::int64_t size = 0;

  ProximalSums(double* base, std::int64_t n, std::int64_t n_features, bool diagonal) {
    const auto take = [&](double*& at, std::int64_t n_numbers) {
      at = base ? base + size : nullptr;
      size += (n_numbers + 7) / 8 * 8;
    };
    take(v, n);
    take(square, diagonal ? n : n * matrix_stride(n));
    take(known, n * matrix_stride(n));
    take(rows, n_features);
    for (double** number :
         {&residual, &curvature, &determinant, &objective, &count, &tasks, &skipped})
      take(*number, 1);
  }
};

// phi [n] and L, the lower triangle in rows of matrix_stride numbers or its diagonal, as the sums
// of all tasks ask for them.
struct ProximalUpdate {
  const double* sums;
  std::int64_t n;
  bool diagonal, only_phi;
  double *phi, *root, *ridge;  // ridge: of phi's own prior, zero at first
  double tasks, scale;         // tasks that count; the scale of their losses
  double longest;              // step of phi, in v
  const double *low, *high;    // bounds of a diagonal L
  const double* prior;         // the diagonal of the matrix that full rates are held at, as if by
  double weight;               // so many tasks
  double* moved;               // how long the step of phi was, in v
  double* scratch;             // 2 n + 3 rows of matrix_stride numbers, 64-byte aligned
};

// Upper bounds on the regret of tasks first..last, each n coordinates; d_phi and d_rate may be
// null.
struct BoundCall {
  const double *theta_star, *phi, *grad_sq;
  const double *rates, *seconds;  // the rule's parameters; null: the numbers below
  const double* n_rounds;         // null: not wanted
  double rate, second, gradient_weight, diameter;
  std::int64_t phi_stride, first, last, n;  // phi_stride 0: one phi for all
  double *value, *d_phi, *d_rate;           // d_rate as rates, or a number for each task
};

struct Kernels {
  const char* name;
  int register_bytes;
  // 1: of `first` in bfloat16 beside float32; null for rules that take no array.
  void (*step[kStepRules][kGradients][2])(const StepCall&);
  bool (*reduce[2])(const ReduceCall&);  // false: a grad_sq may be negative
  void (*spread[2])(const SpreadCall&);
  bool (*merge)(const MergeCall&);  // false: a sum times `reach` is not finite
  void (*meta[2])(const MetaCall&);
  bool (*meta_is_sound[2])(const MetaCall&);  // whether `meta` would leave a state to go on from
  double (*sum)(const double* values, std::int64_t n);  // of a segment at most
  void (*rates[2])(const RatesCall&);
  bool (*finite)(const float* values, std::int64_t n, bool not_negative);
  void (*widen_pairs)(const float* high, const float* low, double* into, std::int64_t n);
  void (*narrow_to_pairs)(const NarrowCall&);
  bool (*narrow_sums)(const double* from, float* high, float* low, std::int64_t n);  // false: cut
  void (*narrow_ratios)(const double* from, float* into, std::int64_t n);
  void (*tasks[kHostTaskRules][2])(const TasksCall&);
  void (*sparse_tasks[kTaskRules][2])(const SparseCall&);
  void (*sparse_losses[2])(const SparseCall&);
  void (*sparse_terms[2])(const SparseTermsCall&);
  bool (*sparse_update[2])(const SparseUpdateCall&);  // false: it would not stay sound
  void (*sparse_undo[2])(const SparseUpdateCall&);
  double (*sparse_spread[2])(const SparseSpreadCall&);
  void (*hindsight[2])(const HindsightCall&);
  std::int64_t (*hindsight_numbers)(std::int64_t n_rows, std::int64_t n_features,
                                    std::int64_t n_classes, Loss loss);
  void (*bound[kBoundRules])(const BoundCall&);
  void (*condense[2])(const CondenseCall&);
  std::int64_t (*condense_numbers)(std::int64_t n_rows, std::int64_t n_features,
                                   std::int64_t n_classes, Loss loss);
  void (*squares)(const SquaresCall&);
  std::int64_t (*squares_numbers)(std::int64_t most_rows, std::int64_t n_features);
  void (*proximal[2])(const ProximalCall&);
  std::int64_t (*proximal_numbers)(std::int64_t n_rows, std::int64_t n_features,
                                   std::int64_t n_classes, Loss loss);
  void (*proximal_update)(const ProximalUpdate&);
  void (*losses[2])(const TasksCall&);
};

// What this build and this processor offer; the last one is the fastest.
const Kernels& kernels();
int n_instruction_sets();
const char* instruction_set(int i);

}  // namespace aruba_fast
