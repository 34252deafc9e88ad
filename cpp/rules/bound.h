// Upper bounds on a task's regret as functions of the initialization phi and the rate eta: each
// coordinate's share of U and its derivatives.
//
//   preconditioned   a^2 / (2 eta) + c eta s            a = theta* - phi, s = sum grad^2
//                    c = 1/2 tight, 1 in the blog's form; with one eta for all it is OGD's
//   EG               theta* log(theta* / phi) / eta + eta s / (2 n)   s = sum |grad|_inf^2
//   AdaGrad          D^2 r / (2 eta) + eta (r - sqrt(delta))          r = sqrt(s + delta)
//   ARUBA++          D^2 r / (2 eta) + eta s / 2                      r = sqrt(1 + s c / g)
//
// eta and delta, or c / g, are the rule's parameters: `rate` and `second`.
//
// The last two have rates that fall, so that every |theta_i - theta*| counts and not the first one
// alone: D is given, or |a| + eta k with the farthest that m steps can carry, by Cauchy-Schwarz:
// k = sqrt(m log(1 + s / delta)) for AdaGrad and k = sqrt(m s) for ARUBA++.
//
// Sources: Zinkevich 2003; Duchi, Hazan, Singer 2011; Khodak, Balcan, Talwalkar 2019. ARUBA++ and k
// are derived in docs/theory.md.
#pragma once

#include "exp.h"
#include "step.h"

namespace aruba_fast {

// One coordinate of one task.
template <class V>
struct BoundAt {
  V theta_star, phi, grad_sq, rate, second, n_rounds;
};

// The same for all: the weight c of the gradients, 1 / n, and D or a negative number.
template <class T>
struct BoundForm {
  T gradient_weight, per_coordinate, diameter;
};

template <class V>
struct BoundValue {
  V value, d_phi, d_rate;
};

struct PreconditionedBound {
  using Rule = Ogd;
  template <class V>
  ARUBA_RULE static BoundValue<V> at(const BoundAt<V>& x, const BoundForm<Number<V>>& form) {
    const V zero = V(Number<V>(0)), half = V(Number<V>(0.5)), c = V(form.gradient_weight);
    const V a = x.phi - x.theta_star;
    // A coordinate that may not move and need not costs nothing.
    const V pull = select(a == zero, zero, a / x.rate), slope = half * pull * pull;
    return {half * a * pull + c * x.rate * x.grad_sq, pull, c * x.grad_sq - slope};
  }
};

struct EgBound {
  using Rule = ExponentiatedGradient;
  template <class V>
  ARUBA_RULE static BoundValue<V> at(const BoundAt<V>& x, const BoundForm<Number<V>>& form) {
    const V zero = V(Number<V>(0)), one = V(Number<V>(1)), half = V(Number<V>(0.5));
    const auto some = x.theta_star > zero;
    const V ratio = select(some, x.theta_star / x.phi, one);
    const V divergence =
        x.theta_star * log_quotient(select(some, x.theta_star, one), select(some, x.phi, one));
    const V share = half * V(form.per_coordinate) * x.grad_sq;
    return {divergence / x.rate + x.rate * share, select(some, -ratio / x.rate, zero),
            share - divergence / (x.rate * x.rate)};
  }
};

template <class V>
ARUBA_RULE BoundValue<V> falling_rate_bound(const BoundAt<V>& x, Number<V> diameter, V r, V reach,
                                            V noise) {
  const V zero = V(Number<V>(0)), half = V(Number<V>(0.5)), one = V(Number<V>(1));
  const V a = x.phi - x.theta_star, sign = select(a < zero, -one, one);
  const bool given = !(diameter < 0);
  const V k = given ? zero : reach;
  const V far = given ? V(diameter) : fma(x.rate, k, abs(a));
  const V pull = far * r / x.rate;
  return {fma(half * far, pull, x.rate * noise), given ? zero : sign * pull,
          noise + pull * (k - half * far / x.rate)};
}

struct AdaGradBound {
  using Rule = AdaGrad;
  template <class V>
  ARUBA_RULE static BoundValue<V> at(const BoundAt<V>& x, const BoundForm<Number<V>>& form) {
    const V one = V(Number<V>(1));
    const V r = sqrt(x.grad_sq + x.second);
    const V ratio = x.grad_sq / x.second;
    // Where the quotient is not a number, one more or less makes no difference.
    const V log = select(ratio < V(Format<Number<V>>::kInfinity), log_positive(one + ratio),
                         log_quotient(x.grad_sq, x.second));
    const V reach = sqrt(x.n_rounds * log);
    return falling_rate_bound(x, form.diameter, r, reach, r - sqrt(x.second));
  }
};

struct ArubaBound {
  using Rule = ArubaPlusPlus;
  template <class V>
  ARUBA_RULE static BoundValue<V> at(const BoundAt<V>& x, const BoundForm<Number<V>>& form) {
    const V one = V(Number<V>(1)), half = V(Number<V>(0.5));
    return falling_rate_bound(x, form.diameter, sqrt(fma(x.second, x.grad_sq, one)),
                              sqrt(x.n_rounds * x.grad_sq), half * x.grad_sq);
  }
};

#define ARUBA_BOUNDS(X) X(PreconditionedBound) X(EgBound) X(AdaGradBound) X(ArubaBound)
#define ARUBA_BOUND_NAME(Bound) Bound::Rule::kName,
enum class BoundRule { ARUBA_BOUNDS(ARUBA_ENUMERATOR) };
constexpr int kBoundRules = 0 ARUBA_BOUNDS(ARUBA_ONE_MORE);
inline constexpr const char* kBoundNames[] = {ARUBA_BOUNDS(ARUBA_BOUND_NAME)};

}  // namespace aruba_fast
