// Tasks under the proximal rule, and what many of them say of where to start and how far to go.
#pragma once

#include "ops_tasks.h"

namespace aruba_fast {

// The rates of n parameters in float64: one for each, or a symmetric matrix [n, n].
struct ProximalRates {
  const double* values;
  std::int64_t n;
  bool diagonal;
};

// Of the type of the tasks are only the rows; everything else is float64.
struct ProximalOptions {
  Loss loss;
  std::int64_t n_classes;  // 1 unless softmax
};

struct ProximalOutputs {
  double *theta, *grad_sq, *loss;  // [n_tasks, n], [n_tasks, n], [n_tasks]
};

// phi_stride 0: one phi for all. Throws Interrupted when `watch` says so, ValueError where a matrix
// of rates has a negative eigenvalue.
void run_proximal(const TaskTable& table, const ProximalOptions& options, const double* phi,
                  std::int64_t phi_stride, const ProximalRates& rates, Watch& watch,
                  const ProximalOutputs& outputs);

// The same for sparse rows, with a rate for each parameter.
void run_sparse_proximal(const TaskTable& table, const ProximalOptions& options, const double* phi,
                         std::int64_t phi_stride, const ProximalRates& rates, Watch& watch,
                         const ProximalOutputs& outputs);

// The threads' memory for rounds of tasks of an order; made once, run many times.
class ProximalRounds {
 public:
  // `coef` times a learner's rates is how far tasks go.
  ProximalRounds(const TaskTable& table, const ProximalOptions& options, double coef, Watch& watch);
  ~ProximalRounds();
  // Runs tasks order[first..first + n_tasks) from phi; phi, the rates and the results of the type
  // of the tasks. Outputs begin with the first of them.
  void run(const void* phi, const void* rates, bool one_rate, std::int64_t first,
           std::int64_t n_tasks, const TaskOutputs& outputs);

 private:
  struct Memory;
  const TaskTable& table_;
  const double coef_;
  const std::unique_ptr<Memory> memory_;
};

struct Population {
  double *phi, *rates;  // [n], and [n] or [n, n]
  double scale;         // of the losses, one where they are logarithms of probabilities
  double evidence;      // log-likelihood of the tasks, up to a constant
  std::int64_t n_iterations, n_tasks, n_skipped;
};

// Fills in `population`, whose matrix of rates is full unless it is to be diagonal.
void learn_population(const TaskTable& table, const ProximalOptions& options, bool diagonal,
                      Watch& watch, Population& population);

}  // namespace aruba_fast
