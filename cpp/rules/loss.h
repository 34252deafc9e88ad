// Losses of a linear model's prediction z and their slope dl/dz; the gradient is slope * x.
//
//   squared   (z - y)^2 / 2             z - y
//   absolute  |z - y|                   sign(z - y), 0 at the kink
//   huber     r^2/2 or |r| - 1/2        r clipped to [-1, 1],  r = z - y
//   logistic  log(1 + e^z) - y z        1 / (1 + e^-z) - y      y in {0, 1}
//   hinge     max(0, 1 - y z)           -y where y z < 1        y in {-1, 1}
//   softmax   log sum e^z_c - z_y       p_c - [c = y]           y in {0, ..., n_classes - 1}
#pragma once

#include "exp.h"

namespace aruba_fast {

enum class Loss { kSquared, kAbsolute, kHuber, kLogistic, kHinge, kSoftmax };

template <class V>
struct LossAndSlope {
  V loss, slope;
};

template <class V>
ARUBA_RULE LossAndSlope<V> squared(V z, V y) {
  const V r = z - y;
  return {V(Number<V>(0.5)) * r * r, r};
}

template <class V>
ARUBA_RULE LossAndSlope<V> absolute(V z, V y) {
  const V r = z - y, zero = V(Number<V>(0)), one = V(Number<V>(1));
  // r - r is zero for a number and else nan: nothing is learned from a label that is infinite.
  return {abs(r), select(r > zero, one, select(r < zero, -one, zero)) + (r - r)};
}

template <class V>
ARUBA_RULE LossAndSlope<V> huber(V z, V y) {
  const V r = z - y, one = V(Number<V>(1)), half = V(Number<V>(0.5));
  const V slope = select(r > one, one, select(r < -one, -one, r)) + (r - r);  // as `absolute`
  return {select(abs(r) > one, abs(r) - half, half * r * r), slope};
}

template <class V>
ARUBA_RULE LossAndSlope<V> logistic(V z, V y) {
  const V zero = V(Number<V>(0)), one = V(Number<V>(1));
  const V e = exp_nonpositive(-abs(z));
  const V larger = one / (one + e);  // the sigmoid of |z|
  const V positive_part = select(z < zero, zero, z);
  return {fma(-y, z, positive_part) + log1p_unit(e), select(z < zero, e * larger, larger) - y};
}

template <class V>
ARUBA_RULE LossAndSlope<V> hinge(V z, V y) {
  const V zero = V(Number<V>(0));
  const V margin = V(Number<V>(1)) - y * z;
  // margin - margin is zero for a finite margin and keeps a nan a nan.
  return {select(margin < zero, zero, margin), select(margin > zero, -y, margin - margin)};
}

// Every loss of one prediction. The loss is the same for a whole run, so the branch is always
// predicted.
template <class V>
ARUBA_RULE LossAndSlope<V> one_output_loss(Loss loss, V z, V y) {
  switch (loss) {
    case Loss::kSquared:
      return squared(z, y);
    case Loss::kAbsolute:
      return absolute(z, y);
    case Loss::kHuber:
      return huber(z, y);
    case Loss::kLogistic:
      return logistic(z, y);
    default:
      return hinge(z, y);
  }
}

// Softmax in three strokes over the classes, whose predictions z_c the caller holds: the maximum,
// the sum of e^(z_c - maximum), and each class's slope; loss = log(sum) - (z_y - maximum).
template <class V>
ARUBA_RULE V softmax_maximum(V maximum, V z) {
  return select(z < maximum, maximum, z);
}

template <class V>
ARUBA_RULE V softmax_term(V z, V maximum) {
  return exp_nonpositive(z - maximum);
}

template <class V>
ARUBA_RULE V softmax_slope(V term, V sum, V y, Number<V> c) {
  const V p = term / sum;
  return select(y == V(c), p - V(Number<V>(1)), p);
}

}  // namespace aruba_fast
