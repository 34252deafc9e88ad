// One step of gradient descent on an array, fused with what ARUBA keeps of it.
#pragma once

#include <span>

#include "export.h"

namespace aruba_fast {

/// One pass over the arrays: grad_sq += grad^2, theta -= learning_rate * grad.
///
/// For models that bring their own gradients: step each of their arrays, and hand where a task
/// ended and its `grad_sq` to `MetaLearner::update`.
///
/// Args:
///   theta: Parameters, [n]; changed.
///   grad: Gradient of the loss at theta, [n], in units of loss over theta.
///   learning_rate: A number >= 0, or one for each coordinate, [n].
///   grad_sq: Sum of squared gradients so far, [n]; changed. Empty where nobody wants it.
///
/// Throws ValueError where sizes differ, the rate is no number of the arrays' type, or an array
/// that is changed overlaps another one; nothing is changed then.
///
/// Example:
///   std::vector<float> theta = {1, 1}, grad_sq = {0, 0};
///   const std::vector<float> grad = {2, -4}, rates = {0.5F, 0.25F};
///   aruba_fast::step(theta, grad, rates, grad_sq);
///   check(theta == std::vector<float>{0, 2} && grad_sq == std::vector<float>{4, 16});
ARUBA_FAST_API void step(std::span<float> theta, std::span<const float> grad,
                         std::span<const float> learning_rate, std::span<float> grad_sq = {});
ARUBA_FAST_API void step(std::span<double> theta, std::span<const double> grad,
                         std::span<const double> learning_rate, std::span<double> grad_sq = {});
ARUBA_FAST_API void step(std::span<float> theta, std::span<const float> grad, double learning_rate,
                         std::span<float> grad_sq = {});
ARUBA_FAST_API void step(std::span<double> theta, std::span<const double> grad,
                         double learning_rate, std::span<double> grad_sq = {});

}  // namespace aruba_fast
