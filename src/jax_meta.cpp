// Across tasks for XLA: the sums of a round, and the meta-update.
#include <cmath>
#include <limits>
#include <memory>

#include "jax_buffers.h"
#include "parallel.h"

namespace aruba_fast::python {
namespace {

// Float64 as XLA has it: itself, or a pair of float32, whose sum it is but for the digits beyond
// 48. The low part of a float64 is nothing, or what a pair of float64 has.
class Columns {
 public:
  Columns() = default;
  Columns(const JaxBuffer& high, std::int64_t entry, const JaxBuffer& whole)
      : high_(high.at(entry, whole)), is_double_(high.is_double()) {}
  Columns(const JaxBuffer& high, const JaxBuffer& low, std::int64_t entry, const JaxBuffer& whole)
      : Columns(high, entry, whole) {
    low_ = low.at(entry, whole);
  }

  void load(std::int64_t begin, std::int64_t end, double* into) const {
    if (is_double_) {
      if (into != doubles(high_) + begin) std::copy(doubles(high_) + begin, doubles(high_) + end, into);
      return;
    }
    const float *high = floats(high_) + begin, *low = floats(low_) + begin;
    for (std::int64_t j = 0; j < end - begin; ++j) into[j] = double{high[j]} + double{low[j]};
  }
  // Within least and most.
  void store(std::int64_t begin, std::int64_t end, const double* from, double least,
             double most) const {
    if (is_double_) {
      if (from != doubles(high_) + begin) std::copy(from, from + (end - begin), doubles(high_) + begin);
      return;
    }
    float *high = floats(high_) + begin, *low = floats(low_) + begin;
    for (std::int64_t j = 0; j < end - begin; ++j) {
      const double x = std::min(std::max(from[j], least), most);
      high[j] = static_cast<float>(x);
      low[j] = static_cast<float>(x - double{high[j]});
    }
  }
  // A pair of float64. False where float32 has no room for it.
  bool store_pair(std::int64_t begin, std::int64_t end, const double* highs,
                  const double* lows) const {
    if (is_double_) {
      std::copy(highs, highs + (end - begin), doubles(high_) + begin);
      std::copy(lows, lows + (end - begin), doubles(low_) + begin);
      return true;
    }
    float *high = floats(high_) + begin, *low = floats(low_) + begin;
    constexpr double kMost = double{std::numeric_limits<float>::max()};
    bool fits = true;
    for (std::int64_t j = 0; j < end - begin; ++j) {
      const double x = std::min(std::max(highs[j], -kMost), kMost);
      high[j] = static_cast<float>(x);
      low[j] = static_cast<float>(x - double{high[j]});
      fits &= x == highs[j];
    }
    return fits;
  }
  void load_pair(std::int64_t begin, std::int64_t end, double* highs, double* lows) const {
    load(begin, end, highs);
    if (is_double_) std::copy(doubles(low_) + begin, doubles(low_) + end, lows);
    else std::fill(lows, lows + (end - begin), 0.0);
  }
  double* whole() const { return is_double_ ? doubles(high_) : nullptr; }

 private:
  static double* doubles(char* p) { return reinterpret_cast<double*>(p); }
  static float* floats(char* p) { return reinterpret_cast<float*>(p); }

  char *high_ = nullptr, *low_ = nullptr;
  bool is_double_ = false;
};

double largest_of(const JaxBuffer& buffer) {
  return buffer.is_double() ? std::numeric_limits<double>::max()
                            : double{std::numeric_limits<float>::max()};
}

// A number in any of the types that XLA holds numbers in.
void write(const JaxBuffer& into, std::int64_t at, double value) {
  switch (into.type) {
    case ffi::F64:
      reinterpret_cast<double*>(into.data)[at] = value;
      return;
    case ffi::F32:
      reinterpret_cast<float*>(into.data)[at] = static_cast<float>(value);
      return;
    case ffi::S64:
      reinterpret_cast<std::int64_t*>(into.data)[at] = static_cast<std::int64_t>(value);
      return;
    default:
      reinterpret_cast<std::int32_t*>(into.data)[at] = static_cast<std::int32_t>(value);
  }
}

void write_pair(const JaxBuffer& high, const JaxBuffer& low, std::int64_t at, Twofold<double> x) {
  if (high.is_double()) {
    write(high, at, x.high);
    return write(low, at, x.low);
  }
  const float value = static_cast<float>(x.value());
  write(high, at, double{value});
  write(low, at, x.value() - double{value});
}

Twofold<double> pair_at(const JaxBuffer& high, const JaxBuffer& low, std::int64_t at) {
  Twofold<double> x = {0, 0};
  add(x, high.number(at));
  add(x, low.number(at));
  return x;
}

// ---- statistics ----------------------------------------------------------------------------------

// Tasks that float32's pairs have no room for weigh nothing that is a number.
template <class T>
void refuse_far_tasks(const RoundArrays& round, double* weights) {
  constexpr double kMost = double{std::numeric_limits<float>::max()};
  const T* phi = static_cast<const T*>(round.phi);
  for (std::int64_t task = 0; task < round.n_tasks; ++task) {
    const T *theta_hat = static_cast<const T*>(round.theta_hat) + task * round.n,
            *grad_sq = static_cast<const T*>(round.grad_sq) + task * round.n;
    for (std::int64_t j = 0; j < round.n; ++j)
      if (!(half_square_distance<double>(theta_hat[j], phi[j]) <= kMost && grad_sq[j] <= kMost &&
            std::abs(weights[task] * double{theta_hat[j]}) <= kMost))
        weights[task] = std::numeric_limits<double>::quiet_NaN();
  }
}

// Arguments: phi, theta_hat and grad_sq, rows of one after the other, weights; with a limit the
// rates and the limit. Results: distance, grad_sq, theta_sum and weight, high and low; counts.
ffi::Error statistics(ffi::RemainingArgs args, ffi::RemainingRets rets) {
  return guarded([&] {
    const std::vector<JaxBuffer> in = all(args), out = all(rets);
    const JaxBuffer &phi = in[0], &weight = in[3];
    for (std::int64_t entry = 0; entry < out[0].n_entries(); ++entry) {
      RoundArrays round = {.theta_hat = in[1].at(entry, out[0]),
                           .grad_sq = in[2].at(entry, out[0]),
                           .phi = phi.at(entry, out[0]),
                           .weights = nullptr,
                           .n_tasks = weight.n(),
                           .n = phi.n(),
                           .type = phi.type_of_numbers()};
      double limit = std::numeric_limits<double>::infinity();
      if (in.size() > 4) {
        const double given = in[5].number(in[5].row(entry, out[0]));
        if (given < largest_of(in[5])) limit = given;
        round.rates = in[4].at(entry, out[0]);
        round.limit = &limit;
      }
      const bool is_double = weight.is_double();
      const double least = is_double ? kLeastWeight : double{1e-30f},
                   most = is_double ? kMostWeight : double{1e30f};
      std::vector<double> weights(static_cast<std::size_t>(round.n_tasks));
      bool all_one = true;
      for (std::int64_t task = 0; task < round.n_tasks; ++task) {
        const double w = weight.number(weight.row(entry, out[0]) * round.n_tasks + task);
        const bool is_valid = w == 0 || (w >= least && w <= most);
        weights[static_cast<std::size_t>(task)] =
            is_valid ? w : std::numeric_limits<double>::quiet_NaN();
        all_one &= w == 1;
      }
      if (!all_one) round.weights = weights.data();
      const Columns sums[] = {{out[0], out[1], entry, out[0]},
                              {out[2], out[3], entry, out[0]},
                              {out[4], out[5], entry, out[0]}};
      Statistics counts{nullptr};
      const auto sum = [&] {
        bool fits = true;
        core().sum_elsewhere("statistics", round, counts, [&](const SumsOfColumns& columns) {
          bool own = true;
          for (int i = 0; i < 3; ++i) {
            const double* row = columns.sums + 2 * i * columns.stride;
            own &= sums[i].store_pair(columns.begin, columns.end, row, row + columns.stride);
          }
          if (!own) __atomic_store_n(&fits, false, __ATOMIC_RELAXED);
        });
        return fits;
      };
      if (!sum()) {
        round.type == Type::kFloat64 ? refuse_far_tasks<double>(round, weights.data())
                                     : refuse_far_tasks<float>(round, weights.data());
        round.weights = weights.data();
        sum();
      }
      write_pair(out[6], out[7], entry, counts.weight);
      write(out[8], entry, static_cast<double>(counts.n_tasks));
      write(out[9], entry, static_cast<double>(counts.n_skipped));
    }
  });
}

// ---- apply ---------------------------------------------------------------------------------------

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

// rho, -1 for nan.
void store_rho(const JaxBuffer& rho, std::int64_t entry, const MetaTile& tile) {
  const double most = largest_of(rho);
  for (std::int64_t j = tile.begin; j < tile.end; ++j) {
    const double ratio = tile.rho[j - tile.begin];
    write(rho, entry * rho.n() + j, ratio >= 0 && is_finite(ratio) ? std::min(ratio, most) : -1);
  }
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
      std::fill(spread_.get() + begin(i), spread_.get() + (i + 1 < n_own_ ? begin(i + 1) : n), own_[i]);
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

template <class T>
void apply_entry(const Meta& meta, const StateBuffers& state, const JaxBuffer* round,
                 const JaxBuffer* step, std::int64_t entry) {
  const JaxBuffer& whole = *state.phi[0];
  const std::int64_t n = whole.n();
  const Columns b = columns_of(state.b, entry, whole), g = columns_of(state.g, entry, whole),
                phi = columns_of(state.phi, entry, whole);
  const Columns sums[] = {{round[0], round[1], entry, whole},
                          {round[2], round[3], entry, whole},
                          {round[4], round[5], entry, whole}};
  const auto of_round = [&](int i) { return round[i].row(entry, whole); };
  const Statistics statistics = {
      nullptr, pair_at(round[6], round[7], of_round(6)),
      static_cast<std::int64_t>(round[8].number(of_round(8))),
      static_cast<std::int64_t>(round[9].number(of_round(9)))};
  Rates<T> rates(*state.rates, entry, meta, n);
  std::int64_t counts[] = {static_cast<std::int64_t>(state.n_tasks->number(entry)),
                           static_cast<std::int64_t>(state.n_skipped->number(entry))};
  Twofold<double> weight = pair_at(*state.weight[0], *state.weight[1], entry);
  double limit = state.limit->number(entry), chosen = 0;
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
  const bool learned = core().apply_elsewhere(
      learner, statistics, step ? &chosen : nullptr,
      {.load =
           [&](const MetaTile& tile) {
             b.load(tile.begin, tile.end, tile.b);
             g.load(tile.begin, tile.end, tile.g);
             phi.load(tile.begin, tile.end, tile.phi);
           },
       .sums =
           [&](const SumsOfColumns& columns) {
             for (int i = 0; i < 3; ++i) {
               double* row = columns.sums + 2 * i * columns.stride;
               sums[i].load_pair(columns.begin, columns.end, row, row + columns.stride);
             }
           },
       .store =
           [&](const MetaTile& tile) {
             b.store(tile.begin, tile.end, tile.b, meta.least, meta.most_b);
             g.store(tile.begin, tile.end, tile.g, meta.least, meta.most_g);
             phi.store(tile.begin, tile.end, tile.phi, -most, most);
             store_rho(*state.rho, entry, tile);
           }});
  rates.finish();
  if (learned) write_pair(*state.weight[0], *state.weight[1], entry, weight);
  write(*state.n_tasks, entry, static_cast<double>(counts[0]));
  write(*state.n_skipped, entry, static_cast<double>(counts[1]));
  write(*state.limit, entry, std::min(limit, largest_of(*state.limit)));
}

// Arguments: the leaves of the state, of the statistics, and, of a step that was chosen, its high
// and low part. Results: the leaves of the state.
ffi::Error apply(ffi::RemainingArgs args, ffi::RemainingRets rets, double learning_rate,
                 double zeta, double p, double decay, double max_learning_rate, bool isotropic,
                 bool average_task, bool tight, double most_b, double most_g, double least,
                 ffi::Span<const std::int64_t> table) {
  return guarded([&] {
    const std::vector<JaxBuffer> in = all(args), out = all(rets);
    for (std::size_t i = 0; i < out.size(); ++i) out[i].start_from(in[i]);
    const StateBuffers state(out.data(), out.size() > 10);
    const Meta meta = {.parameters = {.learning_rate = learning_rate,
                                      .zeta = zeta,
                                      .p = p,
                                      .decay = decay,
                                      .max_learning_rate = max_learning_rate,
                                      .isotropic = isotropic,
                                      .average_task = average_task,
                                      .tight = tight},
                       .tensors = Tensors(table.begin(),
                                          static_cast<std::int64_t>(table.size()) / 2 - 1),
                       .type = state.rates->type_of_numbers(),
                       .most_b = most_b,
                       .most_g = most_g,
                       .least = least};
    const JaxBuffer* round = in.data() + out.size();
    const JaxBuffer* step = in.size() > out.size() + 10 ? round + 10 : nullptr;
    for (std::int64_t entry = 0; entry < state.phi[0]->n_entries(); ++entry)
      meta.type == Type::kFloat64 ? apply_entry<double>(meta, state, round, step, entry)
                                  : apply_entry<float>(meta, state, round, step, entry);
  });
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(aruba_fast_jax_statistics, statistics,
                              ffi::Ffi::Bind().RemainingArgs().RemainingRets());

XLA_FFI_DEFINE_HANDLER_SYMBOL(aruba_fast_jax_apply, apply,
                              ffi::Ffi::Bind()
                                  .RemainingArgs()
                                  .RemainingRets()
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
