// The task engine on the emulated device against the CPU's: equal bits for every loss, rule, type,
// size and option.
#include "arrays.h"
#include "cpp/ops_tasks.h"
#include "cuda/ops_tasks.h"
#include "cuda_runtime.h"
#include "small.h"
#include "task_tables.h"

namespace {

using namespace aruba_fast;
using namespace aruba_fast::test;

const cuda::Stream kStream{0, nullptr};
struct Options {
  std::int64_t batch_size, n_epochs;
  double radius;
  bool theta_bar, vector_rates, phi_each, ordered;
};
constexpr Options kOptions[] = {
    {1, 1, 0, false, true, false, false},     {1, 2, 0, false, false, true, true},
    {3, 2, 0, true, true, false, false},      {1, 1, 0.4, false, false, false, false},
    {1, 2, 0.4, true, true, true, false},     {4, 1, 0.3, true, false, false, true},
    {1, 1, 1e-30, false, true, false, false},
};

template <class T, class Tasks>
void test_run(const Tasks& tasks, Loss loss, std::int64_t n_outputs, TaskRule rule,
              const Options& with, std::int64_t first = 0) {
  const TaskTable host = tasks.host(with.ordered);
  const OnDevice<T> device(host);
  const std::int64_t n = host.n_features * n_outputs, n_tasks = host.n_tasks - first;
  Numbers numbers(static_cast<std::uint64_t>(n));
  const std::vector<T> phi = numbers.vector<T>(with.phi_each ? n * n_tasks : n),
                       rates = numbers.vector<T>(n, 1.1), seconds = numbers.vector<T>(n, 1.1);
  const auto size = static_cast<std::size_t>(n_tasks * n);
  std::vector<T> theta_hat(size), grad_sq(size), theta_bar(with.theta_bar ? size : 0);
  std::vector<double> losses(static_cast<std::size_t>(n_tasks));
  const TaskOptions options{loss, n_outputs, with.batch_size, with.n_epochs, with.radius};
  Watch watch(nullptr);
  TaskRuleArguments arguments{rule, {}, {0.25, 0.5, 0.125, 0.75}}, on_device = arguments;
  if (with.vector_rates) arguments.arrays[0] = rates.data();
  if (rule == TaskRule::kArubaPlusPlus) arguments.arrays[1] = seconds.data();
  TaskEngine(host, options, watch)
      .run(arguments, phi.data(), with.phi_each ? n : 0, first, n_tasks,
           {theta_hat.data(), grad_sq.data(), with.theta_bar ? theta_bar.data() : nullptr,
            losses.data()});
  const DeviceArray<T> on_phi(phi, 1), on_rates(rates, 2), on_seconds(seconds, 3),
      on_theta_hat(std::vector<T>(size), 1), on_grad_sq(std::vector<T>(size), 2),
      on_theta_bar(std::vector<T>(theta_bar.size()), 3);
  const DeviceArray<double> on_losses(std::vector<double>(losses.size()), 1);
  const DeviceArray<unsigned char> workspace(std::vector<unsigned char>(
      cuda::run_tasks_workspace_bytes(device.table, options, rule, n_tasks), 0xff));
  if (with.vector_rates) on_device.arrays[0] = on_rates.data();
  if (rule == TaskRule::kArubaPlusPlus) on_device.arrays[1] = on_seconds.data();
  cuda::run_tasks({.table = device.table,
                   .options = options,
                   .rule = on_device,
                   .phi = on_phi.data(),
                   .phi_stride = with.phi_each ? n : 0,
                   .first = first,
                   .n_tasks = n_tasks,
                   .outputs = {on_theta_hat.data(), on_grad_sq.data(),
                               with.theta_bar ? on_theta_bar.data() : nullptr, on_losses.data()}},
                  workspace.data(), kStream);
  const std::string what =
      std::string(name_of(kType<T>)) + " loss " + std::to_string(static_cast<int>(loss)) +
      " narrow " + std::to_string(static_cast<int>(host.widening.from)) + " rule " +
      std::to_string(static_cast<int>(rule)) + " d " + std::to_string(host.n_features) + " batch " +
      std::to_string(with.batch_size) + " radius " + std::to_string(with.radius);
  expect_same(on_theta_hat.values(), theta_hat, "theta_hat, " + what);
  expect_same(on_grad_sq.values(), grad_sq, "grad_sq, " + what);
  expect_same(on_theta_bar.values(), theta_bar, "theta_bar, " + what);
  expect_same(on_losses.values(), losses, "loss, " + what);
}

template <class T>
void test_every_option() {
  unsigned order = 0;
  for (const LossFacts& facts : kLossFacts) {
    const Loss loss = static_cast<Loss>(&facts - kLossFacts);
    const std::int64_t n_outputs = facts.has_classes ? 3 : 1;
    for (const std::int64_t d : {1, 5, 8, 9, 17, 32, 33, 100, 128, 129, 300}) {
      if (kSmall && d != 5 && d != 33 && d != 129) continue;
      const Tasks<T> tasks(d < 40 && !kSmall ? 13 : 4, d, loss, n_outputs);
      for (int rule = 0; rule < kTaskRules; ++rule)
        for (const Options& options : kOptions) {
          cuda_on_cpu::set_order(order++ % 4);
          test_run<T>(tasks, loss, n_outputs, static_cast<TaskRule>(rule), options);
        }
    }
  }
}

// Long rows: one warp full, several warps, more than registers hold, more than shared memory holds.
template <class T>
void test_long_rows() {
  unsigned order = 0;
  for (const std::int64_t d : {511, 512, 513, 1024, 1500, 4096, 4097, 13000}) {
    if (kSmall && d > 1100 && d != 4097) continue;
    for (const Loss loss : {Loss::kLogistic, Loss::kSoftmax}) {
      if (loss == Loss::kSoftmax && d > 1500) continue;
      const std::int64_t n_outputs = loss == Loss::kSoftmax ? 5 : 1;
      const Tasks<T> tasks(3, d, loss, n_outputs);
      for (const Options& options : kOptions) {
        cuda_on_cpu::set_order(order % 4);
        test_run<T>(tasks, loss, n_outputs, static_cast<TaskRule>(order++ % kTaskRules), options);
      }
    }
  }
}

// Many classes, and softmax of two.
void test_softmax() {
  for (const std::int64_t n_outputs : {2, 4, 10, 33, 300}) {
    if (kSmall && n_outputs > 40) continue;
    const Tasks<float> tasks(4, 6, Loss::kSoftmax, n_outputs);
    for (const Options& options : kOptions)
      test_run<float>(tasks, Loss::kSoftmax, n_outputs, TaskRule::kAdaGrad, options);
  }
  // More classes than shared memory has room for their scores.
  if (!kSmall) {
    const Tasks<double> tasks(2, 2, Loss::kSoftmax, 2000);
    test_run<double>(tasks, Loss::kSoftmax, 2000, TaskRule::kOgd, kOptions[2]);
    test_run<double>(tasks, Loss::kSoftmax, 2000, TaskRule::kOgd, kOptions[4]);
  }
}

// Scores of every size, and tasks that diverge.
template <class T>
void test_extremes() {
  for (const LossFacts& facts : kLossFacts) {
    const Loss loss = static_cast<Loss>(&facts - kLossFacts);
    const std::int64_t n_outputs = facts.has_classes ? 3 : 1;
    for (const double scale : {1e3, 1e30, 1e300}) {
      Tasks<T> tasks(9, 5, loss, n_outputs);
      Numbers numbers(11);
      for (T& value : tasks.x())
        value = static_cast<T>(static_cast<double>(value) * (numbers.next() > 0 ? scale : 1));
      for (const Options& options : kOptions)
        test_run<T>(tasks, loss, n_outputs, TaskRule::kOgd, options);
    }
  }
}

// A part of the table, with and without an order.
void test_parts() {
  const Tasks<float> tasks(9, 7, Loss::kSquared, 1);
  for (const Options& options : kOptions)
    test_run<float>(tasks, Loss::kSquared, 1, TaskRule::kOgd, options, 4);
}

constexpr Widening kWidenings[] = {
    {Narrow::kBFloat16}, {Narrow::kFloat16}, {Narrow::kUInt8, 1.37F / 255}};

// Features in less than float32, beside the CPU's own way with them: every kernel that reads rows.
void test_narrow() {
  unsigned order = 0;
  for (Widening widening : kWidenings) {
    for (const std::int64_t d : {1, 8, 9, 31, 32, 33, 64, 129, 257, 512, 513, 4096, 4097}) {
      if (kSmall && d != 8 && d != 33 && d != 129 && d != 513) continue;
      if (widening.from == Narrow::kUInt8)
        widening.scale = 1.37F / 255 / std::sqrt(static_cast<float>(d));
      for (const Loss loss : {Loss::kLogistic, Loss::kSoftmax}) {
        if (loss == Loss::kSoftmax && d > 600) continue;
        const std::int64_t n_outputs = loss == Loss::kSoftmax ? 5 : 1;
        const NarrowTasks tasks(widening, d > 600 ? 3 : 6, d, loss, n_outputs);
        for (const Options& options : kOptions) {
          cuda_on_cpu::set_order(order % 4);
          test_run<float>(tasks, loss, n_outputs, static_cast<TaskRule>(order++ % kTaskRules),
                          options);
        }
      }
    }
    for (const std::int64_t d : {3, 40})
      for (const Options& options : kOptions)
        test_run<float>(NarrowTasks(widening, 9, d, Loss::kSquared, 1, true), Loss::kSquared, 1,
                        TaskRule::kAdaGrad, options);
  }
  // Rows that do not fit shared memory, and products that are no float32.
  if (!kSmall)
    test_run<float>(NarrowTasks({Narrow::kUInt8, 1e-3F}, 2, 13000, Loss::kLogistic, 1),
                    Loss::kLogistic, 1, TaskRule::kOgd, kOptions[1]);
  for (const float scale : {1.2e-38F, 3e38F})
    test_run<float>(NarrowTasks({Narrow::kUInt8, scale}, 5, 5, Loss::kSquared, 1), Loss::kSquared,
                    1, TaskRule::kOgd, kOptions[0]);
}

}  // namespace

int main() {
  return report("tasks", [] {
    test_every_option<float>();
    test_every_option<double>();
    test_long_rows<float>();
    test_long_rows<double>();
    test_softmax();
    test_extremes<float>();
    test_extremes<double>();
    test_parts();
    test_narrow();
  });
}
