// The updates within a task, one coordinate at a time.
//
//   preconditioned OGD   s <- s + grad^2;  theta <- theta - eta grad
//   AdaGrad              s <- s + grad^2;  theta <- theta - eta0 grad / sqrt(s + delta)
//   ARUBA++              eta = sqrt(b / g'), g' <- g' + c grad^2;  theta <- theta - eta grad
//   exponentiated grad.  z <- z - eta grad;  z <- z - log sum e^z;  theta = e^z
//
// Every rule but the last has one form: step(theta, s, grad, rate, damping) moves theta and the
// accumulator s and returns the rate it used.
#pragma once

#include "rule.h"

namespace aruba_fast {

// rate = eta, damping unused.
struct Ogd {
  static constexpr bool kSquaresAreFree = true;
  template <class V>
  ARUBA_RULE static V step(V& theta, V& grad_sq, V grad, V rate, V /*damping*/) {
    grad_sq = fma(grad, grad, grad_sq);
    theta = fma(-rate, grad, theta);
    return rate;
  }
};

// rate = eta0, damping = delta.
struct AdaGrad {
  static constexpr bool kSquaresAreFree = false;
  template <class V>
  ARUBA_RULE static V step(V& theta, V& grad_sq, V grad, V rate, V damping) {
    grad_sq = fma(grad, grad, grad_sq);
    const V eta = rate / sqrt(grad_sq + damping);
    theta = fma(-eta, grad, theta);
    return eta;
  }
};

// ARUBA++ on the caller's own copy g' of g: rate = b, damping = c, and the accumulator is g'.
struct ArubaInPlace {
  template <class V>
  ARUBA_RULE static V step(V& theta, V& g, V grad, V b, V coef) {
    const V eta = sqrt(b) / sqrt(g);
    g = fma(coef, grad * grad, g);
    theta = fma(-eta, grad, theta);
    return eta;
  }
};

// ARUBA++ for a whole task: sqrt(b / (g + c s)) = rate / sqrt(1 + damping s) with rate = sqrt(b /
// g), damping = c / g. The first step has s = 0 and so the meta-learned rate to the bit; b and g
// never leave float64, whatever theta is.
struct ArubaPlusPlus {
  static constexpr bool kSquaresAreFree = false;
  template <class V>
  ARUBA_RULE static V step(V& theta, V& grad_sq, V grad, V rate, V damping) {
    const V eta = rate / sqrt(fma(damping, grad_sq, V(Number<V>(1))));
    grad_sq = fma(grad, grad, grad_sq);
    theta = fma(-eta, grad, theta);
    return eta;
  }
};

// Sums of a task are made of so many terms at a time, added one by one in the task's type (of 256
// terms of float32 a sum is off by at most 4e-6), and the compensated sum of those: a float32 sum
// of ones would stop at 2^24. Squares, which every round of every task adds, are left alone for
// longer.
constexpr std::int64_t kTermsTogether = 256, kSquaresTogether = std::int64_t(1) << 15;

// Whether a task's squares go to the sum of such sums after a round. Rules that take their rates
// from the whole sum keep it whole.
template <class Rule>
ARUBA_RULE bool gathers_squares(std::int64_t n_rounds, std::int64_t batch_size) {
  return Rule::kSquaresAreFree && batch_size <= kTermsTogether && n_rounds % kSquaresTogether == 0;
}

// A log-weight of exponentiated gradient, before the weights are scaled to a sum of one.
struct ExponentiatedGradient {
  template <class V>
  ARUBA_RULE static void step(V& log_weight, V grad, V rate) {
    log_weight = fma(-rate, grad, log_weight);
  }
};

}  // namespace aruba_fast
