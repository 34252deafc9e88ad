// The first learning rate of a linear model, from the rows of its tasks.
#include "ops_first_rate.h"

#include <algorithm>
#include <limits>

#include "rules/first_rate.h"

namespace aruba_fast {
namespace {

// Sums are over as many rows as have so many numbers, and over those sums.
constexpr std::int64_t kNumbers = std::int64_t{1} << 16;

// What rows tell, in their order.
struct Measures {
  double steepest = 0, bent = 0, distance = 0;
  std::int64_t n_bent = 0, n_ways = 0;

  void add(const BendAndWay& row, double square, double weight, bool has_way) {
    const double bend = row.bend * square * weight;
    if (!is_finite(bend)) return;
    steepest = std::max(steepest, bend);
    bent += bend;
    ++n_bent;
    if (!has_way || !is_finite(row.way)) return;
    distance += row.way;
    ++n_ways;
  }
  void add(const Measures& block) {
    steepest = std::max(steepest, block.steepest);
    bent += block.bent;
    distance += block.distance;
    n_bent += block.n_bent;
    n_ways += block.n_ways;
  }
};

template <class T>
Measures measure(const TaskTable& table, Loss loss, const T* phi) {
  const bool by_score = bends_by_score(loss);
  const std::int64_t n = table.n_features, rows_together = std::max<std::int64_t>(kNumbers / n, 1);
  Measures all, block;
  std::int64_t in_block = 0;
  for (std::int64_t task = 0; task < table.n_tasks; ++task) {
    for (std::int64_t row = table.starts[task]; row < table.stops[task]; ++row) {
      const T* x = static_cast<const T*>(table.x) + row * n;
      double square = 0, score = 0;
      for (std::int64_t j = 0; j < n; ++j) {
        const double value = static_cast<double>(x[j]);
        square += value * value;
        if (by_score) score += value * static_cast<double>(phi[j]);
      }
      const double y = static_cast<double>(static_cast<const T*>(table.y)[row]);
      block.add(bend_and_way(loss, score, y), square,
                table.row_weights ? table.row_weights[row] : 1, by_score);
      if (++in_block < rows_together) continue;
      all.add(block);
      block = {};
      in_block = 0;
    }
  }
  all.add(block);
  return all;
}

template <class T>
std::optional<double> rate_of(const Measures& rows, std::int64_t n_features, bool proximal) {
  const double mean =
      rows.n_ways > 0 && rows.distance > 0 ? rows.distance / static_cast<double>(rows.n_ways) : 1;
  const double most = proximal && rows.n_bent > 0
                          ? rows.bent / static_cast<double>(rows.n_bent * n_features)
                          : rows.steepest;
  if (!(most > 0)) return std::nullopt;
  using Limits = std::numeric_limits<T>;
  return static_cast<double>(
      static_cast<T>(std::clamp<double>(mean / most, Limits::min(), Limits::max())));
}

}  // namespace

std::optional<double> first_rate(const TaskTable& table, Loss loss, const void* phi,
                                 bool proximal) {
  if (table.type == Type::kFloat64)
    return rate_of<double>(measure(table, loss, static_cast<const double*>(phi)), table.n_features,
                           proximal);
  return rate_of<float>(measure(table, loss, static_cast<const float*>(phi)), table.n_features,
                        proximal);
}

}  // namespace aruba_fast
