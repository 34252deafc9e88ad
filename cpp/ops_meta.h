// Across tasks: the meta-update.
#pragma once

#include <functional>
#include <vector>

#include "kernels.h"
#include "ops_statistics.h"
#include "rules/tensors.h"

namespace aruba_fast {

// Columns begin..end of a state as the update takes them.
struct MetaTile {
  std::int64_t begin, end;
  double *phi, *b, *g, *rho;
};

// A state and the sums of a round whose columns somebody else keeps, in types of his own. All but
// `sums`, which fills six rows, is of a tile at a time, and called from several threads.
struct ColumnsElsewhere {
  std::function<void(const MetaTile&)> load;  // all but rho
  std::function<void(const SumsOfColumns&)> sums;
  std::function<void(const MetaTile&)> store;
};

// The learner's memory, n coordinates each; b and g in units of eps^2 and zeta^2. `limit`: the most
// that a task of the next round may spread.
struct MetaState {
  double *phi_master, *b, *g, *rho;
  void *phi, *rates;
  std::int64_t *n_tasks, *n_skipped;
  double *weight_high, *weight_low, *limit;
  std::int64_t n;
  Type type;
  MetaParameters parameters;
  Tensors tensors;  // where the prior is one average task
  // Number of coordinates of which these are a part: what is learned from sums over all of them is
  // then told by find_rates(sums) and set_limit, not found after a round. 0: these are all.
  std::int64_t n_whole = 0;

  // Whether all coordinates have one rate.
  bool one_rate() const {
    return parameters.isotropic && (!parameters.average_task || tensors.n == 1);
  }
  // A rate stays a number of the parameters' type, whatever happened.
  double rate_cap() const;
  // Coordinates whose b and g are summed.
  ARUBA_RULE double n_summed() const {
    const std::int64_t all = n_whole ? n_whole : n;
    return parameters.isotropic || parameters.average_task ? static_cast<double>(all) : 1.0;
  }

  // meta_step null: the running mean. Refused, and nothing changed, where the state would not be
  // one to go on from.
  void apply(const char* function, const Statistics& statistics, const double* meta_step);
  void require_sound(const char* function, const Statistics& statistics,
                     const double* meta_step) const;
  // The same by the sums of add_round, of which less has to be looked at.
  void apply_own(const char* function, const Statistics& statistics, const double* meta_step);

  [[noreturn]] static void refuse_unsound(const char* function);
  PreparedRound prepare(const Statistics& statistics, const double* meta_step) const;
  // By the prior of one average task: from b, g and the counts, the rates of all coordinates and
  // the limit.
  void find_rates();
  // The rates by what b and g sum to: of each tensor, where the prior is one average task, and last
  // of all. Returns what the tasks have spread over these coordinates, zero where there is no
  // limit.
  double find_rates(const std::vector<SumsOfTensor>& sums);
  // By what they have spread over all.
  void set_limit(double spread);

  // The same tasks, shortened as this learner wants them.
  RoundArrays limited(RoundArrays round) const;

  // add_round and apply, the same bits. With few tasks the sums never leave the cache, which moves
  // half the bytes.
  void learn(const char* function, const RoundArrays& tasks, const double* meta_step);

  // apply_own, of columns that are kept elsewhere: phi, phi_master and rho need not be there, and b
  // and g only if they have to be in one piece and the caller has such memory. False where nothing
  // was learned, for no task counted or the state would not be one to go on from; then the tasks
  // are counted as skipped.
  bool apply_elsewhere(const Statistics& statistics, const double* meta_step,
                       const ColumnsElsewhere& columns);

  // `limited`, add_round and this, as `learn`; columns.sums is not needed.
  bool learn_elsewhere(const char* function, const RoundArrays& tasks, const double* meta_step,
                       const ColumnsElsewhere& columns);

 private:
  MetaCall call_of(const PreparedRound& round, const SumsOfColumns& columns) const;
  bool surely_stays_sound(const double* meta_step) const;
  template <class Body>
  bool over_parts(Body body) const;
  template <class Body>
  bool over_parts(const Statistics& statistics, Body body) const;
  void commit(const Statistics& statistics, const double* meta_step);
  void update(const PreparedRound& round, const SumsOfColumns& columns);
  void finish(const PreparedRound& round, const Statistics& statistics);
  void fill_rates(double eta);
};

}  // namespace aruba_fast
