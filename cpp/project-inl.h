// Projection on the ball ||theta||_2 <= radius, in the norm of the step.
//
//   one rate for all      theta <- theta radius / ||theta||
//   eta per coordinate    argmin_u ||u - theta||_{1/eta}:  u_j = theta_j / (1 + lambda eta_j),
//   ||u|| = radius
//
// lambda by Newton's method on 1/||u|| - 1/radius, which is concave in lambda and so approached
// from the left without overshooting.
#pragma once

#include "dot-inl.h"
#include "rules/project.h"

namespace aruba_fast::ARUBA_ISA {

// The rows of one task's parameters: n_outputs rows of n_features, each padded with zeros to
// `stride`.
template <class T>
struct Rows {
  T* data;
  std::int64_t n_outputs, n_features, stride;

  ARUBA_RULE std::int64_t size() const { return n_outputs * stride; }
};

// Sum over the coordinates of term(i), i the position of a register, in the virtual lanes of each
// segment, segment after segment and row after row.
template <class T, class Term>
ARUBA_RULE T sum_over(const Rows<T>& rows, Term term) {
  constexpr int kWidth = Pack<T>::kWidth;
  T total(0);
  for (std::int64_t row = 0; row < rows.n_outputs; ++row) {
    for (std::int64_t begin = 0; begin < rows.n_features; begin += kSegment) {
      Pack<T> lanes[kRegisters<T>];
      for (Pack<T>& each : lanes) each = Pack<T>(T(0));
      const std::int64_t end = begin + kSegment;
      for (std::int64_t j = begin; j < rows.n_features && j < end; j += kWidth) {
        Pack<T>& lane = lanes[j / kWidth % kRegisters<T>];
        lane = lane + term(row * rows.stride + j);
      }
      total = total + fold(fold_registers<kRegisters<T>>(lanes));
    }
  }
  return total;
}

// rates: as theta, or null for one rate.
template <class T>
void project(const Rows<T>& theta, const T* rates, T radius) {
  constexpr int kWidth = Pack<T>::kWidth;
  constexpr int kIterations =
      60;  // a handful suffice; the limit guards against rounding noise at the end
  constexpr T kSlack = T(1) + T(8) / T(typename Format<T>::Bits(1) << Format<T>::kMantissa);
  T unit(1);
  const auto at = [&](std::int64_t i) { return load(theta.data + i) * Pack<T>(unit); };
  const auto norm_sq_of = [&] {
    return sum_over<T>(theta, [&](std::int64_t i) { return at(i) * at(i); });
  };
  T norm_sq = norm_sq_of();
  const bool ordinary = are_squares<T>(radius * radius, norm_sq);
  if (!ordinary) {
    unit = unit_of(radius);
    norm_sq = norm_sq_of();
  }
  const T ball = radius * unit;
  if (!(norm_sq > ball * ball)) return;
  if (!rates) {
    // The direction is all that stays.
    while (!ordinary && !(norm_sq < Format<T>::kInfinity) && unit > Format<T>::kShrink) {
      unit = unit * Format<T>::kShrink;
      norm_sq = norm_sq_of();
    }
    const Pack<T> norm(aruba_fast::sqrt(norm_sq)), scale(radius / aruba_fast::sqrt(norm_sq));
    for (std::int64_t i = 0; i < theta.size(); i += kWidth)
      store(theta.data + i, ordinary ? at(i) * scale : at(i) / norm * Pack<T>(radius));
    return;
  }
  const Pack<T> one(T(1));
  T lambda(0);
  if (!ordinary) {
    const Pack<T> share(T(1) / static_cast<T>(theta.n_outputs * theta.n_features));
    lambda = sum_over<T>(theta, [&](std::int64_t i) {
      return share * least_lambda(at(i), load(rates + i), Pack<T>(ball));
    });
  }
  const auto shrunk = [&](std::int64_t i) {
    return at(i) / fma(Pack<T>(lambda), load(rates + i), one);
  };
  for (int iteration = 0; iteration < kIterations; ++iteration) {
    const T length_sq = sum_over<T>(theta, [&](std::int64_t i) { return shrunk(i) * shrunk(i); });
    const T length = aruba_fast::sqrt(length_sq);
    if (!(length > ball * kSlack)) break;
    const T slope = sum_over<T>(theta, [&](std::int64_t i) {
      const Pack<T> eta = load(rates + i);
      return shrunk(i) * shrunk(i) * (eta / fma(Pack<T>(lambda), eta, one));
    });
    if (!(slope > T(0))) break;  // only coordinates that cannot move are left
    lambda = lambda + length_sq / slope * ((length - ball) / ball);
  }
  unit = T(1);
  lambda = lambda + (lambda - lambda);  // an infinite one has found no point: nan says so
  for (std::int64_t i = 0; i < theta.size(); i += kWidth) store(theta.data + i, shrunk(i));
}

}  // namespace aruba_fast::ARUBA_ISA
