// Across tasks: what a task adds to the statistics, sums that do not depend on their grouping, and
// the meta-update.
//
//   task        distance += (theta_hat - phi)^2 / 2,  grad_sq += sum grad^2,
//               theta_sum += w theta_hat                       (compensated float64)
//   round       b <- (1 - decay)^K b + distance / eps^2 + sum_k 1/(t+k+1)^p,
//               g likewise with grad_sq / zeta^2
//               phi <- phi + alpha (theta_sum / W - phi)
//               eta = learning_rate sqrt(b) / sqrt(g), at most the cap
//               rho = sum (theta_hat - phi)^2 / (eta^2 grad_sq)
//
// b and g are kept in units of eps^2 and zeta^2 (eps = learning_rate zeta). Both start at 1 and get
// the same smoothing, so that a coordinate which never saw a gradient keeps b = g to the bit, and
// with it eta = learning_rate exactly. The tight constant counts a distance twice.
//
// Or, where no unit is given, the prior is one average task (w tasks so far, n coordinates of a
// tensor):
//
//   b' = b + sum(b) / (n w),  g' = g + sum(g) / (n w),  eta = e^(-5 s/w) sqrt(b') / sqrt(g')
//
// and no task weighs more than ten average ones: one whose spread, sum_j D_j^2 / eta_j + eta_j G_j,
// is beyond ten times the mean, taken from b and g, is shortened to that. One that is not finite
// cannot be, and yet has to say that it went too far: each of s such tasks counts as ten average
// ones that had gradients and did not move, (1 + 10/w)^s = e^(10 s/w) times g.
#pragma once

#include "exp.h"
#include "sums.h"

namespace aruba_fast {

// What a task may add. A distance is the root of less than a gradient's square may be by 2^30, so
// that from the phi that such a task leaves behind the next ones can still be run; and no sum of as
// many as there are integers overflows, whatever the order.
constexpr double kMostDistance = 0x1p900, kMostGradSq = 0x1p960;
// Weights whose sums and their inverses are numbers; zero is one too.
constexpr double kLeastWeight = 1e-150, kMostWeight = 1e150;

ARUBA_RULE bool is_weight(double weight) {
  return weight == 0 || (weight >= kLeastWeight && weight <= kMostWeight);
}

template <class V>
ARUBA_RULE V half_square_distance(V theta_hat, V phi) {
  const V difference = theta_hat - phi;
  return V(Number<V>(0.5)) * difference * difference;
}

// Whether a task's coordinate is one to learn from, else the task is left out whole, and counted.
// Nan compares as false.
ARUBA_RULE bool counts(double theta_hat, double phi, double grad_sq, double weight) {
  return half_square_distance(theta_hat, phi) <= kMostDistance && grad_sq >= 0 &&
         grad_sq <= kMostGradSq && is_finite(weight * theta_hat);
}

// What a learner was made with.
struct MetaParameters {
  double learning_rate, zeta, p, decay, max_learning_rate;  // infinity: no cap
  bool isotropic;
  bool average_task;  // the prior is one, and learning_rate, zeta and p are of no interest
  bool tight;         // b sums D^2, not half of it

  ARUBA_RULE double per_distance() const { return tight ? 2 : 1; }
};

// What of a round's update is the same for every coordinate.
template <class T>
struct MetaStep {
  T keep;                     // (1 - decay)^K
  T per_eps_sq, per_zeta_sq;  // 1 / eps^2, 1 / zeta^2
  T smoothing;                // sum_k 1/(t+k+1)^p
  T least;                    // of b and g
  T per_weight, alpha;        // 1 / W, step of the initialization
  T learning_rate, cap;       // eps / zeta, upper limit of eta
};

template <class V>
struct MetaCoordinate {
  V b, g, phi;
};

template <class V, class T>
ARUBA_RULE void meta_update(MetaCoordinate<V>& at, V distance, V grad_sq, V theta_sum,
                            const MetaStep<T>& step) {
  // What is forgotten for long must not become zero: b and g of a coordinate without a gradient
  // are the same number, and their quotient one.
  const V least = V(step.least);
  const auto at_least = [&](V x) { return select(x < least, least, x); };
  at.b = at_least(fma(V(step.keep), at.b, fma(distance, V(step.per_eps_sq), V(step.smoothing))));
  at.g = at_least(fma(V(step.keep), at.g, fma(grad_sq, V(step.per_zeta_sq), V(step.smoothing))));
  at.phi = fma(V(step.alpha), fma(theta_sum, V(step.per_weight), -at.phi), at.phi);
}

// Zero where an update has left a state to go on from, else nan. b and g have to be numbers in the
// units of eps^2 and zeta^2 and outside them, and so has their sum over n coordinates. `rounded` is
// phi in the parameters' type.
template <class V, class T>
ARUBA_RULE V soundness(const MetaCoordinate<V>& at, V distance, V grad_sq, V rounded,
                       const MetaStep<T>& step, T n) {
  const V b = at.b * V(n), g = at.g * V(n);
  const V outside_b = b / V(step.per_eps_sq), outside_g = g / V(step.per_zeta_sq);
  const V sums = select(distance < V(T(0)), V(Format<T>::kInfinity), distance) +
                 select(grad_sq < V(T(0)), V(Format<T>::kInfinity), grad_sq);
  return ((b - b) + (g - g)) + ((outside_b - outside_b) + (outside_g - outside_g)) +
         ((sums - sums) + (rounded - rounded));
}

// sqrt(b) / sqrt(g), not sqrt(b / g): the quotient may leave the range that its root is in.
template <class V, class T>
ARUBA_RULE V learning_rate(V b, V g, const MetaStep<T>& step) {
  const V eta = V(step.learning_rate) * (sqrt(b) / sqrt(g));
  return select(eta > V(step.cap), V(step.cap), eta);
}

// The rate is at rest where rho = 2, grows where rho is larger; nan without a gradient.
template <class V>
ARUBA_RULE V resting_ratio(V distance, V grad_sq, V eta) {
  return (distance + distance) / (eta * eta * grad_sq);
}

// base^exponent by squaring.
ARUBA_RULE double power(double base, std::int64_t exponent) {
  double result = 1;
  for (; exponent > 0; exponent /= 2, base *= base)
    if (exponent % 2) result *= base;
  return result;
}

// ---- the prior of one average task, and the task that weighs too much ----

constexpr double kMostAverageTasks = 10;     // that one may weigh; 5 and 30 learn the same
constexpr double kLeastRestraint = 0x1p-20;  // rows that are no numbers are not mended by rates
// phi remembers as if every task had weight t^9: an average that forgets its first tenths.
constexpr double kRecent = 9;

// w: the tasks that the sums still hold.
ARUBA_RULE double tasks_held(std::int64_t n_tasks, double decay) {
  const double kept = 1 - decay;
  if (kept == 1) return static_cast<double>(n_tasks);
  const double held = (1 - power(kept, n_tasks)) / decay;
  return held < 1 ? 1 : held;
}

// What b and g of n coordinates sum to. Sums that hold nothing have no rate to tell.
struct SumsOfTensor {
  double b, g;
  std::int64_t n;

  ARUBA_RULE bool is_known() const { return b > 0 && g > 0; }
};

// What makes the rates of a tensor beside its own b and g, which count `own` times.
struct Prior {
  double own, b, g;
};

ARUBA_RULE Prior prior_of(const SumsOfTensor& tensor, const SumsOfTensor& all, double held,
                          bool isotropic) {
  // By value: a device would keep what is referred to in memory.
  const bool own = tensor.is_known();
  const double b = own ? tensor.b : all.b, g = own ? tensor.g : all.g;
  if (isotropic) return {0, b, g};
  const double per = 1 / (static_cast<double>(own ? tensor.n : all.n) * held);
  return {1, b * per, g * per};
}

template <class V, class T>
ARUBA_RULE V rate_by_prior(V b, V g, const Prior& prior, const MetaStep<T>& step) {
  const V own = V(T(prior.own));
  return learning_rate(own * b + V(T(prior.b)), own * g + V(T(prior.g)), step);
}

// A task's share of what it spreads, in the metric of the rates; nan for a square that is none.
// Where nothing moves, only the gradient counts.
template <class V>
ARUBA_RULE V spread(V distance_sq, V grad_sq, V rate, V per_rate) {
  const V zero = V(Number<V>(0));
  const V both = fma(distance_sq, per_rate, rate * grad_sq);
  return select(grad_sq < zero, V(static_cast<Number<V>>(__builtin_nan(""))), both);
}

template <class V>
ARUBA_RULE V reciprocal_rate(V rate) {
  using T = Number<V>;
  return select(rate < V(Format<T>::kSmallestNormal), V(T(0)), V(T(1)) / rate);
}

// The most that a task may spread, by the spread of all before: without any, what it likes.
ARUBA_RULE double spread_limit(double of_all, double held) {
  const double limit = kMostAverageTasks * of_all / held;
  return limit > 0 && is_finite(limit) ? limit : __builtin_inf();
}

// What all rates are multiplied by after so many tasks that count and that were left out: a number
// of the state, so that it is forgotten as tasks count again.
ARUBA_RULE double restraint(std::int64_t n_tasks, std::int64_t n_skipped) {
  if (n_skipped == 0 || n_tasks == 0) return 1;
  const double share = static_cast<double>(n_skipped) / static_cast<double>(n_tasks),
               found = exp_nonpositive(-kMostAverageTasks / 2 * share);
  return found < kLeastRestraint ? kLeastRestraint : found;
}

// By what a task is shortened; nan: it is left out.
ARUBA_RULE double shortening(double spread, double limit) {
  if (!is_finite(spread)) return __builtin_nan("");
  return spread > limit ? sqrt(limit / spread) : 1;
}

template <class V>
ARUBA_RULE V shortened(V theta_hat, V phi, V by) {
  return select(by == V(Number<V>(1)), theta_hat, fma(by, theta_hat - phi, phi));
}

// 1 / t^p. The default p = 1 is correctly rounded; other exponents go through the project's own exp
// and log.
ARUBA_RULE double smoothing_term(double t, double p) {
  return p == 1.0 ? 1.0 / t : exp_nonpositive(-p * log_positive(t));
}

// What the i-th task of a round adds to b and g of a learner that has seen t tasks. The spec counts
// from 1, and the first task adds 1 / 2^p.
ARUBA_RULE double smoothing_of_task(std::int64_t t, std::int64_t i, double p) {
  return smoothing_term(static_cast<double>(t + 2 + i), p);
}

// A round but for its coordinates.
struct RoundTotals {
  std::int64_t n_tasks;
  Twofold<double> weight;
  double smoothing;  // the sum of its tasks' smoothing_of_task
};

struct PreparedRound {
  MetaStep<double> step;
  Twofold<double> weight;  // of all tasks, these included; infinite: nothing can be learned
};

// A step of the initialization that somebody chose, else the running mean.
struct ChosenStep {
  bool is_chosen;
  double step;
};

// `weight`: of the tasks before. `cap`: limit of eta.
ARUBA_RULE PreparedRound prepare(const MetaParameters& parameters, double cap,
                                 Twofold<double> weight, const RoundTotals& round,
                                 ChosenStep chosen) {
  const bool plain = parameters.average_task;
  const double zeta = plain ? 1 : parameters.zeta,
               eps = plain ? 1 : parameters.learning_rate * parameters.zeta,
               of_round = round.weight.value();
  add(weight, round.weight);
  double mean_step = chosen.step;
  if (!chosen.is_chosen) {
    const double recent = plain ? kRecent : 0,
                 per_task = of_round / static_cast<double>(round.n_tasks);
    const double mean = (1 + recent) * of_round / (weight.value() + recent * per_task);
    mean_step = mean > 1 ? 1 : mean;
  }
  return {.step = {.keep = power(1 - parameters.decay, round.n_tasks),
                   .per_eps_sq = parameters.per_distance() / (eps * eps),
                   .per_zeta_sq = 1 / (zeta * zeta),
                   .smoothing = plain ? 0 : round.smoothing,
                   .least = plain ? 0 : Format<double>::kSmallestNormal,
                   .per_weight = of_round > 0 ? 1 / of_round : 0,
                   .alpha = of_round > 0 ? mean_step : 0,
                   .learning_rate = plain ? 1 : parameters.learning_rate,
                   .cap = cap},
          .weight = weight};
}

}  // namespace aruba_fast
