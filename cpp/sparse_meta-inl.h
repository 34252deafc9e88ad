// Across tasks with sparse rows: rates where they are needed, and the meta-update of the columns
// that the tasks of a round touch.
#pragma once

#include "sparse_calls.h"
#include "spread-inl.h"

namespace aruba_fast::ARUBA_ISA {

// The rates of n parameters by their b and g; the arrays are padded to whole registers.
template <class T>
ARUBA_RULE void rates_of(const LearnedRates& learned, const double* b, const double* g,
                         std::int64_t n, T* rates) {
  for (std::int64_t i = 0; i < n; i += Doubles::kWidth)
    store_from_doubles(rates + i,
                       rate_by_prior(load(b + i), load(g + i), learned.prior, learned.step));
}

// What a task spreads, in 32 lanes.
template <class T>
ARUBA_RULE double spread_of(const T* theta_hat, const T* phi, const T* grad_sq, const T* rates,
                            std::int64_t n) {
  return segment_sum(n, [&](std::int64_t i, int lanes) {
    const Doubles distance = load_lanes(theta_hat + i, lanes) - load_lanes(phi + i, lanes),
                  rate = load_lanes(rates + i, lanes);
    return aruba_fast::spread(distance * distance, load_lanes(grad_sq + i, lanes), rate,
                              reciprocal_rate(rate));
  });
}

// body(i, at): parameter i of the sums is `at` of the learner's arrays.
template <class Body>
ARUBA_RULE void over_parameters(const SparseSums& sums, Body body) {
  if (sums.n_outputs == 1) {
    for (std::int64_t k = 0; k < sums.n_columns; ++k) body(k, sums.columns[k]);
    return;
  }
  for (std::int64_t k = 0; k < sums.n_columns; ++k)
    for (std::int64_t c = 0; c < sums.n_outputs; ++c)
      body(k * sums.n_outputs + c, c * sums.n_features + sums.columns[k]);
}

template <class T>
void sparse_terms(const SparseTermsCall& call) {
  const T *theta_hat = static_cast<const T*>(call.theta_hat),
          *grad_sq = static_cast<const T*>(call.grad_sq),
          *start = static_cast<const T*>(call.start);
  const SparseSums& into = call.into;
  for (std::int64_t i = 0; i < into.n_columns * into.n_outputs; ++i) {
    const double from = static_cast<double>(start[i]),
                 theta = shortened(static_cast<double>(theta_hat[i]), from, call.by);
    into.distance[i] = half_square_distance(theta, from);
    into.grad_sq[i] = call.by * call.by * static_cast<double>(grad_sq[i]);
    into.moved[i] = call.weight * (theta - from);
  }
}

// By how much a sum over all coordinates has grown, in 32 lanes.
struct Growth {
  static constexpr int kRegistersHere = kLanes / Doubles::kWidth;
  Twofold<Doubles> lanes[kRegistersHere];

  Growth() {
    for (auto& each : lanes) each = {Doubles(0.0), Doubles(0.0)};
  }
  Twofold<double> value() const {
    double high[kLanes], low[kLanes];
    for (int i = 0; i < kRegistersHere; ++i) {
      store(high + i * Doubles::kWidth, lanes[i].high);
      store(low + i * Doubles::kWidth, lanes[i].low);
    }
    Twofold<double> sum = {0, 0};
    for (int lane = 0; lane < kLanes; ++lane) add(sum, Twofold<double>{high[lane], low[lane]});
    return sum;
  }
};

// False where the learner would not stay sound: sparse_undo brings back what was.
template <class T>
bool sparse_update(const SparseUpdateCall& call) {
  const SparseSums& sums = call.sums;
  const std::int64_t n = sums.n_columns * sums.n_outputs;
  constexpr std::int64_t kWidth = Doubles::kWidth;
  auto* const coordinates = static_cast<LearnedCoordinate<T>*>(call.coordinates);
  constexpr std::int64_t kAhead = 16;
  over_parameters(sums, [&](std::int64_t i, std::int64_t at) {
    if (sums.n_outputs == 1 && i + kAhead < sums.n_columns)
      prefetch(coordinates + sums.columns[i + kAhead]);
    const LearnedCoordinate<T>& from = coordinates[at];
    call.old_b[i] = from.b;
    call.old_g[i] = from.g;
    call.old_phi[i] = from.phi_master;
    // A task that does not touch a column leaves phi there.
    call.theta_sum[i] = aruba_fast::fma(call.weight, static_cast<double>(from.phi), sums.moved[i]);
  });
  // What the padding holds has to be harmless.
  for (std::int64_t i = n; i % kLanes != 0; ++i)
    for (double* part :
         {call.old_b, call.old_g, call.old_phi, sums.distance, sums.grad_sq, call.theta_sum})
      part[i] = 0;
  Growth of_b, of_g;
  Doubles zero(0.0);
  for (std::int64_t first = 0; first < n; first += kLanes) {
    for (int r = 0; r < Growth::kRegistersHere; ++r) {
      const std::int64_t i = first + r * kWidth;
      MetaCoordinate<Doubles> coordinate = {load(call.old_b + i), load(call.old_g + i),
                                            load(call.old_phi + i)};
      const Doubles distance = load(sums.distance + i), grad_sq = load(sums.grad_sq + i),
                    old_b = coordinate.b, old_g = coordinate.g;
      meta_update(coordinate, distance, grad_sq, load(call.theta_sum + i), call.step);
      T there[Doubles::kWidth];
      store_from_doubles(there, coordinate.phi);
      zero = zero + soundness(coordinate, distance, grad_sq, load_doubles(there), call.step,
                              call.n_summed);
      store(call.new_b + i, coordinate.b);
      store(call.new_g + i, coordinate.g);
      store(call.theta_sum + i, coordinate.phi);
      add(of_b.lanes[r], coordinate.b - old_b);
      add(of_g.lanes[r], coordinate.g - old_g);
    }
  }
  over_parameters(sums, [&](std::int64_t i, std::int64_t at) {
    coordinates[at] = {call.theta_sum[i], call.new_b[i], call.new_g[i],
                       static_cast<T>(call.theta_sum[i])};
  });
  *call.b_grew = of_b.value();
  *call.g_grew = of_g.value();
  return is_zero(zero);
}

template <class T>
void sparse_undo(const SparseUpdateCall& call) {
  auto* const coordinates = static_cast<LearnedCoordinate<T>*>(call.coordinates);
  over_parameters(call.sums, [&](std::int64_t i, std::int64_t at) {
    coordinates[at] = {call.old_phi[i], call.old_b[i], call.old_g[i],
                       static_cast<T>(call.old_phi[i])};
  });
}

template <class T>
double sparse_spread(const SparseSpreadCall& call) {
  double total = 0, b[kSegment], g[kSegment];
  T rates[kSegment];
  const auto* coordinates = static_cast<const LearnedCoordinate<T>*>(call.rates.coordinates);
  for (std::int64_t first = 0; first < call.n; first += kSegment) {
    const std::int64_t left = call.n - first, n = left < kSegment ? left : kSegment;
    for (std::int64_t i = 0; i < n; ++i) {
      const std::int64_t at = call.listed ? call.listed[first + i] : first + i;
      b[i] = coordinates[at].b;
      g[i] = coordinates[at].g;
    }
    for (std::int64_t i = n; i < kSegment && i % Doubles::kWidth != 0; ++i) b[i] = g[i] = 0;
    if (const T* rate = static_cast<const T*>(call.rates.as_they_are))
      for (std::int64_t i = 0; i < n; ++i)
        rates[i] = rate[call.listed ? call.listed[first + i] : first + i];
    else rates_of(call.rates, b, g, n, rates);
    total += segment_sum(n, [&](std::int64_t i, int lanes) {
      const Doubles rate = load_lanes(rates + i, lanes);
      return aruba_fast::spread(Doubles(2 / call.per_distance) * load_lanes(b + i, lanes),
                                load_lanes(g + i, lanes), rate, reciprocal_rate(rate));
    });
  }
  return total;
}

}  // namespace aruba_fast::ARUBA_ISA
