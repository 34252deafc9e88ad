// Across tasks: the sums of a round (reduce-inl.h), the merging of two sums and the meta-update,
// one pass over the coordinates each, compiled once per instruction set.
#pragma once

#include "kernels.h"
#include "reduce-inl.h"
#include "registers-inl.h"

namespace aruba_fast::ARUBA_ISA {

ARUBA_RULE Sum load_sum(const double* high, const double* low) { return {load(high), load(low)}; }
ARUBA_RULE void store_sum(double* high, double* low, const Sum& sum) {
  store(high, sum.high);
  store(low, sum.low);
}

template <class T>
bool reduce(const ReduceCall& call) {
  if (call.shortening) return Reduction<T, Differ::kLengths>(call).run();
  return call.weights ? Reduction<T, Differ::kWeights>(call).run()
                      : Reduction<T, Differ::kNothing>(call).run();
}

inline bool merge(const MergeCall& call) {
  double* const arrays[4] = {call.into_high, call.into_low, const_cast<double*>(call.high),
                             const_cast<double*>(call.low)};
  Doubles zero(0.0);  // nan as soon as a sum is too large
  const Doubles reach(call.reach);
  over_registers<2>(call.n, arrays, [&](std::int64_t, int, double* const* at) {
    Sum sum = call.into_nothing ? Sum{Doubles(0.0), Doubles(0.0)} : load_sum(at[0], at[1]);
    add(sum, load_sum(at[2], at[3]));
    store_sum(at[0], at[1], sum);
    const Doubles high = sum.high * reach;
    zero = zero + ((high - high) + (sum.low - sum.low));
  });
  return is_zero(zero);
}

// Whether all values are, and none has a sign where none may.
inline bool finite(const float* values, std::int64_t n, bool not_negative) {
  constexpr int kWidth = Floats::kWidth;
  Floats::Mask signs{};
  Floats zero[4] = {Floats(0.0F), Floats(0.0F), Floats(0.0F), Floats(0.0F)};
  std::int64_t i = 0;
  for (; i + 4 * kWidth <= n; i += 4 * kWidth) {
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      const Floats value = load(values + i + k * kWidth);
      zero[k] = zero[k] + (value - value);
      signs |= to_bits(value);
    }
  }
  for (; i < n; i += kWidth) {
    const int lanes = n - i < kWidth ? static_cast<int>(n - i) : kWidth;
    const Floats value = load_first_as<float>(values + i, lanes);
    zero[0] = zero[0] + (value - value);
    signs |= to_bits(value);
  }
  Floats::Bits negative = 0;
  for (int lane = 0; lane < kWidth; ++lane) negative |= signs[lane];
  return is_zero((zero[0] + zero[1]) + (zero[2] + zero[3])) && !(not_negative && negative < 0);
}

// body(i, lanes, arrays at i, the updated coordinates, their distance and grad_sq) for every
// register.
template <int kWritten, class Body>
ARUBA_RULE void over_updated(const MetaCall& call, Body body) {
  double* sums = const_cast<double*>(call.sums);
  const std::int64_t row = call.stride;
  double* const arrays[10] = {call.b,         call.g,        call.phi_master, call.rho,
                              sums,           sums + row,    sums + 2 * row,  sums + 3 * row,
                              sums + 4 * row, sums + 5 * row};
  over_registers<kWritten>(call.n, arrays, [&](std::int64_t i, int lanes, double* const* at) {
    const auto total = [at](int k) { return load(at[4 + 2 * k]) + load(at[5 + 2 * k]); };
    const Doubles distance = total(0), grad_sq = total(1), theta_sum = total(2);
    MetaCoordinate<Doubles> coordinate = {load(at[0]), load(at[1]), load(at[2])};
    meta_update(coordinate, distance, grad_sq, theta_sum, call.step);
    body(i, lanes, at, coordinate, distance, grad_sq);
  });
}

template <class T>
void meta(const MetaCall& call) {
  T* phi = static_cast<T*>(call.phi);
  T* rates = static_cast<T*>(call.rates);
  over_updated<4>(
      call, [&](std::int64_t i, int lanes, double* const* at,
                const MetaCoordinate<Doubles>& coordinate, Doubles distance, Doubles grad_sq) {
        store(at[0], coordinate.b);
        store(at[1], coordinate.g);
        store(at[2], coordinate.phi);
        store(at[3], resting_ratio(distance, grad_sq, load_lanes(rates + i, lanes)));
        store_lanes(phi + i, coordinate.phi, lanes);
        if (!call.rates_follow)
          store_lanes(rates + i, learning_rate(coordinate.b, coordinate.g, call.step), lanes);
      });
}

template <class T>
bool meta_is_sound(const MetaCall& call) {
  Doubles zero(0.0);
  over_updated<0>(call, [&](std::int64_t, int, double* const*,
                            const MetaCoordinate<Doubles>& coordinate, Doubles distance,
                            Doubles grad_sq) {
    T there[Doubles::kWidth];
    store_from_doubles(there, coordinate.phi);
    zero = zero +
           soundness(coordinate, distance, grad_sq, load_doubles(there), call.step, call.n_summed);
  });
  return is_zero(zero);
}

}  // namespace aruba_fast::ARUBA_ISA
