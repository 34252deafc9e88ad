// The least loss of every task in hindsight, with a certificate: what regret is measured against.
//
// Without a bound, one minimization. In the ball |theta| <= radius, the multiplier mu of the
// constraint by Newton's method on 1/|u(mu)| - 1/radius inside a bracket, where u(mu) minimizes
// with mu added to the ridge; any point of the ball then has a gap of its own, with no trust in mu.
#pragma once

#include "hindsight-coordinates-inl.h"
#include "hindsight-interior-inl.h"

namespace aruba_fast::ARUBA_ISA {

constexpr double kNan = __builtin_nan("");

class Hindsight {
 public:
  explicit Hindsight(Problem& problem)
      : p_(problem),
        newton_(problem),
        interior_(problem),
        regularization_(problem.call.regularization),
        radius_(problem.call.radius) {}

  // Leaves the minimizer in p.u.
  Minimum minimize() {
    const Minimum free = at(0, 1e-8);
    if (free.exists && !(radius_ > 0 && p_.norm(p_.u) > radius_)) return free;
    return radius_ > 0 ? in_ball(free.exists) : free;
  }

 private:
  static constexpr int kMost = 100;

  Minimum at(double multiplier, double target) {
    p_.ridge = regularization_ + multiplier;
    if (!p_.piecewise()) return newton_.minimize(p_.call.tolerance, target);
    return interior_.minimize(p_.call.tolerance);
  }

  Minimum in_ball(bool free_exists) {
    // |u| <= |gradient at 0| / ridge bounds the multiplier from above.
    double low = 0, high = largest_multiplier();
    double multiplier = free_exists ? refined(0) : high;
    Minimum best = {Newton::kNever, Newton::kNever, true};
    for (int iteration = 0; iteration < kMost && !p_.stopped(); ++iteration) {
      if (!(multiplier > low && multiplier < high))
        multiplier = low > 0 ? aruba_fast::sqrt(low) * aruba_fast::sqrt(high) : high * 0.125;
      if (!free_exists && iteration == 0) fill(p_.n, 0, p_.u);
      // The gap in the ball grows with the gradient, not its square: as exact as rounding allows.
      const Minimum least = at(multiplier, 1e-16);
      const double length = p_.norm(p_.u);
      const Minimum now = inside_ball(length, multiplier, least);
      if (now.gap < best.gap) {
        best = now;
        copy(p_.n, p_.inside, p_.best);
      }
      const double scale = best.objective > 1 ? best.objective : 1;
      if (best.gap <= 1e-3 * p_.call.tolerance * scale) break;
      if (!(high - low > 0x1p-50 * high)) break;
      (length > radius_ ? low : high) = multiplier;
      multiplier = refined(multiplier);
    }
    copy(p_.n, p_.best, p_.u);
    return best;
  }

  double largest_multiplier() {
    p_.ridge = 0;
    if (p_.piecewise()) {
      double sum = 0;  // no slope is steeper than one
      for (std::int64_t i = 0; i < p_.m; ++i)
        sum += p_.w[i] * aruba_fast::sqrt(dot(p_.a + i * p_.rp, p_.a + i * p_.rp, p_.r));
      return sum / radius_;
    }
    fill(p_.n, 0, p_.inside);
    newton_.evaluate(p_.inside);
    newton_.gradient(p_.inside);
    return p_.norm(p_.gradient) / radius_;
  }

  // Newton's next multiplier: d|u| / dmu = -u.H^-1 u / |u|.
  double refined(double multiplier) {
    copy(p_.n, p_.u, p_.right);
    solve(p_.factor, p_.n, p_.stride, p_.right);
    const double length = p_.norm(p_.u), fall = dot(p_.u, p_.right, p_.n);
    return multiplier + length * length / fall * ((length - radius_) / radius_);
  }

  // The point of the ball next to u, to p.inside: objective and gap. A smooth loss is nowhere in
  // the ball below its tangent: the gap is gradient.v + radius |gradient|. With columns of any
  // scale the rounding of the largest one hides behind that whatever else there is: the bound that
  // comes with the multiplier, least - multiplier/2 radius^2, does not suffer from it.
  Minimum inside_ball(double length, double multiplier, const Minimum& least) {
    fill(p_.n, 0, p_.inside);
    axpy(p_.n, length > radius_ ? radius_ / length : 1, p_.u, p_.inside);
    const Minimum now = in_the_ball();
    if (!p_.graded) return now;
    const double at_u = least.objective - 0.5 * multiplier * length * length,
                 gap = least.gap + (now.objective - at_u) +
                       0.5 * multiplier * (radius_ - length) * (radius_ + length);
    return {now.objective, gap > now.gap ? now.gap : gap > 0 ? gap : 0, true};
  }

  // Objective and gap at p.inside.
  Minimum in_the_ball() {
    if (p_.piecewise()) return interior_.certificate(p_.inside, regularization_, radius_);
    p_.ridge = regularization_;
    const double objective = newton_.evaluate(p_.inside);
    newton_.gradient(p_.inside);
    const double gap = dot(p_.gradient, p_.inside, p_.n) + radius_ * p_.norm(p_.gradient);
    return {objective, gap > 0 ? gap : 0, true};
  }

  Problem& p_;
  Newton newton_;
  InteriorPoint interior_;
  const double regularization_, radius_;
};

// One task, start to end; its outputs are nan where its rows are not finite.
template <class T>
void hindsight_of(const HindsightCall& call, std::int64_t task) {
  const std::int64_t n_outputs = call.n_classes > 1 ? call.n_classes : 1,
                     size = n_outputs * call.n_features;
  Problem problem(call, call.stops[task] - call.starts[task]);
  double* theta = call.theta_star + task * size;
  call.no_minimizer[task] = 0;
  if (!problem.read<T>(call.starts[task])) {
    for (std::int64_t j = 0; j < size; ++j) theta[j] = kNan;
    call.loss[task] = call.gap[task] = kNan;
    return;
  }
  Coordinates coordinates(problem);
  coordinates.choose();
  Minimum least = Hindsight(problem).minimize();
  coordinates.expand();
  double loss = Newton(problem).losses(), rounding = coordinates.rounding(loss);
  // Once more for what is left over, whose digits are not hidden behind those of large scores.
  const double most = 1e-3 * call.tolerance * (loss > 1 ? loss : 1);
  if (coordinates.movable() && call.radius == 0 && call.regularization == 0 &&
      !(rounding <= most && !problem.graded)) {
    if (!problem.graded) {
      problem.shifted = true;
      fill(problem.n, 0, problem.u);
      coordinates.expand();
    }
    coordinates.shift();
    least = Hindsight(problem).minimize();
    coordinates.expand();
    loss = Newton(problem).losses();
    rounding = coordinates.rounding(loss);
  }
  call.no_minimizer[task] = !least.exists;
  coordinates.write(theta);
  // The loss of what is returned; what the change of coordinates lost by rounding joins the gap.
  const double penalty = 0.5 * call.regularization * dot(problem.u, problem.u, problem.n),
               lost = loss + penalty - least.objective,
               gap = least.gap + (lost > 0 ? lost : 0) + rounding;
  call.loss[task] = loss;
  call.gap[task] = gap == gap ? gap : __builtin_inf();
}

template <class T>
void hindsight(const HindsightCall& call) {
  while (!__atomic_load_n(call.stop, __ATOMIC_RELAXED)) {
    const std::int64_t task = __atomic_fetch_add(call.next, 1, __ATOMIC_RELAXED);
    if (task >= call.n_tasks) return;
    hindsight_of<T>(call, task);
  }
}

inline std::int64_t hindsight_numbers(std::int64_t n_rows, std::int64_t n_features,
                                      std::int64_t n_classes, Loss /*any*/) {
  const std::int64_t rank = n_rows < n_features ? n_rows : n_features;
  return HindsightMemory(nullptr, n_rows, n_features, n_classes, rank).size;
}

}  // namespace aruba_fast::ARUBA_ISA
