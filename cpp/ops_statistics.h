// Across tasks: the statistics of a round and their merging.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "array.h"
#include "rules/rule.h"
#include "rules/sums.h"

namespace aruba_fast {

// Sums over the tasks of a round. `sums` is six rows of n coordinates: distance, grad_sq, theta;
// each high, low; where no task was counted yet they need hold nothing.
struct Statistics {
  double* sums;
  Twofold<double> weight = {0, 0};
  std::int64_t n_tasks = 0, n_skipped = 0;
};

// What run_tasks leaves behind. theta_hat and grad_sq are n_tasks rows of n coordinates. A task
// that spreads beyond `limit`, in the metric of `rates`, is shortened.
struct RoundArrays {
  const void *theta_hat, *grad_sq, *phi;
  const double* weights;  // null: all one
  std::int64_t n_tasks, n;
  Type type;
  const void* rates = nullptr;
  const double* limit = nullptr;    // null or infinite: none is
  const double* spreads = nullptr;  // of each task, where more coordinates count; null: of these

  bool is_limited() const { return limit && is_finite(*limit); }
};

// From so many numbers on, several threads share the work.
constexpr std::int64_t kSharedFrom = std::int64_t(1) << 15;

// Adds a round to `into`. `skipped`, if not null, gets a one for every task that does not count:
// one that is not finite, has a negative square, or is so large that it would spoil the sums.
void add_round(const char* function, const RoundArrays& round, Statistics& into,
               std::uint8_t* skipped);

// What each task of a round spreads, whether there is a limit or not.
std::vector<double> spreads_of(const RoundArrays& round);

void merge(Statistics& into, const Statistics& other, std::int64_t n);

// The sums of columns begin..end: six rows, `stride` apart.
struct SumsOfColumns {
  std::int64_t begin, end, stride;
  double* sums;
};

// By what each task of a round is shortened, nan where it is left out; empty: all stay as they are.
using Shortenings = std::vector<double>;

// Counts the tasks of a round in `into`, whose sums are left alone, where they are few and surely
// all count; else does nothing and returns nothing.
std::optional<Shortenings> count_few(const RoundArrays& round, Statistics& into);

// add_round, whose sums body(sums of some columns) takes away, from several threads. A task whose
// weight is none does not count.
void sum_elsewhere(const char* function, const RoundArrays& round, Statistics& counts,
                   const std::function<void(const SumsOfColumns&)>& body);

// What add_round would sum, of some columns of a round that count_few has counted.
void sum_columns(const RoundArrays& round, const Shortenings& by, const SumsOfColumns& into);

// Calls body(sums of some columns), of all columns in turn and from several threads: what add_round
// would sum of a round that count_few has counted. The sums never leave the cache.
void sum_few(const RoundArrays& round, const Shortenings& by,
             const std::function<void(const SumsOfColumns&)>& body);

}  // namespace aruba_fast
