// Learners whose prior is one average task: the tasks that are shortened, the rates by the prior
// and what a task may spread, on the emulated device and on the CPU: equal bits.
#include <limits>

#include "cuda_runtime.h"
#include "learners.h"
#include "rounds.h"
#include "small.h"

namespace {

using namespace aruba_fast;
using namespace aruba_fast::test;

const double kInfinity = std::numeric_limits<double>::infinity();

template <class T>
void test_limited_rounds() {
  unsigned order = 0;
  for (const std::int64_t n : {1, 31, 32, 33, 512, 513, 1100}) {
    // A task spreads about 2.5 a coordinate; by `few` some are shortened, by `least` all are.
    const double few = 2.4 * static_cast<double>(n), least = 1e-3, most = 1e300;
    for (const std::int64_t n_tasks : {1, 3, 128, 129, 300}) {
      if (kSmall && (n * n_tasks > 10000 || n == 1 || n == 31 || n == 32)) continue;
      for (const double limit : {few, least, most, kInfinity}) {
        if (kSmall && limit == most) continue;
        cuda_on_cpu::set_order(order++ % 4);
        test_round<T>(n_tasks, n, order % 2, kNone, order % 3, limit);
      }
      for (const Poison how : {kOne, kSome, kAll, kOverflow, kNegative, kRates}) {
        cuda_on_cpu::set_order(order++ % 4);
        for (const double limit : {few, kInfinity})
          test_round<T>(n_tasks, n, order % 2, how, order % 3, limit);
      }
    }
  }
  if (kSmall) return;
  // More segments than a warp has lanes, with chunks that have threads of their own and without;
  // more tasks than a grid has rows.
  test_round<T>(130, 17000, true, kOne, false, 2.5 * 17000);
  test_round<T>(130, 65536, false, kNegative, false, 2.5 * 65536);
  test_round<T>(65540, 2, false, kSome, true, 5.0);
}

// What a round brings, and what its learner has of it before.
enum Sums { kBoth, kNoDistance, kNoGradient, kNothing, kUnsound, kNothingOfFirst };

template <class T>
struct Case {
  std::int64_t n, n_tasks;
  MetaParameters parameters;
  Sums sums;
  const double* meta_step;
  std::vector<std::int64_t> tensors;

  std::string text() const {
    return "n " + std::to_string(n) + " of " + std::to_string(tensors.size()) + " tasks " +
           std::to_string(n_tasks) + " isotropic " + std::to_string(parameters.isotropic) +
           " tight " + std::to_string(parameters.tight) + " decay " +
           std::to_string(parameters.decay) + " sums " + std::to_string(sums);
  }

  void test() const {
    Numbers numbers(static_cast<std::uint64_t>(n + n_tasks));
    Learner<T> learner(n, parameters, numbers, 1, 7.5, tensors);
    Both round(n, &numbers);
    const bool no_b = sums == kNoDistance || sums == kNothing,
               no_g = sums == kNoGradient || sums == kNothing;
    for (std::int64_t i = 0; i < 4 * n; ++i) {
      const bool none = i < 2 * n ? no_b : no_g;
      round.device.sums[i] = round.host.sums[i] = none ? 0 : std::fabs(round.host.sums[i]);
    }
    for (std::int64_t j = 0; j < n; ++j) {
      const bool none = sums == kNothingOfFirst && j < tensors[0];
      if (no_b || none) learner.host.b[j] = learner.device.b[j] = 0;
      if (no_g || none) learner.host.g[j] = learner.device.g[j] = 0;
      for (std::int64_t row = 0; none && row < 4; ++row)
        round.device.sums[row * n + j] = round.host.sums[row * n + j] = 0;
    }
    // Of more than one coordinate only the sum is too large.
    for (std::int64_t j = 2 * n; sums == kUnsound && j < 3 * n; ++j)
      round.host.sums[j] = round.device.sums[j] =
          2 * (std::numeric_limits<double>::max() / static_cast<double>(n));
    round.host.n_tasks = round.device.counts[0] = n_tasks;
    const std::vector<T> before = rates(learner.device);
    const DeviceArray<unsigned char> workspace(
        std::vector<unsigned char>(cuda::apply_workspace_bytes(learner.device), 0xff));
    // The second round sees what the first one leaves.
    for (int k = 0; k < 2; ++k) {
      cuda::apply(learner.device, round.device, meta_step, workspace.data(), kStream);
      if (sums == kUnsound && n_tasks > 0) {
        // The CPU throws; the device, which nobody waits for, counts.
        expect_throw<ValueError>("the round",
                                 [&] { learner.host.apply("test", round.host, meta_step); });
        Statistics left_out = round.host;
        left_out.n_skipped += n_tasks;
        left_out.n_tasks = 0;
        learner.host.apply("test", left_out, meta_step);
      } else {
        learner.host.apply("test", round.host, meta_step);
      }
    }
    learner.expect_equal_state(text());
    // Tasks that are left out move the rates, too.
    const bool stay = no_b || no_g || n_tasks + round.host.n_skipped == 0;
    expect((rates(learner.device) == before) == stay, "rates that stay, " + text());
  }

  std::vector<T> rates(const MetaState& state) const {
    const T* at = static_cast<const T*>(state.rates);
    return std::vector<T>(at, at + n);
  }
};

template <class T>
void test_apply() {
  const MetaParameters each[] = {{1, 1, 1, 0, kInfinity, false, true, false},
                                 {1, 1, 1, 0, kInfinity, true, true, false},
                                 {1, 1, 1, 0, kInfinity, false, true, true},
                                 {1, 1, 1, 0.1, 0.25, false, true, false},
                                 {1, 1, 1, 0.1, 0.25, true, true, true}};
  const double steps[] = {0, 0.5, 1.5};
  unsigned order = 0;
  for (const std::int64_t n : {1, 31, 32, 33, 511, 512, 513, 4608, 8192, 8193, 20000}) {
    if (kSmall && n != 33 && n != 4608) continue;
    for (const MetaParameters& parameters : each) {
      for (const Sums sums : {kBoth, kNoDistance, kNoGradient, kNothing, kUnsound}) {
        for (const std::int64_t n_tasks : {0, 1, 40}) {
          if ((sums != kBoth && n_tasks == 1) || (kSmall && n_tasks == 0 && sums != kBoth))
            continue;
          cuda_on_cpu::set_order(order % 3);
          const double* meta_step = order % 4 == 3 ? nullptr : &steps[order % 4];
          ++order;
          Case<T>{n, n_tasks, parameters, sums, meta_step, {n}}.test();
          if (n < 33 || sums == kUnsound) continue;
          const std::vector<std::int64_t> tensors = {2, n - 20, 1, 17};
          Case<T>{n, n_tasks, parameters, sums, meta_step, tensors}.test();
          if (sums == kBoth && n_tasks > 0)
            Case<T>{n, n_tasks, parameters, kNothingOfFirst, meta_step, tensors}.test();
        }
      }
    }
  }
}

}  // namespace

int main() {
  return report("average_task", [] {
    test_limited_rounds<float>();
    test_limited_rounds<double>();
    test_apply<float>();
    test_apply<double>();
  });
}
