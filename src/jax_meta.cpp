// The meta-update for XLA.
#include <functional>
#include <memory>

#include "jax_columns.h"

namespace aruba_fast::python {
namespace {
// ---------------------------------------------------------------------------------------

// The leaves of a MetaState, in JAX's order; of float64 alone, masters have no low part.
struct StateBuffers {
  const JaxBuffer *b[2], *g[2], *phi[2], *rates, *rho, *weight[2], *n_tasks, *n_skipped, *limit;

  StateBuffers(const JaxBuffer* buffers, bool has_low) {
    for (auto* master : {b, g, phi}) {
      master[0] = buffers++;
      master[1] = has_low ? buffers++ : nullptr;
    }
    rates = buffers++;
    rho = buffers++;
    weight[0] = buffers++;
    weight[1] = buffers++;
    n_tasks = buffers++;
    n_skipped = buffers++;
    limit = buffers++;
  }
};

Columns columns_of(const JaxBuffer* const* master, std::int64_t entry, const JaxBuffer& whole) {
  return master[1] ? Columns(*master[0], *master[1], entry, whole)
                   : Columns(*master[0], entry, whole);
}

// What does not change from call to call.
struct Meta {
  MetaParameters parameters;
  Tensors tensors;
  Type type;
  double most_b, most_g, least;  // that the state may hold
};

// rho, -1 for what has none.
void store_rho(const JaxBuffer& buffer, char* rho, const MetaTile& tile) {
  const std::int64_t n = tile.end - tile.begin;
  if (!buffer.is_double())
    return core().kernels().narrow_ratios(tile.rho, reinterpret_cast<float*>(rho) + tile.begin, n);
  double* const into = reinterpret_cast<double*>(rho) + tile.begin;
  for (std::int64_t j = 0; j < n; ++j)
    into[j] = tile.rho[j] >= 0 && is_finite(tile.rho[j]) ? tile.rho[j] : -1.0;
}

// The rates of the state of one entry of the batch: as long as phi, or, of one for all or for a
// tensor, copied from where that is.
template <class T>
class Rates {
 public:
  Rates(const JaxBuffer& rates, std::int64_t entry, const Meta& meta, std::int64_t n)
      : own_(reinterpret_cast<T*>(rates.data) + entry * rates.n()),
        n_own_(rates.n()),
        tensors_(meta.tensors),
        n_(n) {
    if (n_own_ == n) return;
    spread_.reset(new T[static_cast<std::size_t>(n)]);
    for (std::int64_t i = 0; i < n_own_; ++i)
      std::fill(spread_.get() + begin(i), spread_.get() + (i + 1 < n_own_ ? begin(i + 1) : n),
                own_[i]);
  }
  T* all() { return spread_ ? spread_.get() : own_; }
  void finish() {
    for (std::int64_t i = 0; spread_ && i < n_own_; ++i) own_[i] = spread_[begin(i)];
  }

 private:
  std::int64_t begin(std::int64_t i) const { return n_own_ == 1 ? 0 : tensors_.begins[i]; }

  T* own_;
  std::int64_t n_own_;
  const Tensors& tensors_;
  std::int64_t n_;
  std::unique_ptr<T[]> spread_;
};

using Learn = std::function<bool(MetaState& learner, const double* step, ColumnsElsewhere)>;

// One learner of the batch: `learn` is told its step and where its columns are.
template <class T>
void learn_entry(const Meta& meta, const StateBuffers& state, const JaxBuffer* step,
                 std::int64_t entry, const Learn& learn) {
  const JaxBuffer& whole = *state.phi[0];
  const std::int64_t n = whole.n();
  const Columns b = columns_of(state.b, entry, whole), g = columns_of(state.g, entry, whole),
                phi = columns_of(state.phi, entry, whole);
  Rates<T> rates(*state.rates, entry, meta, n);
  std::int64_t counts[] = {static_cast<std::int64_t>(state.n_tasks->number(entry)),
                           static_cast<std::int64_t>(state.n_skipped->number(entry))};
  Twofold<double> weight = pair_at(*state.weight[0], *state.weight[1], entry);
  double limit = state.limit->number(entry), chosen = 0;
  if (limit >= largest_of(*state.limit)) limit = std::numeric_limits<double>::infinity();
  if (step) chosen = pair_at(step[0], step[1], step[0].row(entry, whole)).value();
  MetaState learner = {.phi_master = nullptr,
                       .b = b.whole(),
                       .g = g.whole(),
                       .rho = nullptr,
                       .phi = nullptr,
                       .rates = rates.all(),
                       .n_tasks = &counts[0],
                       .n_skipped = &counts[1],
                       .weight_high = &weight.high,
                       .weight_low = &weight.low,
                       .limit = &limit,
                       .n = n,
                       .type = meta.type,
                       .parameters = meta.parameters,
                       .tensors = meta.tensors};
  const double most = std::numeric_limits<double>::max();
  char* rho = state.rho->at(entry, whole);
  const bool learned = learn(learner, step ? &chosen : nullptr,
                             {.load =
                                  [&](const MetaTile& tile) {
                                    b.load(tile.begin, tile.end, tile.b);
                                    g.load(tile.begin, tile.end, tile.g);
                                    phi.load(tile.begin, tile.end, tile.phi);
                                  },
                              .sums = {},
                              .store =
                                  [&](const MetaTile& tile) {
                                    b.store(tile.begin, tile.end, tile.b, meta.least, meta.most_b);
                                    g.store(tile.begin, tile.end, tile.g, meta.least, meta.most_g);
                                    phi.store(tile.begin, tile.end, tile.phi, -most, most);
                                    store_rho(*state.rho, rho, tile);
                                  }});
  rates.finish();
  if (learned) write_pair(*state.weight[0], *state.weight[1], entry, weight);
  write(*state.n_tasks, entry, static_cast<double>(counts[0]));
  write(*state.n_skipped, entry, static_cast<double>(counts[1]));
  write(*state.limit, entry, std::min(limit, largest_of(*state.limit)));
}

// By the sums of a round, the leaves of a TaskStatistics.
bool learn_sums(MetaState& learner, const JaxBuffer* round, const JaxBuffer& whole,
                std::int64_t entry, const double* step, ColumnsElsewhere columns) {
  const Columns sums[] = {{round[0], round[1], entry, whole},
                          {round[2], round[3], entry, whole},
                          {round[4], round[5], entry, whole}};
  const auto of_round = [&](int i) { return round[i].row(entry, whole); };
  columns.sums = [&](const SumsOfColumns& into) {
    for (int i = 0; i < 3; ++i) {
      double* row = into.sums + 2 * i * into.stride;
      sums[i].load_pair(into.begin, into.end, row, row + into.stride);
    }
  };
  const Statistics statistics = {nullptr, pair_at(round[6], round[7], of_round(6)),
                                 static_cast<std::int64_t>(round[8].number(of_round(8))),
                                 static_cast<std::int64_t>(round[9].number(of_round(9)))};
  return core().apply_elsewhere(learner, statistics, step, columns);
}

// By the tasks themselves: theta_hat, grad_sq and weights. phi in the parameters' type is the high
// part of a pair, a float64, or rounded here.
bool learn_tasks(MetaState& learner, const JaxBuffer* tasks, const JaxBuffer& whole,
                 std::int64_t entry, const double* step, ColumnsElsewhere columns) {
  const Weights weights(tasks[2], entry, whole);
  std::vector<float> rounded;
  const char* phi = whole.at(entry, whole);
  if (whole.is_double() && learner.type == Type::kFloat32) {
    const double* master = reinterpret_cast<const double*>(phi);
    rounded.assign(master, master + learner.n);
    phi = reinterpret_cast<const char*>(rounded.data());
  }
  const RoundArrays round = {.theta_hat = tasks[0].at(entry, whole),
                             .grad_sq = tasks[1].at(entry, whole),
                             .phi = phi,
                             .weights = weights.or_null(),
                             .n_tasks = tasks[2].n(),
                             .n = learner.n,
                             .type = learner.type};
  return core().learn_elsewhere(learner, "update", round, step, columns);
}

// Arguments: the leaves of the state; of the statistics, or theta_hat, grad_sq and weights of
// tasks; and, of a step that was chosen, its high and low part. Results: the leaves of the state.
ffi::Error learn(ffi::RemainingArgs args, ffi::RemainingRets rets, bool of_tasks,
                 double learning_rate, double zeta, double p, double decay,
                 double max_learning_rate, bool isotropic, bool average_task, bool tight,
                 double most_b, double most_g, double least, ffi::Span<const std::int64_t> table) {
  return guarded([&] {
    const std::vector<JaxBuffer> in = all(args), out = all(rets);
    for (std::size_t i = 0; i < out.size(); ++i) out[i].start_from(in[i]);
    const StateBuffers state(out.data(), out.size() > 10);
    const Meta meta = {
        .parameters = {.learning_rate = learning_rate,
                       .zeta = zeta,
                       .p = p,
                       .decay = decay,
                       .max_learning_rate = max_learning_rate,
                       .isotropic = isotropic,
                       .average_task = average_task,
                       .tight = tight},
        .tensors = Tensors(table.begin(), static_cast<std::int64_t>(table.size()) / 2 - 1),
        .type = state.rates->type_of_numbers(),
        .most_b = most_b,
        .most_g = most_g,
        .least = least};
    const JaxBuffer* round = in.data() + out.size();
    const std::size_t n_round = of_tasks ? 3 : 10;
    const JaxBuffer* step = in.size() > out.size() + n_round ? round + n_round : nullptr;
    const JaxBuffer& whole = *state.phi[0];
    for (std::int64_t entry = 0; entry < whole.n_entries(); ++entry) {
      const Learn own = [&](MetaState& learner, const double* chosen, ColumnsElsewhere columns) {
        return (of_tasks ? learn_tasks : learn_sums)(learner, round, whole, entry, chosen, columns);
      };
      meta.type == Type::kFloat64 ? learn_entry<double>(meta, state, step, entry, own)
                                  : learn_entry<float>(meta, state, step, entry, own);
    }
  });
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(aruba_fast_jax_learn, learn,
                              ffi::Ffi::Bind()
                                  .RemainingArgs()
                                  .RemainingRets()
                                  .Attr<bool>("of_tasks")
                                  .Attr<double>("learning_rate")
                                  .Attr<double>("zeta")
                                  .Attr<double>("p")
                                  .Attr<double>("decay")
                                  .Attr<double>("max_learning_rate")
                                  .Attr<bool>("isotropic")
                                  .Attr<bool>("average_task")
                                  .Attr<bool>("tight")
                                  .Attr<double>("most_b")
                                  .Attr<double>("most_g")
                                  .Attr<double>("least")
                                  .Attr<ffi::Span<const std::int64_t>>("table"));

}  // namespace aruba_fast::python
