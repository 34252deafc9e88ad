// Softmax in three strokes over the classes, whose predictions z_c the caller holds: the maximum,
// the sum of e^(z_c - maximum), and each class's slope; loss = log(sum) - (z_y - maximum).
#pragma once

#include "exp.h"

namespace aruba_fast {

template <class V>
ARUBA_RULE V softmax_maximum(V maximum, V z) {
  return select(z < maximum, maximum, z);
}

template <class V>
ARUBA_RULE V softmax_term(V z, V maximum) {
  return exp_nonpositive(z - maximum);
}

template <class V>
ARUBA_RULE V softmax_loss(V sum, V chosen, V maximum) {
  return log_positive(sum) - (chosen - maximum);
}

template <class V>
ARUBA_RULE V softmax_slope(V probability, V y, Number<V> c) {
  return select(y == V(c), probability - V(Number<V>(1)), probability);
}

}  // namespace aruba_fast
