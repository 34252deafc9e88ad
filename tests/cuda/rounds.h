// Rounds of tasks, good and spoiled ones, summed on the emulated device and on the CPU: equal bits.
#pragma once

#include <optional>

#include "cuda_runtime.h"
#include "learners.h"

namespace aruba_fast::test {

inline std::vector<double> weights_of(Numbers& numbers, std::int64_t n_tasks) {
  std::vector<double> weights = numbers.vector<double>(n_tasks, 1.5);
  for (std::size_t i = 0; i < weights.size(); i += 7) weights[i] = 0;
  return weights;
}

// kNegative: a square; kRates: the learner's, zero, subnormal, or so small that a task's spread is
// infinite.
enum Poison { kNone, kOne, kSome, kAll, kOverflow, kNegative, kRates };

template <class T>
void poison(std::vector<T>& theta_hat, std::vector<T>& grad_sq, std::int64_t n_tasks,
            std::int64_t n, Poison how) {
  const auto at = [n](std::int64_t task, std::int64_t j) {
    return static_cast<std::size_t>(task * n + j % n);
  };
  if (how == kOne) theta_hat[at(n_tasks / 2, n / 3)] = std::numeric_limits<T>::quiet_NaN();
  for (std::int64_t task = 0; task < n_tasks; ++task) {
    if (how == kAll || (how == kSome && task % 3 == 1))
      grad_sq[at(task, 7 * task)] = std::numeric_limits<T>::infinity();
    if (how == kOverflow && task % 5 == 0)
      theta_hat[at(task, task)] = std::numeric_limits<T>::max();
    if (how == kNegative && task % 3 == 1) grad_sq[at(task, 7 * task)] = -1;
  }
}

template <class T>
void poison_rates(std::vector<T>& rates) {
  using Limits = std::numeric_limits<T>;
  const T wild[] = {0, Limits::denorm_min(), Limits::min(), 1};
  for (std::size_t j = 0; j < rates.size(); j += 3) rates[j] = wild[j % 4];
}

// `limit` of a learner whose prior is one average task: what its tasks may spread.
template <class T>
void test_round(std::int64_t n_tasks, std::int64_t n, bool weighted, Poison how, bool from_zero,
                std::optional<double> limit = std::nullopt) {
  Numbers numbers(static_cast<std::uint64_t>(n_tasks * 1000 + n));
  std::vector<T> theta_hat = numbers.vector<T>(n_tasks * n), phi = numbers.vector<T>(n),
                 grad_sq = numbers.vector<T>(n_tasks * n, 1), rates = numbers.vector<T>(n, 1.5);
  const std::vector<double> weights = weights_of(numbers, n_tasks);
  if (how == kRates) poison_rates(rates);
  else if (how != kNone) poison(theta_hat, grad_sq, n_tasks, n, how);
  Both into(n, from_zero ? nullptr : &numbers);
  std::vector<std::uint8_t> skipped(static_cast<std::size_t>(n_tasks), 9);
  const std::string what = std::to_string(n_tasks) + "x" + std::to_string(n) + " " +
                           name_of(kType<T>) + " weighted " + std::to_string(weighted) +
                           " poison " + std::to_string(how) +
                           (limit ? " limit " + std::to_string(*limit) : "");
  RoundArrays round = {.theta_hat = theta_hat.data(),
                       .grad_sq = grad_sq.data(),
                       .phi = phi.data(),
                       .weights = weighted ? weights.data() : nullptr,
                       .n_tasks = n_tasks,
                       .n = n,
                       .type = kType<T>,
                       .rates = rates.data(),
                       .limit = limit ? &*limit : nullptr};
  add_round("test", round, into.host, skipped.data());
  const DeviceArray<T> on_theta(theta_hat, 1), on_grad_sq(grad_sq, 3), on_phi(phi, 2),
      on_rates(rates, 1);
  const DeviceArray<double> on_weights(weights, 1), on_limit({limit.value_or(0)}, 1);
  const DeviceArray<std::uint8_t> on_skipped(std::vector<std::uint8_t>(skipped.size(), 7));
  // Whatever was in the workspace before must not matter.
  const DeviceArray<unsigned char> workspace(
      std::vector<unsigned char>(cuda::add_round_workspace_bytes(n_tasks, n), 0xff));
  cuda_on_cpu::reset_counts();
  round.theta_hat = on_theta.data();
  round.grad_sq = on_grad_sq.data();
  round.phi = on_phi.data();
  round.weights = weighted ? on_weights.data() : nullptr;
  round.rates = on_rates.data();
  round.limit = limit ? on_limit.data() : nullptr;
  cuda::add_round(round, into.device, on_skipped.data(), workspace.data(), kStream);
  expect_equal(cuda_on_cpu::counts().synchronizations + cuda_on_cpu::counts().copies,
               std::int64_t{0});
  into.expect_equal_sums(what);
  expect(on_skipped.values() == skipped, "skipped, " + what);
}

}  // namespace aruba_fast::test
