// What the least loss of a task in hindsight needs to know of a loss: its curvature, or its dual.
//
//   smooth     d2l/dz2:  squared 1,  logistic p (1 - p)
//   piecewise  w l(z) = max over low <= a <= high of  a (z - y) - quadratic a^2 / 2
//                absolute  [-w, w]                quadratic 0
//                huber     [-w, w]                quadratic 1 / w
//                hinge     a between 0 and -w y   quadratic 0          y in {-1, 1}
//
// A Newton step d = -H^-1 (gradient) certifies a smooth loss: the slopes moved along it,
// l'(z) + l''(z) x.d, are feasible for the dual, and the gap between primal and dual is at most
// -gradient.d, the decrement squared, if no probability is moved by more than itself: with
// p' = p (1 + e), KL(p', p) = sum p ((1 + e) log(1 + e) - e) <= sum p e^2.
#pragma once

#include "loss.h"

namespace aruba_fast {

constexpr bool is_piecewise(Loss loss) {
  return loss == Loss::kAbsolute || loss == Loss::kHinge || loss == Loss::kHuber;
}
constexpr bool is_classifier(Loss loss) {
  return loss == Loss::kLogistic || loss == Loss::kSoftmax;
}

// Of the squared and the logistic loss; the softmax has a matrix.
template <class V>
ARUBA_RULE V curvature(Loss loss, V slope, V y) {
  const V one = V(Number<V>(1)), p = slope + y;
  return loss == Loss::kLogistic ? p * (one - p) : one;
}

template <class V>
struct DualBox {
  V low, high, quadratic;
};

// w > 0.
template <class V>
ARUBA_RULE DualBox<V> dual_box(Loss loss, V y, V w) {
  const V zero = V(Number<V>(0));
  if (loss == Loss::kHinge) return {select(y > zero, -w, zero), select(y > zero, zero, w), zero};
  return {-w, w, loss == Loss::kHuber ? V(Number<V>(1)) / w : zero};
}

}  // namespace aruba_fast
