// Across tasks: the statistics of a round, their merging, and the meta-update.
#pragma once

#include <vector>

#include "array.h"
#include "kernels.h"

namespace aruba_fast {

// Sums over the tasks of a round. `sums` is six rows of n coordinates: distance, grad_sq, theta;
// each high, low; where no task was counted yet they need hold nothing.
struct Statistics {
  double* sums;
  Twofold<double> weight = {0, 0};
  std::int64_t n_tasks = 0, n_skipped = 0;
};

// What run_tasks leaves behind. theta_hat and grad_sq are n_tasks rows of n coordinates.
struct RoundArrays {
  const void *theta_hat, *grad_sq, *phi;
  const double* weights;  // null: all one
  std::int64_t n_tasks, n;
  Type type;
};

// Tasks are summed in chunks of this many, in order, whoever sums them: the chunk is what makes the
// bits independent of threads.
constexpr std::int64_t kTaskChunk = 128;

// Adds a round to `into`. `skipped`, if not null, gets a one for every task that does not count:
// one that is not finite, has a negative square, or is so large that it would spoil the sums.
void add_round(const char* function, const RoundArrays& round, Statistics& into,
               std::uint8_t* skipped);

void merge(Statistics& into, const Statistics& other, std::int64_t n);

struct MetaParameters {
  double learning_rate, zeta, p, decay, max_learning_rate;  // infinity: no cap
  bool isotropic;
};

// The learner's memory, n coordinates each; b and g in units of eps^2 and zeta^2.
struct MetaState {
  double *phi_master, *b, *g, *rho;
  void *phi, *rates;
  std::int64_t *n_tasks, *n_skipped;
  double *weight_high, *weight_low;
  std::int64_t n;
  Type type;
  MetaParameters parameters;

  // meta_step null: the running mean. Refused, and nothing changed, where the state would not be
  // one to go on from.
  void apply(const char* function, const Statistics& statistics, const double* meta_step);
  void require_sound(const char* function, const Statistics& statistics,
                     const double* meta_step) const;
  // The same by the sums of add_round, of which less has to be looked at.
  void apply_own(const char* function, const Statistics& statistics, const double* meta_step);

  // add_round and apply, the same bits. With few tasks the sums never leave the cache, which moves
  // half the bytes.
  void learn(const char* function, const RoundArrays& tasks, const double* meta_step);

 private:
  struct Round;
  Round round_of(const Statistics& statistics, const double* meta_step) const;
  MetaCall call_of(const Round& round, std::int64_t begin, std::int64_t end, const double* sums,
                   std::int64_t stride) const;
  bool surely_stays_sound(const double* meta_step) const;
  template <class Body>
  bool over_parts(Body body) const;
  void commit(const Statistics& statistics, const double* meta_step);
  void update(const Round& round, std::int64_t begin, std::int64_t end, const double* sums,
              std::int64_t stride);
  void finish(const Round& round, const Statistics& statistics);
};

}  // namespace aruba_fast
