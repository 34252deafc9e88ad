// The reduction over tasks, merging and the meta-update on the emulated device against those of the
// CPU: equal bits.
#include "arrays.h"
#include "cpp/lane_sum.h"
#include "cpp/ops_meta.h"
#include "cuda/column-inl.cuh"
#include "cuda/ops_meta.h"
#include "cuda_runtime.h"
#include "learners.h"
#include "rounds.h"
#include "small.h"

namespace {

using namespace aruba_fast;
using namespace aruba_fast::test;

template <class T>
void test_rounds() {
  unsigned order = 0;
  for (const std::int64_t n : {1, 2, 5, 31, 127, 128, 130, 600}) {
    for (const std::int64_t n_tasks : {1, 2, 3, 4, 5, 127, 128, 129, 300}) {
      if (kSmall && (n * n_tasks > 17000 || n == 2 || n == 127 || n_tasks == 3 || n_tasks == 4))
        continue;
      cuda_on_cpu::set_order(order++ % 4);
      for (const bool weighted : {false, true}) {
        test_round<T>(n_tasks, n, weighted, kNone, !weighted);
        for (const Poison how : {kOne, kSome, kAll})
          test_round<T>(n_tasks, n, weighted, how, weighted);
      }
      if (sizeof(T) == 4) test_round<T>(n_tasks, n, false, kOverflow, true);
    }
  }
  // The path of many columns, with more than one chunk.
  if (!kSmall) {
    test_round<T>(130, 65536, true, kNone, false);
    test_round<T>(130, 65537, true, kOne, false);
    test_round<T>(3000, 8, true, kSome, false);
  }
}

// A thread of the reduction asks for as many tasks at once as an architecture has room for: that
// changes no sum, whatever is left over.
template <class T>
void test_tasks_at_once() {
  constexpr std::int64_t kColumns = 2, kTasks = 37;
  Numbers numbers(37);
  const std::vector<T> theta_hat = numbers.vector<T>(kTasks * kColumns),
                       grad_sq = numbers.vector<T>(kTasks * kColumns, 1),
                       phi = numbers.vector<T>(kColumns);
  const std::vector<double> weights = numbers.vector<double>(kTasks, 2),
                            by = numbers.vector<double>(kTasks, 1);
  std::vector<unsigned> skip(kTasks);
  for (std::size_t i = 0; i < skip.size(); ++i) skip[i] = i % 5 == 3;
  const cuda::Round<T, true> round = {theta_hat.data(), grad_sq.data(), phi.data(), weights.data(),
                                      skip.data(),      kTasks,         kColumns,   by.data()};
  for (std::int64_t last = 1; last <= kTasks; ++last) {
    const cuda::ColumnSums alone = cuda::sum_column<1>(round, 1, last, 1);
    const auto expect_same = [&](const cuda::ColumnSums& sums) {
      expect(std::memcmp(&sums, &alone, sizeof sums) == 0,
             std::to_string(last - 1) + " tasks, some at once");
    };
    expect_same(cuda::sum_column<2>(round, 1, last, 1));
    expect_same(cuda::sum_column<4>(round, 1, last, 1));
    expect_same(cuda::sum_column<5>(round, 1, last, 1));
    expect_same(cuda::sum_column<8>(round, 1, last, 1));
    expect_same(cuda::sum_column<10>(round, 1, last, 1));
    expect_same(cuda::sum_column<16>(round, 1, last, 1));
  }
}

// The sums of float64 overflow although every task counts, from a phi at their end: the CPU throws,
// the device cannot, and leaves sums that are not finite.
void test_overflow() {
  const std::vector<double> theta_hat(4, 1.7e308), grad_sq(4, 1), phi(2, 1.7e308);
  const RoundArrays round = {theta_hat.data(), grad_sq.data(), phi.data(), nullptr, 2, 2,
                             Type::kFloat64};
  std::vector<double> sums(12);
  Statistics host{sums.data()};
  expect_throw<ValueError>("overflow of float64", [&] { add_round("test", round, host, nullptr); });
  const Both into(2);
  const DeviceArray<unsigned char> workspace(
      std::vector<unsigned char>(cuda::add_round_workspace_bytes(2, 2)));
  cuda::add_round(round, into.device, nullptr, workspace.data(), kStream);
  expect(!std::isfinite(into.device.sums[8]), "an overflow stays visible");
  expect_equal(into.device.counts[0], std::int64_t{2});
}

void test_merge() {
  for (const std::int64_t n : {1, 3, 255, 256, 257, 1000}) {
    Numbers numbers(static_cast<std::uint64_t>(n));
    Both into(n, &numbers);
    const Both other(n, &numbers);
    merge(into.host, other.host, n);
    cuda::merge(into.device, other.device, n, kStream);
    into.expect_equal_sums("merge " + std::to_string(n));
  }
}

template <class T>
void test_apply() {
  const double no_cap = std::numeric_limits<double>::infinity();
  const MetaParameters each[] = {{0.1, 1, 1, 0, no_cap, false, false, false},
                                 {0.1, 1, 1, 0, no_cap, true, false, false},
                                 {0.3, 2, 0.4, 0.1, 0.25, false, false, false},
                                 {0.3, 2, 0.4, 0.1, 0.25, true, false, false}};
  const double steps[] = {0, 0.5, 1.5};
  unsigned order = 0;
  for (const std::int64_t n : {1, 2, 33, 257, 1025, 8192, 8193, 20000}) {
    if (kSmall && n != 2 && n != 257 && n != 8193) continue;
    for (const MetaParameters& parameters : each) {
      for (const std::int64_t n_tasks : {0, 1, 2, 40, 2000}) {
        if (kSmall && (n_tasks == 1 || n_tasks == 40)) continue;
        cuda_on_cpu::set_order(order % 3);
        Numbers numbers(static_cast<std::uint64_t>(n + n_tasks));
        Learner<T> learner(n, parameters, numbers);
        Both round(n, &numbers);
        for (std::int64_t i = 0; i < 4 * n; ++i) {
          round.host.sums[i] = std::fabs(round.host.sums[i]);
          round.device.sums[i] = round.host.sums[i];
        }
        round.host.n_tasks = round.device.counts[0] = n_tasks;
        const double* meta_step = order % 4 == 3 ? nullptr : &steps[order % 4];
        ++order;
        if (order % 13 == 0)
          round.host.weight = {0, 0}, round.device.weight[0] = round.device.weight[1] = 0;
        learner.host.apply("test", round.host, meta_step);
        const DeviceArray<unsigned char> workspace(
            std::vector<unsigned char>(cuda::apply_workspace_bytes(learner.device), 0xff));
        cuda::apply(learner.device, round.device, meta_step, workspace.data(), kStream);
        learner.expect_equal_state("n " + std::to_string(n) + " tasks " + std::to_string(n_tasks) +
                                   " isotropic " + std::to_string(parameters.isotropic) +
                                   " decay " + std::to_string(parameters.decay));
      }
    }
  }
}

// cpp/lane_sum.h against long double.
void test_lane_sum() {
  Numbers numbers(3);
  for (const std::int64_t n : {0, 1, 2, 1023, 1024, 1025, 5000, 100001}) {
    const std::vector<double> values = numbers.vector<double>(n);
    long double exact = 0;
    for (const double value : values) exact += value;
    const Twofold<double> sum =
        lane_sum(n, [&](std::int64_t i) { return values[static_cast<std::size_t>(i)]; });
    expect(std::fabs(static_cast<double>(exact) - (sum.value())) <=
               1e-15 * (1 + std::fabs(static_cast<double>(exact))),
           "lane_sum of " + std::to_string(n));
  }
}

}  // namespace

int main() {
  return report("meta", [] {
    test_lane_sum();
    test_rounds<float>();
    test_rounds<double>();
    test_tasks_at_once<float>();
    test_tasks_at_once<double>();
    test_overflow();
    test_merge();
    test_apply<float>();
    test_apply<double>();
  });
}
