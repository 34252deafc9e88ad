// Across tasks: the statistics of a round, their merging, and the meta-update.
#include "ops_meta.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <memory>

#include "lane_sum.h"
#include "parallel.h"

namespace aruba_fast {
namespace {

// Columns whose six sums (96 KB) stay in the second-level cache: shorter pieces of a task's row
// cost more than that saves (AVX-512, [1000, 100 000]: 256 29 ms, 512 23, 1024 20.5, 2048 18.6,
// 8192 19.2).
constexpr std::int64_t kTile = 2048;
// With few tasks the sums are most of what is moved, and stay in the first-level cache (24 KB; 1024
// and 256 columns take the same time).
constexpr std::int64_t kFewTasks = 16, kSmallTile = 512;
constexpr std::int64_t kPadding = 8;  // keeps the six rows of sums off the same cache sets
constexpr std::int64_t kWave = 64;    // chunks in flight when there are few columns
constexpr std::int64_t kPartials =
    512;  // tiles of chunks in flight, 50 MB, for however many threads
constexpr std::int64_t kParallelFrom = std::int64_t(1) << 15;

std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
int index_of(Type type) { return type == Type::kFloat64; }

// Columns begin..end of one chunk of tasks. False if a grad_sq may be negative.
bool reduce_tile(const RoundArrays& round, const std::uint8_t* skip, std::int64_t chunk,
                 std::int64_t begin, std::int64_t end, std::int64_t stride, double* sums) {
  return kernels().reduce[index_of(round.type)](
      {round.theta_hat, round.grad_sq, round.phi, round.weights, skip, chunk * kTaskChunk,
       std::min(round.n_tasks, (chunk + 1) * kTaskChunk), begin, end, round.n, stride, sums,
       round.n_tasks <= kFewTasks});
}

// False if a sum is not finite or, where that is asked, may have a task in it that does not count.
bool merge_tile(double* into, std::int64_t into_stride, const double* from,
                std::int64_t from_stride, std::int64_t n, bool into_nothing = false,
                bool of_what_counts = false) {
  // Infinite from kMostDistance on, from kMostGradSq on, from infinity on.
  constexpr double kReach[] = {0x1p1023 / kMostDistance * 2, 0x1p1023 / kMostGradSq * 2, 1};
  bool finite = true;
  for (int row = 0; row < 6; row += 2)
    finite &= kernels().merge({into + row * into_stride, into + (row + 1) * into_stride,
                               from + row * from_stride, from + (row + 1) * from_stride, n,
                               into_nothing, of_what_counts ? kReach[row / 2] : 1});
  return finite;
}

// body(tile) for each of n tiles, neighbours on the same thread.
void for_each_in_runs(std::int64_t n, bool parallel,
                      const std::function<void(std::int64_t)>& body) {
  const std::int64_t run = divide_up(n, parallel ? n_threads() : 1);
  for_each(divide_up(n, run), parallel, [&](std::int64_t part) {
    for (std::int64_t i = part * run; i < std::min(n, (part + 1) * run); ++i) body(i);
  });
}

// Adds the round to sums, or starts them with it, chunk after chunk in every column. False if a sum
// is not finite or, without `skip`, a task may not count.
bool sum_round(const RoundArrays& round, const std::uint8_t* skip, bool start, double* sums) {
  const std::int64_t width = round.n_tasks > kFewTasks ? kTile : kSmallTile,
                     n_tiles = divide_up(round.n, width),
                     n_chunks = std::max(divide_up(round.n_tasks, kTaskChunk), std::int64_t(1)),
                     stride = divide_up(std::min(round.n, width), 8) * 8 + kPadding;
  const bool parallel = round.n_tasks * round.n > kParallelFrom;
  std::atomic<bool> finite{true};
  const auto reduce = [&](std::int64_t chunk, std::int64_t tile, double* partial) {
    if (!reduce_tile(round, skip, chunk, tile * width, std::min(round.n, (tile + 1) * width),
                     stride, partial) &&
        !skip)
      finite = false;
  };
  const auto merge = [&](std::int64_t chunk, std::int64_t tile, const double* partial) {
    return merge_tile(sums + tile * width, round.n, partial, stride,
                      std::min(round.n - tile * width, width), start && chunk == 0, !skip);
  };
  if (n_tiles >= std::min<std::int64_t>(4 * n_threads(), kPartials) || n_chunks == 1) {
    (width == kTile ? for_each : for_each_in_runs)(n_tiles, parallel, [&](std::int64_t tile) {
      alignas(64) double partial[6 * (kTile + kPadding)];
      for (std::int64_t chunk = 0; chunk < n_chunks; ++chunk) {
        reduce(chunk, tile, partial);
        if (!merge(chunk, tile, partial)) finite = false;
      }
    });
    return finite;
  }
  const std::int64_t wave = std::min({kWave, n_chunks, kPartials / n_tiles}), size = 6 * stride;
  const std::unique_ptr<double[]> partials(
      new double[static_cast<std::size_t>(wave * n_tiles * size)]);
  for (std::int64_t first = 0; first < n_chunks; first += wave) {
    const std::int64_t n = std::min(wave, n_chunks - first);
    for_each(n * n_tiles, parallel, [&](std::int64_t i) {
      reduce(first + i / n_tiles, i % n_tiles, partials.get() + i * size);
    });
    for (std::int64_t i = 0; i < n * n_tiles; ++i)
      if (!merge(first + i / n_tiles, i % n_tiles, partials.get() + i * size)) finite = false;
  }
  return finite;
}

template <class T>
bool task_counts(const RoundArrays& round, std::int64_t task) {
  const T *theta_hat = static_cast<const T*>(round.theta_hat) + task * round.n,
          *grad_sq = static_cast<const T*>(round.grad_sq) + task * round.n,
          *phi = static_cast<const T*>(round.phi);
  const double weight = round.weights ? round.weights[task] : 1;
  for (std::int64_t j = 0; j < round.n; ++j) {
    const double theta = theta_hat[j];
    if (!counts(half_square_distance<double>(theta, phi[j]), grad_sq[j], weight * theta))
      return false;
  }
  return true;
}

// All of the statistics but their sums.
void count_tasks(const RoundArrays& round, const std::uint8_t* skip, Statistics& into) {
  for (std::int64_t first = 0; first < round.n_tasks; first += kTaskChunk) {
    Twofold<double> weight = {0, 0};
    for (std::int64_t task = first; task < std::min(round.n_tasks, first + kTaskChunk); ++task) {
      const bool out = skip && skip[task];
      if (!out) add(weight, round.weights ? round.weights[task] : 1.0);
      ++(out ? into.n_skipped : into.n_tasks);
    }
    add(into.weight, weight);
  }
}

}  // namespace

void add_round(const char* function, const RoundArrays& round, Statistics& into,
               std::uint8_t* skipped) {
  const bool start = into.n_tasks + into.n_skipped == 0;
  const std::vector<double> before(into.sums, into.sums + (start ? 0 : 6 * round.n));
  std::vector<std::uint8_t> skip;
  if (!sum_round(round, nullptr, start, into.sums)) {
    skip.resize(static_cast<std::size_t>(round.n_tasks));
    for_each(divide_up(round.n_tasks, kTaskChunk), round.n_tasks * round.n > kParallelFrom,
             [&](std::int64_t chunk) {
               for (std::int64_t task = chunk * kTaskChunk;
                    task < std::min(round.n_tasks, (chunk + 1) * kTaskChunk); ++task)
                 skip[static_cast<std::size_t>(task)] =
                     !(round.type == Type::kFloat64 ? task_counts<double>(round, task)
                                                    : task_counts<float>(round, task));
             });
    std::copy(before.begin(), before.end(), into.sums);
    if (!sum_round(round, skip.data(), start, into.sums)) {
      std::copy(before.begin(), before.end(), into.sums);
      throw ValueError(std::string(function) +
                       ": the sums over the tasks must be finite: got an overflow of float64");
    }
  }
  count_tasks(round, skip.empty() ? nullptr : skip.data(), into);
  if (!skipped) return;
  for (std::int64_t task = 0; task < round.n_tasks; ++task)
    skipped[task] = !skip.empty() && skip[static_cast<std::size_t>(task)];
}

void merge(Statistics& into, const Statistics& other, std::int64_t n) {
  merge_tile(into.sums, n, other.sums, n, n);
  add(into.weight, other.weight);
  into.n_tasks += other.n_tasks;
  into.n_skipped += other.n_skipped;
}

namespace {

// Sum of an array in float64, compensated.
double sum_of(const double* values, std::int64_t n) {
  std::vector<Twofold<double>> segments(static_cast<std::size_t>(divide_up(n, kSumSegment)));
  for_each(static_cast<std::int64_t>(segments.size()), n > kParallelFrom, [&](std::int64_t i) {
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

// Whether every task surely counts: float32 is far from float64's limits.
bool surely_count(const RoundArrays& round) {
  if (round.type != Type::kFloat32) return false;
  const std::int64_t n_tiles = divide_up(round.n, kTile);
  std::atomic<bool> finite{true};
  for_each(round.n_tasks * n_tiles, round.n_tasks * round.n > kParallelFrom, [&](std::int64_t i) {
    const std::int64_t begin = i % n_tiles * kTile, at = i / n_tiles * round.n + begin,
                       n = std::min(round.n - begin, kTile);
    for (const void* array : {round.theta_hat, round.grad_sq})
      if (!kernels().finite(static_cast<const float*>(array) + at, n, array == round.grad_sq))
        finite = false;
  });
  return finite;
}

}  // namespace

// What the tasks of a round change of the state, but for its vectors.
struct MetaState::Round {
  Twofold<double> total_weight;
  MetaStep<double> step;
};

MetaState::Round MetaState::round_of(const Statistics& statistics, const double* meta_step) const {
  const std::int64_t k = statistics.n_tasks;
  const double eps = parameters.learning_rate * parameters.zeta, weight = statistics.weight.value();
  Twofold<double> total_weight = {*weight_high, *weight_low};
  add(total_weight, statistics.weight);
  // The spec counts t from 1: the first task adds 1 / 2^p.
  const Twofold<double> smoothing = lane_sum(k, [this](std::int64_t i) {
    return smoothing_term(static_cast<double>(*n_tasks + 2 + i), parameters.p);
  });
  const double total = total_weight.value();
  // A rate stays a number of the parameters' type, whatever happened.
  const double largest = type == Type::kFloat64 ? std::numeric_limits<double>::max()
                                                : double{std::numeric_limits<float>::max()};
  return {total_weight,
          {power(1 - parameters.decay, k), 1 / (eps * eps), 1 / (parameters.zeta * parameters.zeta),
           smoothing.value(), weight > 0 ? 1 / weight : 0,
           weight > 0 ? (meta_step ? *meta_step : weight / total) : 0, parameters.learning_rate,
           std::min(parameters.max_learning_rate, largest)}};
}

MetaCall MetaState::call_of(const Round& round, std::int64_t begin, std::int64_t end,
                            const double* sums, std::int64_t stride) const {
  const std::int64_t bytes = begin * size_of(type);
  return {b + begin,
          g + begin,
          phi_master + begin,
          rho + begin,
          static_cast<char*>(phi) + bytes,
          static_cast<char*>(rates) + bytes,
          sums,
          end - begin,
          stride,
          round.step,
          parameters.isotropic ? static_cast<double>(n) : 1.0};
}

// Whether a state stays sound by sums over tasks of float32, without a look at it: an average of
// numbers is one, and what is added to b and g is lost beside the largest double.
bool MetaState::surely_stays_sound(const double* meta_step) const {
  const auto moderate = [](double x) { return x > 1e-90 && x < 1e90; };
  return type == Type::kFloat32 && (!meta_step || *meta_step <= 1) && moderate(parameters.zeta) &&
         moderate(parameters.learning_rate * parameters.zeta);
}

template <class Body>
bool MetaState::over_parts(Body body) const {
  const std::int64_t share = divide_up(divide_up(n, n > kParallelFrom ? n_threads() : 1), 64) * 64;
  std::atomic<bool> all{true};
  for_each(divide_up(n, share), n > kParallelFrom, [&](std::int64_t part) {
    const std::int64_t begin = part * share;
    if (!body(begin, std::min(n, begin + share))) all = false;
  });
  return all;
}

void MetaState::require_sound(const char* function, const Statistics& statistics,
                              const double* meta_step) const {
  if (statistics.n_tasks == 0) return;
  const Round round = round_of(statistics, meta_step);
  const bool sound =
      std::isfinite(round.total_weight.high) && over_parts([&](auto begin, auto end) {
        return kernels().meta_is_sound[index_of(type)](
            call_of(round, begin, end, statistics.sums + begin, n));
      });
  if (!sound)
    refuse(function, "the round", "leave b, g and phi finite", "an overflow",
           "a smaller `meta_step` or sums of tasks that were run from here; nothing was learned");
}

void MetaState::update(const Round& round, std::int64_t begin, std::int64_t end, const double* sums,
                       std::int64_t stride) {
  kernels().meta[index_of(type)](call_of(round, begin, end, sums, stride));
}

void MetaState::finish(const Round& round, const Statistics& statistics) {
  if (parameters.isotropic) {
    const double eta = learning_rate(sum_of(b, n), sum_of(g, n), round.step);
    if (type == Type::kFloat64) std::fill_n(static_cast<double*>(rates), n, eta);
    else std::fill_n(static_cast<float*>(rates), n, static_cast<float>(eta));
  }
  *n_tasks += statistics.n_tasks;
  *n_skipped += statistics.n_skipped;
  *weight_high = round.total_weight.high;
  *weight_low = round.total_weight.low;
}

void MetaState::apply(const char* function, const Statistics& statistics, const double* meta_step) {
  require_sound(function, statistics, meta_step);
  commit(statistics, meta_step);
}

void MetaState::commit(const Statistics& statistics, const double* meta_step) {
  if (statistics.n_tasks == 0) {
    *n_skipped += statistics.n_skipped;
    return;
  }
  const Round round = round_of(statistics, meta_step);
  over_parts([&](auto begin, auto end) {
    update(round, begin, end, statistics.sums + begin, n);
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
  if (tasks.n_tasks > kFewTasks || !surely_stays_sound(meta_step) || !surely_count(tasks)) {
    const std::unique_ptr<double[]> sums(new double[static_cast<std::size_t>(6 * n)]);
    statistics.sums = sums.get();
    add_round(function, tasks, statistics, nullptr);
    return apply_own(function, statistics, meta_step);
  }
  count_tasks(tasks, nullptr, statistics);
  if (statistics.n_tasks == 0) return;
  const Round round = round_of(statistics, meta_step);
  const bool parallel = tasks.n_tasks * n > kParallelFrom;
  for_each_in_runs(divide_up(n, kSmallTile), parallel, [&](std::int64_t tile) {
    constexpr std::int64_t kStride = kSmallTile + kPadding;
    alignas(64) double sums[6 * kStride];
    const std::int64_t begin = tile * kSmallTile, end = std::min(n, begin + kSmallTile);
    reduce_tile(tasks, nullptr, 0, begin, end, kStride, sums);
    merge_tile(sums, kStride, sums, kStride, end - begin, true);  // rounded as every chunk is
    update(round, begin, end, sums, kStride);
  });
  finish(round, statistics);
}

}  // namespace aruba_fast
