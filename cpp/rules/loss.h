// The losses of a linear model's prediction z: the one list of them.
//
//   squared   (z - y)^2 / 2             z - y
//   absolute  |z - y|                   sign(z - y), 0 at the kink
//   huber     r^2/2 or |r| - 1/2        r clipped to [-1, 1],  r = z - y
//   logistic  log(1 + e^z) - y z        1 / (1 + e^-z) - y      y in {0, 1}
//   hinge     max(0, 1 - y z)           -y where y z < 1        y in {-1, 1}
//   poisson   e^z - y z + y log y - y   e^z - y                 y >= 0, a count
//   softmax   log sum e^z_c - z_y       p_c - [c = y]           y in {0, ..., n_classes - 1}
//
// A loss is a struct: facts, the domain of its labels, its value and its slope dl/dz (the gradient
// is slope * x), and what the least loss of a task in hindsight needs,
//
//   smooth     its curvature d2l/dz2, and how far z is on the side where the loss falls
//   piecewise  its dual: w l(z) = max over low <= a <= high of a (z - y) - quadratic a^2 / 2.
//
// Whatever depends on the loss is made of the list at the end, by switches that the compiler checks
// for a forgotten one.
//
// A Newton step d = -H^-1 (gradient) certifies a smooth loss: the slopes moved along it,
// l'(z) + l''(z) x.d, are feasible for the dual, and the gap between primal and dual is at most
// -gradient.d, the decrement squared, if no probability is moved by more than itself: with
// p' = p (1 + e), KL(p', p) = sum p ((1 + e) log(1 + e) - e) <= sum p e^2.
#pragma once

#include "exp.h"

namespace aruba_fast {

template <class V>
struct LossAndSlope {
  V loss, slope;
};

template <class V>
struct DualBox {
  V low, high, quadratic;
};

// By a linear system, Newton's method, or an interior-point method.
enum class Minimization { kQuadratic, kSmooth, kPiecewise };

struct LossFacts {
  const char* name;
  Minimization minimization;
  // What a label must be, and a remedy; null where every number is one.
  const char *labels = nullptr, *remedy = nullptr;
  bool is_of_distance = false;  // a function of z - y alone
  bool has_kinks = false;
  bool is_flat = true;    // slopes' squares are at most twice the loss, or one where it has kinks
  double surest = 1e300;  // scores up to here are certified by a Newton step that moves them little
  bool may_fall_for_ever = false;  // along a direction, so that there is no minimizer
  bool has_classes = false;        // a score for each class
};

struct AnyNumber {
  ARUBA_RULE static bool is_label(double /*y*/, double /*n_classes*/) { return true; }
};

struct Squared : AnyNumber {
  static constexpr LossFacts kFacts = {
      .name = "squared", .minimization = Minimization::kQuadratic, .is_of_distance = true};
  template <class V>
  ARUBA_RULE static LossAndSlope<V> at(V z, V y) {
    const V r = z - y;
    return {V(Number<V>(0.5)) * r * r, r};
  }
  template <class V>
  ARUBA_RULE static V curvature(V /*slope*/, V /*y*/) {
    return V(Number<V>(1));
  }
};

struct Absolute : AnyNumber {
  static constexpr LossFacts kFacts = {.name = "absolute",
                                       .minimization = Minimization::kPiecewise,
                                       .is_of_distance = true,
                                       .has_kinks = true};
  template <class V>
  ARUBA_RULE static LossAndSlope<V> at(V z, V y) {
    const V r = z - y, zero = V(Number<V>(0)), one = V(Number<V>(1));
    // r - r is zero for a number and else nan: nothing is learned from a label that is infinite.
    return {abs(r), select(r > zero, one, select(r < zero, -one, zero)) + (r - r)};
  }
  template <class V>
  ARUBA_RULE static DualBox<V> dual_box(V /*y*/, V w) {
    return {-w, w, V(Number<V>(0))};
  }
};

struct Huber : AnyNumber {
  static constexpr LossFacts kFacts = {
      .name = "huber", .minimization = Minimization::kPiecewise, .is_of_distance = true};
  template <class V>
  ARUBA_RULE static LossAndSlope<V> at(V z, V y) {
    const V r = z - y, one = V(Number<V>(1)), half = V(Number<V>(0.5));
    const V slope = select(r > one, one, select(r < -one, -one, r)) + (r - r);  // as `Absolute`
    return {select(abs(r) > one, abs(r) - half, half * r * r), slope};
  }
  template <class V>
  ARUBA_RULE static V curvature(V slope, V /*y*/) {
    const V one = V(Number<V>(1));
    return select(abs(slope) < one, one, V(Number<V>(0)));
  }
  template <class V>
  ARUBA_RULE static DualBox<V> dual_box(V /*y*/, V w) {
    return {-w, w, V(Number<V>(1)) / w};
  }
};

struct Logistic {
  static constexpr LossFacts kFacts = {.name = "logistic",
                                       .minimization = Minimization::kSmooth,
                                       .labels = "hold the labels 0 and 1 of the logistic loss",
                                       .remedy = "0 or 1, as y > 0 makes them of -1 and 1",
                                       .may_fall_for_ever = true};
  ARUBA_RULE static bool is_label(double y, double /*n_classes*/) { return y == 0 || y == 1; }
  template <class V>
  ARUBA_RULE static LossAndSlope<V> at(V z, V y) {
    const V zero = V(Number<V>(0)), one = V(Number<V>(1));
    const V e = exp_nonpositive(-abs(z));
    const V larger = one / (one + e);  // the sigmoid of |z|
    const V positive_part = select(z < zero, zero, z);
    return {fma(-y, z, positive_part) + log1p_unit(e), select(z < zero, e * larger, larger) - y};
  }
  template <class V>
  ARUBA_RULE static V curvature(V slope, V y) {
    const V one = V(Number<V>(1)), p = slope + y;
    return p * (one - p);
  }
  ARUBA_RULE static double fallen(double z, double y) { return y > 0 ? z : -z; }
};

struct Hinge {
  static constexpr LossFacts kFacts = {.name = "hinge",
                                       .minimization = Minimization::kPiecewise,
                                       .labels = "hold the labels -1 and 1 of the hinge loss",
                                       .remedy = "-1 or 1, as 2 * y - 1 makes them of 0 and 1",
                                       .has_kinks = true};
  ARUBA_RULE static bool is_label(double y, double /*n_classes*/) { return y == -1 || y == 1; }
  template <class V>
  ARUBA_RULE static LossAndSlope<V> at(V z, V y) {
    const V zero = V(Number<V>(0));
    const V margin = V(Number<V>(1)) - y * z;
    // margin - margin is zero for a finite margin and keeps a nan a nan.
    return {select(margin < zero, zero, margin), select(margin > zero, -y, margin - margin)};
  }
  template <class V>
  ARUBA_RULE static DualBox<V> dual_box(V y, V w) {
    const V zero = V(Number<V>(0));
    return {select(y > zero, -w, zero), select(y > zero, zero, w), zero};
  }
};

// Half the deviance of counts of mean e^z. Beyond kMost, 10^13, it goes on along its tangent, so
// that nothing overflows: still convex, and with a minimum, for no count is as large.
struct Poisson {
  static constexpr int kMost = 30;
  static constexpr LossFacts kFacts = {.name = "poisson",
                                       .minimization = Minimization::kSmooth,
                                       .labels = "hold counts for the poisson loss",
                                       .remedy = "numbers from 0 to 1e13",
                                       .is_flat = false,
                                       .surest = kMost - 0.5,
                                       .may_fall_for_ever = true};
  ARUBA_RULE static bool is_label(double y, double /*n_classes*/) { return y >= 0 && y <= 1e13; }
  template <class V>
  ARUBA_RULE static LossAndSlope<V> at(V z, V y) {
    const V zero = V(Number<V>(0)), one = V(Number<V>(1)), two = V(Number<V>(2));
    const V most = V(Number<V>(kMost)), low = select(z > most, most, z);
    const V e = exp_nonpositive(-abs(low));
    const V mean = select(low > zero, one / e, e), slope = mean - y;
    // y log y is zero at zero, where the logarithm is not asked.
    const V least = y * log_positive(select(y > zero, y, one)) - y;
    const V far = fma(mean, z - low, mean) - y * z + least;
    // y (u - log(1 + u)): near the minimum the sum above has lost its digits.
    const V u = slope / y, near = y * (u - twice_atanh(u / (u + two)));
    const V loss =
        select(z > most, far, select(u > V(Number<V>(-0.5)), select(u < one, near, far), far));
    // Rounding may not make a loss negative; nan stays nan.
    return {select(loss < zero, zero, loss), slope};
  }
  template <class V>
  ARUBA_RULE static V curvature(V slope, V y) {
    return slope + y;
  }
  // Along the way, counts of zero fall and the others stay.
  ARUBA_RULE static double fallen(double z, double y) { return y > 0 ? -abs(z) : -z; }
};

struct Softmax {
  static constexpr LossFacts kFacts = {
      .name = "softmax",
      .minimization = Minimization::kSmooth,
      .labels = "hold class numbers from 0 to n_classes - 1 for the softmax loss",
      .remedy = "a whole number below n_classes, the number of parameters over that of features",
      .may_fall_for_ever = true,
      .has_classes = true};
  ARUBA_RULE static bool is_label(double y, double n_classes) {
    return y >= 0 && y < n_classes && y == static_cast<double>(static_cast<std::int64_t>(y));
  }
};

// ---- the list, and what is made of it --------------------------------------------------------

#define ARUBA_LOSSES(X) X(Squared) X(Absolute) X(Huber) X(Logistic) X(Hinge) X(Poisson) X(Softmax)

#define ARUBA_LOSS_ENUMERATOR(L) k##L,
enum class Loss { ARUBA_LOSSES(ARUBA_LOSS_ENUMERATOR) };

#define ARUBA_LOSS_FACTS(L) L::kFacts,
constexpr LossFacts kLossFacts[] = {ARUBA_LOSSES(ARUBA_LOSS_FACTS)};

constexpr const LossFacts& facts_of(Loss loss) { return kLossFacts[static_cast<int>(loss)]; }

template <class V>
ARUBA_RULE V nan() {
  return V(static_cast<Number<V>>(__builtin_nan("")));
}

// What of the loss L is asked for, and nan where L has no such thing.
template <class L, class V>
ARUBA_RULE LossAndSlope<V> value_of(V z, V y) {
  if constexpr (!L::kFacts.has_classes) return L::at(z, y);
  else return {nan<V>(), nan<V>()};
}
template <class L, class V>
ARUBA_RULE V curvature_of(V slope, V y) {
  if constexpr (!L::kFacts.has_kinks && !L::kFacts.has_classes) return L::curvature(slope, y);
  else return nan<V>();
}
template <class L>
ARUBA_RULE double fallen_of(double z, double y) {
  if constexpr (L::kFacts.may_fall_for_ever && !L::kFacts.has_classes) return L::fallen(z, y);
  else return nan<double>();
}
template <class L, class V>
ARUBA_RULE DualBox<V> dual_box_of(V y, V w) {
  if constexpr (L::kFacts.minimization == Minimization::kPiecewise) return L::dual_box(y, w);
  else return {nan<V>(), nan<V>(), nan<V>()};
}

// Returns ARUBA_ASKED(L) of the L that `loss` is: a switch, always predicted, for the loss is the
// same for a whole run.
#define ARUBA_LOSS_CASE(L) \
  case Loss::k##L:         \
    return ARUBA_ASKED(L);
#define ARUBA_LOSS_SWITCH                         \
  switch (loss) { ARUBA_LOSSES(ARUBA_LOSS_CASE) } \
  __builtin_unreachable()

ARUBA_RULE bool is_label(Loss loss, double y, double n_classes) {
#define ARUBA_ASKED(L) L::is_label(y, n_classes)
  ARUBA_LOSS_SWITCH;
#undef ARUBA_ASKED
}

// Of one prediction: not the softmax.
template <class V>
ARUBA_RULE LossAndSlope<V> one_output_loss(Loss loss, V z, V y) {
#define ARUBA_ASKED(L) value_of<L>(z, y)
  ARUBA_LOSS_SWITCH;
#undef ARUBA_ASKED
}

// Of a loss of one prediction without kinks; the softmax has a matrix.
template <class V>
ARUBA_RULE V curvature(Loss loss, V slope, V y) {
#define ARUBA_ASKED(L) curvature_of<L>(slope, y)
  ARUBA_LOSS_SWITCH;
#undef ARUBA_ASKED
}

// Of a loss that may fall for ever: large where z is far along, negative where it is not on the
// way.
ARUBA_RULE double fallen(Loss loss, double z, double y) {
#define ARUBA_ASKED(L) fallen_of<L>(z, y)
  ARUBA_LOSS_SWITCH;
#undef ARUBA_ASKED
}

// Of a piecewise loss, w > 0.
template <class V>
ARUBA_RULE DualBox<V> dual_box(Loss loss, V y, V w) {
#define ARUBA_ASKED(L) dual_box_of<L>(y, w)
  ARUBA_LOSS_SWITCH;
#undef ARUBA_ASKED
}

#undef ARUBA_LOSS_SWITCH
#undef ARUBA_LOSS_CASE

}  // namespace aruba_fast
