// Across tasks: the statistics of a round, their merging, and the meta-update.
#include "ops_meta.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include "lane_sum.h"
#include "parallel.h"

namespace aruba_fast {
namespace {

// Columns whose six sums (96 KB) stay in the second-level cache: shorter pieces of a task's row
// cost more than that saves (AVX-512, [1000, 100 000]: 256 29 ms, 512 23, 1024 20.5, 2048 18.6,
// 8192 19.2).
constexpr std::int64_t kTile = 2048;
constexpr std::int64_t kPadding = 8;  // keeps the six rows of sums off the same cache sets
constexpr std::int64_t kWave = 64;    // chunks in flight when there are few columns
constexpr std::int64_t kParallelFrom = std::int64_t(1) << 15;

std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
int index_of(Type type) { return type == Type::kFloat64; }

// One tile of columns of one chunk of tasks.
void reduce_tile(const RoundArrays& round, const std::uint8_t* skip, std::int64_t chunk,
                 std::int64_t tile, std::int64_t stride, double* sums) {
  kernels().reduce[index_of(round.type)](
      {round.theta_hat, round.grad_sq, round.phi, round.weights, skip, chunk * kTaskChunk,
       std::min(round.n_tasks, (chunk + 1) * kTaskChunk), tile * kTile,
       std::min(round.n, (tile + 1) * kTile), round.n, stride, sums});
}

void merge_tile(double* into, std::int64_t into_stride, const double* from,
                std::int64_t from_stride, std::int64_t n) {
  for (int row = 0; row < 6; row += 2)
    kernels().merge({into + row * into_stride, into + (row + 1) * into_stride,
                     from + row * from_stride, from + (row + 1) * from_stride, n});
}

bool all_finite(const double* values, std::int64_t n) {
  double zero = 0;
  for (std::int64_t i = 0; i < n; ++i) zero += values[i] - values[i];
  return zero == 0;
}

// Adds the round to sums, chunk after chunk in every column. False if a sum is not finite.
bool sum_round(const RoundArrays& round, const std::uint8_t* skip, double* sums) {
  const std::int64_t n_tiles = divide_up(round.n, kTile),
                     n_chunks = divide_up(round.n_tasks, kTaskChunk);
  const std::int64_t stride = divide_up(std::min(round.n, kTile), 8) * 8 + kPadding;
  const bool parallel = round.n_tasks * round.n > kParallelFrom;
  const auto columns = [&](std::int64_t tile) { return std::min(round.n - tile * kTile, kTile); };
  if (n_tiles >= 4 * n_threads() || n_chunks == 1) {
    std::atomic<bool> finite{true};
    for_each(n_tiles, parallel, [&](std::int64_t tile) {
      alignas(64) double partial[6 * (kTile + kPadding)];
      for (std::int64_t chunk = 0; chunk < n_chunks; ++chunk) {
        reduce_tile(round, skip, chunk, tile, stride, partial);
        merge_tile(sums + tile * kTile, round.n, partial, stride, columns(tile));
      }
      for (int row = 0; row < 6; ++row)
        if (!all_finite(sums + row * round.n + tile * kTile, columns(tile))) finite = false;
    });
    return finite;
  }
  const std::int64_t wave = std::min(kWave, n_chunks), size = 6 * stride;
  std::vector<double> partials(static_cast<std::size_t>(wave * n_tiles * size));
  for (std::int64_t first = 0; first < n_chunks; first += wave) {
    const std::int64_t n = std::min(wave, n_chunks - first);
    for_each(n * n_tiles, parallel, [&](std::int64_t i) {
      reduce_tile(round, skip, first + i / n_tiles, i % n_tiles, stride,
                  partials.data() + i * size);
    });
    for (std::int64_t i = 0; i < n * n_tiles; ++i)
      merge_tile(sums + i % n_tiles * kTile, round.n, partials.data() + i * size, stride,
                 columns(i % n_tiles));
  }
  return all_finite(sums, 6 * round.n);
}

// A task is finite when all that it would add to the sums is.
template <class T>
bool is_finite(const RoundArrays& round, std::int64_t task) {
  const T *theta_hat = static_cast<const T*>(round.theta_hat) + task * round.n,
          *grad_sq = static_cast<const T*>(round.grad_sq) + task * round.n,
          *phi = static_cast<const T*>(round.phi);
  const double weight = round.weights ? round.weights[task] : 1;
  for (std::int64_t j = 0; j < round.n; ++j) {
    const double theta = theta_hat[j];
    const double sum =
        half_square_distance<double>(theta, phi[j]) + grad_sq[j] + std::fabs(weight * theta);
    if (!std::isfinite(sum)) return false;
  }
  return true;
}

}  // namespace

void add_round(const char* function, const RoundArrays& round, Statistics& into,
               std::uint8_t* skipped) {
  const bool fresh = into.n_tasks + into.n_skipped == 0;  // then the sums are all zero
  const std::vector<double> before(into.sums, into.sums + (fresh ? 0 : 6 * round.n));
  std::vector<std::uint8_t> skip;
  if (!sum_round(round, nullptr, into.sums)) {
    skip.resize(static_cast<std::size_t>(round.n_tasks));
    for_each(divide_up(round.n_tasks, kTaskChunk), round.n_tasks * round.n > kParallelFrom,
             [&](std::int64_t chunk) {
               for (std::int64_t task = chunk * kTaskChunk;
                    task < std::min(round.n_tasks, (chunk + 1) * kTaskChunk); ++task)
                 skip[static_cast<std::size_t>(task)] =
                     !(round.type == Type::kFloat64 ? is_finite<double>(round, task)
                                                    : is_finite<float>(round, task));
             });
    if (fresh) std::fill_n(into.sums, 6 * round.n, 0.0);
    else std::copy(before.begin(), before.end(), into.sums);
    if (!sum_round(round, skip.data(), into.sums))
      throw ValueError(std::string(function) +
                       ": the sums over the tasks must be finite: got an overflow of float64");
  }
  for (std::int64_t first = 0; first < round.n_tasks; first += kTaskChunk) {
    Twofold<double> weight = {0, 0};
    for (std::int64_t task = first; task < std::min(round.n_tasks, first + kTaskChunk); ++task) {
      const bool out = !skip.empty() && skip[static_cast<std::size_t>(task)];
      if (skipped) skipped[task] = out;
      if (!out) add(weight, round.weights ? round.weights[task] : 1.0);
      ++(out ? into.n_skipped : into.n_tasks);
    }
    add(into.weight, weight);
  }
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
  return sum.high + sum.low;
}

}  // namespace

void MetaState::apply(const Statistics& statistics, const double* meta_step) {
  *n_skipped += statistics.n_skipped;
  const std::int64_t k = statistics.n_tasks;
  if (k == 0) return;
  const double eps = parameters.learning_rate * parameters.zeta,
               weight = statistics.weight.high + statistics.weight.low;
  Twofold<double> total_weight = {*weight_high, *weight_low};
  add(total_weight, statistics.weight);
  // The spec counts t from 1: the first task adds 1 / 2^p.
  const Twofold<double> smoothing = lane_sum(k, [this](std::int64_t i) {
    return smoothing_term(static_cast<double>(*n_tasks + 2 + i), parameters.p);
  });
  const double total = total_weight.high + total_weight.low;
  // A rate stays a number of the parameters' type, whatever happened.
  const double largest = type == Type::kFloat64 ? std::numeric_limits<double>::max()
                                                : double{std::numeric_limits<float>::max()};
  const MetaStep<double> step = {power(1 - parameters.decay, k),
                                 1 / (eps * eps),
                                 1 / (parameters.zeta * parameters.zeta),
                                 smoothing.high + smoothing.low,
                                 weight > 0 ? 1 / weight : 0,
                                 weight > 0 ? (meta_step ? *meta_step : weight / total) : 0,
                                 parameters.learning_rate,
                                 std::min(parameters.max_learning_rate, largest)};
  const std::int64_t share = divide_up(divide_up(n, n > kParallelFrom ? n_threads() : 1), 64) * 64,
                     item = size_of(type);
  for_each(divide_up(n, share), n > kParallelFrom, [&](std::int64_t part) {
    const std::int64_t i = part * share;
    kernels().meta[index_of(type)]({b + i, g + i, phi_master + i, rho + i,
                                    static_cast<char*>(phi) + i * item,
                                    static_cast<char*>(rates) + i * item, statistics.sums + i,
                                    std::min(share, n - i), n, step});
  });
  if (parameters.isotropic) {
    const double eta = learning_rate(sum_of(b, n), sum_of(g, n), step);
    if (type == Type::kFloat64) std::fill_n(static_cast<double*>(rates), n, eta);
    else std::fill_n(static_cast<float*>(rates), n, static_cast<float>(eta));
  }
  *n_tasks += k;
  *weight_high = total_weight.high;
  *weight_low = total_weight.low;
}

}  // namespace aruba_fast
