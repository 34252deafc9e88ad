// Across tasks: the statistics of a round and their merging.
#include "ops_statistics.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <vector>

#include "inexact.h"
#include "kernels.h"
#include "parallel.h"

namespace aruba_fast {
namespace {

// With few tasks the sums are most of what is moved, and stay in the first-level cache (24 KB; 1024
// and 256 columns take the same time).
constexpr std::int64_t kFewTasks = 16, kSmallTile = 512;
constexpr std::int64_t kPadding = 8;  // keeps the six rows of sums off the same cache sets
constexpr std::int64_t kWave = 64;    // chunks in flight when there are few columns
constexpr std::int64_t kPartials =
    512;  // tiles of chunks in flight, 50 MB, for however many threads

std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// Which tasks a sum leaves out, and by what it shortens the others; null: none.
struct Changes {
  const std::uint8_t* skip;
  const double* shortening;
};

// Sums one chunk of tasks. False if a grad_sq may be negative.
bool reduce_chunk(const RoundArrays& round, const Changes& changes, std::int64_t chunk,
                  const SumsOfColumns& into) {
  static const bool flag_tells = InexactFlag::tells();
  return kernels().reduce[round.type == Type::kFloat64](
      {.theta_hat = round.theta_hat,
       .grad_sq = round.grad_sq,
       .phi = round.phi,
       .weights = round.weights,
       .skip = changes.skip,
       .shortening = changes.shortening,
       .first = chunk * kTaskChunk,
       .last = std::min(round.n_tasks, (chunk + 1) * kTaskChunk),
       .begin = into.begin,
       .end = into.end,
       .n = round.n,
       .stride = into.stride,
       .sums = into.sums,
       .columns_follow = round.n_tasks <= kFewTasks,
       .flag_tells = flag_tells});
}

// What the sums to merge into hold so far, and what is asked of the merged ones.
enum class Before { kSums, kNothing };
enum class Ask { kFinite, kOfTasksThatCount };

// As many columns as `from` has. False if a sum is not what is asked.
bool merge_columns(double* into, std::int64_t stride, const SumsOfColumns& from, Before before,
                   Ask ask) {
  // Infinite from kMostDistance on, from kMostGradSq on, from infinity on.
  constexpr double kReach[] = {0x1p1023 / kMostDistance * 2, 0x1p1023 / kMostGradSq * 2, 1};
  bool fine = true;
  for (int row = 0; row < 6; row += 2)
    fine &= kernels().merge({.into_high = into + row * stride,
                             .into_low = into + (row + 1) * stride,
                             .high = from.sums + row * from.stride,
                             .low = from.sums + (row + 1) * from.stride,
                             .n = from.end - from.begin,
                             .into_nothing = before == Before::kNothing,
                             .reach = ask == Ask::kOfTasksThatCount ? kReach[row / 2] : 1});
  return fine;
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
// is not finite or, unless some are left out, a task may not count.
bool sum_round(const RoundArrays& round, const Changes& changes, bool start, double* sums) {
  const std::int64_t width = round.n_tasks > kFewTasks ? kSumTile : kSmallTile,
                     n_tiles = divide_up(round.n, width),
                     n_chunks = std::max(divide_up(round.n_tasks, kTaskChunk), std::int64_t(1)),
                     stride = divide_up(std::min(round.n, width), 8) * 8 + kPadding;
  const bool parallel = round.n_tasks * round.n > kSharedFrom;
  std::atomic<bool> finite{true};
  const auto columns = [&](std::int64_t tile, double* partial) {
    return SumsOfColumns{tile * width, std::min(round.n, (tile + 1) * width), stride, partial};
  };
  const auto reduce = [&](std::int64_t chunk, const SumsOfColumns& partial) {
    if (!reduce_chunk(round, changes, chunk, partial) && !changes.skip) finite = false;
  };
  const auto merge = [&](std::int64_t chunk, const SumsOfColumns& partial) {
    if (!merge_columns(sums + partial.begin, round.n, partial,
                       start && chunk == 0 ? Before::kNothing : Before::kSums,
                       changes.skip ? Ask::kFinite : Ask::kOfTasksThatCount))
      finite = false;
  };
  if (n_tiles >= std::min<std::int64_t>(4 * n_threads(), kPartials) || n_chunks == 1) {
    (width == kSumTile ? for_each : for_each_in_runs)(n_tiles, parallel, [&](std::int64_t tile) {
      alignas(64) double partial[6 * (kSumTile + kPadding)];
      for (std::int64_t chunk = 0; chunk < n_chunks; ++chunk) {
        reduce(chunk, columns(tile, partial));
        merge(chunk, columns(tile, partial));
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
      reduce(first + i / n_tiles, columns(i % n_tiles, partials.get() + i * size));
    });
    for (std::int64_t i = 0; i < n * n_tiles; ++i)
      merge(first + i / n_tiles, columns(i % n_tiles, partials.get() + i * size));
  }
  return finite;
}

template <class T>
bool task_counts(const RoundArrays& round, std::int64_t task) {
  const T *theta_hat = static_cast<const T*>(round.theta_hat) + task * round.n,
          *grad_sq = static_cast<const T*>(round.grad_sq) + task * round.n,
          *phi = static_cast<const T*>(round.phi);
  const double weight = round.weights ? round.weights[task] : 1;
  for (std::int64_t j = 0; j < round.n; ++j)
    if (!counts(theta_hat[j], phi[j], grad_sq[j], weight)) return false;
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

Shortenings shortenings(const RoundArrays& round) {
  if (!round.is_limited()) return {};
  Shortenings by =
      round.spreads ? Shortenings(round.spreads, round.spreads + round.n_tasks) : spreads_of(round);
  bool as_they_are = true;
  for (double& each : by) {
    each = shortening(each, *round.limit);
    as_they_are = as_they_are && each == 1;
  }
  return as_they_are ? Shortenings() : by;
}

// Whether every task surely counts: float32 is far from float64's limits.
bool surely_count(const RoundArrays& round) {
  if (round.type != Type::kFloat32) return false;
  const std::int64_t n_tiles = divide_up(round.n, kSumTile);
  std::atomic<bool> finite{true};
  for_each(round.n_tasks * n_tiles, round.n_tasks * round.n > kSharedFrom, [&](std::int64_t i) {
    const std::int64_t begin = i % n_tiles * kSumTile, at = i / n_tiles * round.n + begin,
                       n = std::min(round.n - begin, kSumTile);
    for (const void* array : {round.theta_hat, round.grad_sq})
      if (!kernels().finite(static_cast<const float*>(array) + at, n, array == round.grad_sq))
        finite = false;
  });
  return finite;
}

}  // namespace

std::vector<double> spreads_of(const RoundArrays& round) {
  const std::int64_t n_segments = divide_up(round.n, std::int64_t{kSegment}),
                     n_chunks = divide_up(round.n_tasks, kTaskChunk);
  std::vector<double> of_segments(static_cast<std::size_t>(n_segments * round.n_tasks)),
      spreads(static_cast<std::size_t>(round.n_tasks));
  // To rows of n_tasks, a segment of a chunk of tasks at a time.
  for_each(n_segments * n_chunks, round.n_tasks * round.n > kSharedFrom, [&](std::int64_t i) {
    const std::int64_t segment = i % n_segments, first = i / n_segments * kTaskChunk,
                       last = std::min(round.n_tasks, first + kTaskChunk);
    kernels().spread[round.type == Type::kFloat64](
        {.theta_hat = round.theta_hat,
         .grad_sq = round.grad_sq,
         .phi = round.phi,
         .rates = round.rates,
         .first = first,
         .last = last,
         .begin = segment * kSegment,
         .end = std::min(round.n, (segment + 1) * kSegment),
         .n = round.n,
         .spreads = of_segments.data() + segment * round.n_tasks + first});
  });
  for (std::size_t task = 0; task < spreads.size(); ++task)
    spreads[task] = warp_sum(&of_segments[task], n_segments, round.n_tasks);
  return spreads;
}

void add_round(const char* function, const RoundArrays& round, Statistics& into,
               std::uint8_t* skipped) {
  const bool start = into.n_tasks + into.n_skipped == 0;
  const std::vector<double> before(into.sums, into.sums + (start ? 0 : 6 * round.n));
  std::vector<std::uint8_t> skip;
  const Shortenings by = shortenings(round);
  Changes changes = {nullptr, by.empty() ? nullptr : by.data()};
  if (!sum_round(round, changes, start, into.sums)) {
    skip.resize(static_cast<std::size_t>(round.n_tasks));
    for_each(divide_up(round.n_tasks, kTaskChunk), round.n_tasks * round.n > kSharedFrom,
             [&](std::int64_t chunk) {
               for (std::int64_t task = chunk * kTaskChunk;
                    task < std::min(round.n_tasks, (chunk + 1) * kTaskChunk); ++task)
                 skip[static_cast<std::size_t>(task)] =
                     (changes.shortening && !is_finite(changes.shortening[task])) ||
                     !(round.type == Type::kFloat64 ? task_counts<double>(round, task)
                                                    : task_counts<float>(round, task));
             });
    changes.skip = skip.data();
    std::copy(before.begin(), before.end(), into.sums);
    if (!sum_round(round, changes, start, into.sums)) {
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
  merge_columns(into.sums, n, {0, n, n, other.sums}, Before::kSums, Ask::kFinite);
  add(into.weight, other.weight);
  into.n_tasks += other.n_tasks;
  into.n_skipped += other.n_skipped;
}

std::optional<Shortenings> count_few(const RoundArrays& round, Statistics& into) {
  const double* weights = round.weights;
  if (round.n_tasks > kFewTasks ||
      (weights && !std::all_of(weights, weights + round.n_tasks, is_weight)))
    return std::nullopt;
  Shortenings by = shortenings(round);
  // Numbers alone have a spread that is one.
  const bool all_count = round.type == Type::kFloat32 && round.is_limited()
                             ? std::all_of(by.begin(), by.end(), is_finite)
                             : surely_count(round);
  if (!all_count) return std::nullopt;
  count_tasks(round, nullptr, into);
  return by;
}

void sum_columns(const RoundArrays& round, const Shortenings& by, const SumsOfColumns& into) {
  reduce_chunk(round, {nullptr, by.empty() ? nullptr : by.data()}, 0, into);
  // Rounded as every chunk is.
  merge_columns(into.sums, into.stride, into, Before::kNothing, Ask::kFinite);
}

void sum_few(const RoundArrays& round, const Shortenings& by,
             const std::function<void(const SumsOfColumns&)>& body) {
  const bool parallel = round.n_tasks * round.n > kSharedFrom;
  for_each_in_runs(divide_up(round.n, kSmallTile), parallel, [&](std::int64_t tile) {
    constexpr std::int64_t kStride = kSmallTile + kPadding;
    alignas(64) double sums[6 * kStride];
    const std::int64_t begin = tile * kSmallTile;
    const SumsOfColumns columns = {begin, std::min(round.n, begin + kSmallTile), kStride, sums};
    sum_columns(round, by, columns);
    body(columns);
  });
}

void sum_elsewhere(const char* function, const RoundArrays& round, Statistics& counts,
                   const std::function<void(const SumsOfColumns&)>& body) {
  counts = {nullptr};
  if (const auto by = count_few(round, counts)) return sum_few(round, *by, body);
  const std::unique_ptr<double[]> sums(new double[static_cast<std::size_t>(6 * round.n)]);
  counts.sums = sums.get();
  add_round(function, round, counts, nullptr);
  counts.sums = nullptr;
  for_each_in_runs(divide_up(round.n, kSumTile), round.n > kSharedFrom, [&](std::int64_t tile) {
    const std::int64_t begin = tile * kSumTile;
    body({begin, std::min(round.n, begin + kSumTile), round.n, sums.get() + begin});
  });
}

}  // namespace aruba_fast
