// Across tasks: the meta-update.
#include "ops_meta.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "lane_sum.h"
#include "ops_prior.h"
#include "parallel.h"

namespace aruba_fast {
namespace {

std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// Sum of an array in float64, compensated.
double sum_of(const double* values, std::int64_t n) {
  std::vector<Twofold<double>> segments(static_cast<std::size_t>(divide_up(n, kSumSegment)));
  for_each(static_cast<std::int64_t>(segments.size()), n > kSharedFrom, [&](std::int64_t i) {
    const double* segment = values + i * kSumSegment;
    segments[static_cast<std::size_t>(i)] =
        lane_sum(std::min(kSumSegment, n - i * kSumSegment),
                 [segment](std::int64_t j) { return segment[j]; });
  });
  const Twofold<double> sum =
      lane_sum(static_cast<std::int64_t>(segments.size()),
               [&](std::int64_t i) { return segments[static_cast<std::size_t>(i)]; });
  return sum.value();
}

}  // namespace

double MetaState::rate_cap() const {
  return std::min(parameters.max_learning_rate, type == Type::kFloat64
                                                    ? std::numeric_limits<double>::max()
                                                    : double{std::numeric_limits<float>::max()});
}

PreparedRound MetaState::prepare(const Statistics& statistics, const double* meta_step) const {
  // A round of a learner that has no smoothing may stand for billions of tasks.
  const std::int64_t n_terms = parameters.average_task ? 0 : statistics.n_tasks;
  const Twofold<double> smoothing = lane_sum(
      n_terms, [this](std::int64_t i) { return smoothing_of_task(*n_tasks, i, parameters.p); });
  return aruba_fast::prepare(parameters, rate_cap(), {*weight_high, *weight_low},
                             {statistics.n_tasks, statistics.weight, smoothing.value()},
                             {meta_step != nullptr, meta_step ? *meta_step : 0});
}

MetaCall MetaState::call_of(const PreparedRound& round, const SumsOfColumns& columns) const {
  const std::int64_t begin = columns.begin, bytes = begin * size_of(type);
  return {.b = b + begin,
          .g = g + begin,
          .phi_master = phi_master + begin,
          .rho = rho + begin,
          .phi = static_cast<char*>(phi) + bytes,
          .rates = static_cast<char*>(rates) + bytes,
          .sums = columns.sums,
          .n = columns.end - begin,
          .stride = columns.stride,
          .step = round.step,
          .n_summed = n_summed(),
          .rates_follow = parameters.average_task};
}

// Whether a state stays sound by sums over tasks of float32, without a look at it: an average of
// numbers is one, and what is added to b and g is lost beside the largest double.
bool MetaState::surely_stays_sound(const double* meta_step) const {
  const auto moderate = [this](double x) {
    return parameters.average_task || (x > 1e-90 && x < 1e90);
  };
  return type == Type::kFloat32 && (!meta_step || *meta_step <= 1) && moderate(parameters.zeta) &&
         moderate(parameters.learning_rate * parameters.zeta);
}

// body(begin, end), which returns whether all is well, of all columns.
template <class Body>
bool MetaState::over_parts(Body body) const {
  const std::int64_t share = divide_up(divide_up(n, n > kSharedFrom ? n_threads() : 1), 64) * 64;
  std::atomic<bool> all{true};
  for_each(divide_up(n, share), n > kSharedFrom, [&](std::int64_t part) {
    const std::int64_t begin = part * share;
    if (!body(begin, std::min(n, begin + share))) all = false;
  });
  return all;
}

template <class Body>
bool MetaState::over_parts(const Statistics& statistics, Body body) const {
  return over_parts([&](std::int64_t begin, std::int64_t end) {
    return body(SumsOfColumns{begin, end, n, statistics.sums + begin});
  });
}

void MetaState::require_sound(const char* function, const Statistics& statistics,
                              const double* meta_step) const {
  if (statistics.n_tasks == 0) return;
  const PreparedRound round = prepare(statistics, meta_step);
  const bool sound =
      is_finite(round.weight.high) && over_parts(statistics, [&](const SumsOfColumns& columns) {
        return kernels().meta_is_sound[index_of(type)](call_of(round, columns));
      });
  if (!sound) refuse_unsound(function);
}

void MetaState::refuse_unsound(const char* function) {
  refuse(function, "the round", "leave b, g and phi finite", "an overflow",
         "a smaller `meta_step` or sums of tasks that were run from here; nothing was learned");
}

void MetaState::update(const PreparedRound& round, const SumsOfColumns& columns) {
  kernels().meta[index_of(type)](call_of(round, columns));
}

void MetaState::finish(const PreparedRound& round, const Statistics& statistics) {
  *n_tasks += statistics.n_tasks;
  *n_skipped += statistics.n_skipped;
  *weight_high = round.weight.high;
  *weight_low = round.weight.low;
  if (n_whole) return;
  if (parameters.average_task) find_rates();
  else if (parameters.isotropic) find_rates({{sum_of(b, n), sum_of(g, n), n}});
}

RoundArrays MetaState::limited(RoundArrays round) const {
  round.rates = rates;
  round.limit = parameters.average_task ? limit : nullptr;
  return round;
}

void MetaState::apply(const char* function, const Statistics& statistics, const double* meta_step) {
  require_sound(function, statistics, meta_step);
  commit(statistics, meta_step);
}

void MetaState::commit(const Statistics& statistics, const double* meta_step) {
  if (statistics.n_tasks == 0) {
    *n_skipped += statistics.n_skipped;
    if (parameters.average_task && statistics.n_skipped > 0 && !n_whole) find_rates();
    return;
  }
  const PreparedRound round = prepare(statistics, meta_step);
  over_parts(statistics, [&](const SumsOfColumns& columns) {
    update(round, columns);
    return true;
  });
  finish(round, statistics);
}

void MetaState::apply_own(const char* function, const Statistics& statistics,
                          const double* meta_step) {
  if (!surely_stays_sound(meta_step)) require_sound(function, statistics, meta_step);
  commit(statistics, meta_step);
}

void MetaState::learn(const char* function, const RoundArrays& tasks, const double* meta_step) {
  Statistics statistics{nullptr};
  const RoundArrays of_round = limited(tasks);
  const bool may_be_few = surely_stays_sound(meta_step);
  const auto by = may_be_few ? count_few(of_round, statistics) : std::nullopt;
  if (!by) {
    const std::unique_ptr<double[]> sums(new double[static_cast<std::size_t>(6 * n)]);
    statistics.sums = sums.get();
    add_round(function, of_round, statistics, nullptr);
    return apply_own(function, statistics, meta_step);
  }
  if (statistics.n_tasks == 0) return;
  const PreparedRound round = prepare(statistics, meta_step);
  sum_few(of_round, *by, [&](const SumsOfColumns& columns) { update(round, columns); });
  finish(round, statistics);
}

bool MetaState::apply_elsewhere(const Statistics& statistics, const double* meta_step,
                                const ColumnsElsewhere& columns) {
  const std::unique_ptr<double[]> whole(!b && (parameters.average_task || parameters.isotropic)
                                            ? new double[static_cast<std::size_t>(2 * n)]
                                            : nullptr);
  if (whole) {
    b = whole.get();
    g = b + n;
  }
  // Ten rows of doubles, 21 KB.
  constexpr std::int64_t kTile = 256, kStride = kTile + 8;
  const auto over_tiles = [&](const std::function<bool(const MetaTile&, void*, double*)>& body) {
    return over_parts([&](std::int64_t first, std::int64_t last) {
      alignas(64) double rows[10 * kStride], rounded[kTile];
      bool all = true;
      for (std::int64_t begin = first; begin < last; begin += kTile) {
        const auto row = [&](double* own, int i) { return own ? own + begin : rows + i * kStride; };
        const MetaTile tile = {.begin = begin,
                               .end = std::min(last, begin + kTile),
                               .phi = row(nullptr, 0),
                               .b = row(b, 1),
                               .g = row(g, 2),
                               .rho = row(nullptr, 3)};
        columns.load(tile);
        all &= body(tile, rounded, rows + 4 * kStride);
      }
      return all;
    });
  };
  const auto call = [&](const PreparedRound& round, const MetaTile& tile, void* rounded,
                        double* sums) {
    columns.sums({tile.begin, tile.end, kStride, sums});
    return MetaCall{.b = tile.b,
                    .g = tile.g,
                    .phi_master = tile.phi,
                    .rho = tile.rho,
                    .phi = rounded,
                    .rates = static_cast<char*>(rates) + tile.begin * size_of(type),
                    .sums = sums,
                    .n = tile.end - tile.begin,
                    .stride = kStride,
                    .step = round.step,
                    .n_summed = n_summed(),
                    .rates_follow = parameters.average_task};
  };
  const bool some = statistics.n_tasks > 0;
  const PreparedRound round = some ? prepare(statistics, meta_step) : PreparedRound{};
  bool learns = some && is_finite(round.weight.high);
  if (learns && !surely_stays_sound(meta_step))
    learns = over_tiles([&](const MetaTile& tile, void* rounded, double* sums) {
      return kernels().meta_is_sound[index_of(type)](call(round, tile, rounded, sums));
    });
  if (!learns) {
    *n_skipped += statistics.n_skipped + statistics.n_tasks;
    if (!parameters.average_task) return false;
    over_tiles([](const MetaTile&, void*, double*) { return true; });
    find_rates();
    return false;
  }
  over_tiles([&](const MetaTile& tile, void* rounded, double* sums) {
    kernels().meta[index_of(type)](call(round, tile, rounded, sums));
    columns.store(tile);
    return true;
  });
  finish(round, statistics);
  return true;
}

bool MetaState::learn_elsewhere(const char* function, const RoundArrays& tasks,
                                const double* meta_step, const ColumnsElsewhere& columns) {
  Statistics counts{nullptr};
  const RoundArrays round = limited(tasks);
  ColumnsElsewhere own = columns;
  if (const auto by = count_few(round, counts)) {
    own.sums = [&](const SumsOfColumns& into) { sum_columns(round, *by, into); };
    return apply_elsewhere(counts, meta_step, own);
  }
  const std::unique_ptr<double[]> sums(new double[static_cast<std::size_t>(6 * n)]);
  counts.sums = sums.get();
  add_round(function, round, counts, nullptr);
  own.sums = [&](const SumsOfColumns& into) {
    for (int row = 0; row < 6; ++row) {
      const double* from = sums.get() + row * n;
      std::copy(from + into.begin, from + into.end, into.sums + row * into.stride);
    }
  };
  return apply_elsewhere(counts, meta_step, own);
}

}  // namespace aruba_fast
