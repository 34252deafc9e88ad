// The online loop and the check of labels on the emulated device against those of the CPU.
#include <chrono>

#include "cuda/ops_tasks.h"
#include "cuda_runtime.h"
#include "learners.h"
#include "small.h"
#include "task_tables.h"

namespace {

using namespace aruba_fast;
using namespace aruba_fast::test;

const double kNoCap = std::numeric_limits<double>::infinity();

struct How {
  std::int64_t round_size;
  bool weigh_by_rows, ordered, step_function;
  TaskOptions options;
  MetaParameters parameters;
};

const How kHow[] = {
    {1,
     false,
     false,
     false,
     {Loss::kSquared, 1, 1, 1, 0},
     {0.1, 1, 1, 0, kNoCap, false, false, false}},
    {5,
     true,
     true,
     false,
     {Loss::kLogistic, 1, 2, 2, 0},
     {0.1, 1, 1, 0, kNoCap, true, false, false}},
    {7,
     true,
     false,
     true,
     {Loss::kHuber, 1, 1, 1, 0.7},
     {0.2, 2, 0.4, 0.1, 0.25, false, false, false}},
    {150,
     false,
     true,
     false,
     {Loss::kSoftmax, 3, 1, 1, 0},
     {0.2, 2, 0.4, 0.1, 0.25, true, false, false}},
    {1000,
     true,
     true,
     true,
     {Loss::kHinge, 1, 3, 1, 0.7},
     {0.1, 1, 1, 0, kNoCap, false, false, false}},
};

template <class T>
void test_how(const How& how, std::int64_t d, std::int64_t n_tasks, bool poisoned) {
  const std::int64_t n = d * how.options.n_outputs;
  Tasks<T> tasks(n_tasks, d, how.options.loss, how.options.n_outputs);
  if (poisoned) tasks.x()[tasks.x().size() / 2] = std::numeric_limits<T>::infinity();
  const TaskTable host = tasks.host(how.ordered);
  const OnDevice<T> device(host);
  Numbers numbers(5);
  Learner<T> learner(n, how.parameters, numbers, 0.1);
  std::vector<double> losses(static_cast<std::size_t>(n_tasks));
  std::vector<std::uint8_t> skipped(losses.size());
  const DeviceArray<double> on_losses(losses, 1);
  const DeviceArray<std::uint8_t> on_skipped(skipped, 1);
  MetaTraining training{how.round_size, how.weigh_by_rows, nullptr,
                        nullptr,        losses.data(),     skipped.data()};
  if (how.step_function)
    training.meta_step = [](std::int64_t seen) { return 1.0 / static_cast<double>(seen); };
  Watch watch(nullptr);
  meta_train(host, how.options, learner.host, training, watch);
  training.loss = on_losses.data();
  training.skipped = on_skipped.data();
  std::int64_t reported = 0;
  training.progress = [&](std::int64_t done, std::int64_t) { reported = done; };
  const DeviceArray<unsigned char> workspace(std::vector<unsigned char>(
      cuda::meta_train_workspace_bytes(device.table, how.options, n, how.round_size), 0xff));
  cuda::meta_train(device.table, how.options, learner.device, training, watch, workspace.data(),
                   kStream);
  const std::string what = std::string(name_of(kType<T>)) + " round " +
                           std::to_string(how.round_size) + " d " + std::to_string(d) +
                           " poisoned " + std::to_string(poisoned);
  learner.expect_equal_state(what);
  expect_same(on_losses.values(), losses, "loss, " + what);
  expect(on_skipped.values() == skipped, "skipped, " + what);
  expect_equal(reported, n_tasks);
}

template <class T>
void test_meta_train() {
  unsigned order = 0;
  for (const How& how : kHow)
    for (const std::int64_t d : {1, 8, 37, 200}) {
      if (d == 200 && how.options.n_outputs > 1) continue;
      if (kSmall && d != 8) continue;
      for (const bool poisoned : {false, true}) {
        cuda_on_cpu::set_order(order++ % 3);
        test_how<T>(how, d, kSmall ? 31 : 301, poisoned);
      }
    }
}

// Nothing waits for the device unless somebody asks, but for the look at Ctrl-C every 100 ms.
void test_synchronizations() {
  const Tasks<float> tasks(20, 5, Loss::kSquared, 1);
  const OnDevice<float> device(tasks.host(false));
  Numbers numbers(1);
  const TaskOptions options{Loss::kSquared, 1, 1, 1, 0};
  Learner<float> learner(5, {0.1, 1, 1, 0, kNoCap, false, false, false}, numbers, 0.1);
  const DeviceArray<double> losses(std::vector<double>(20));
  const DeviceArray<std::uint8_t> skipped(std::vector<std::uint8_t>(20));
  const DeviceArray<unsigned char> workspace(
      std::vector<unsigned char>(cuda::meta_train_workspace_bytes(device.table, options, 5, 4)));
  Watch watch(nullptr);
  cuda_on_cpu::reset_counts();
  const auto began = std::chrono::steady_clock::now();
  cuda::meta_train(device.table, options, learner.device,
                   {4, false, nullptr, nullptr, losses.data(), skipped.data()}, watch,
                   workspace.data(), kStream);
  const auto looks = (std::chrono::steady_clock::now() - began) / std::chrono::milliseconds(100);
  expect(cuda_on_cpu::counts().synchronizations <= looks, "no more waits than looks");
  expect_equal(cuda_on_cpu::counts().copies, std::int64_t{0});
  expect_equal(cuda_on_cpu::counts().allocations, std::int64_t{0});
}

// Ctrl-C ends the loop between two rounds.
void test_interrupt() {
  const std::int64_t n_tasks = kSmall ? 500 : 20000;
  const Tasks<float> tasks(n_tasks, 5, Loss::kSquared, 1);
  const OnDevice<float> device(tasks.host(false));
  Numbers numbers(1);
  const TaskOptions options{Loss::kSquared, 1, 1, 1, 0};
  Learner<float> learner(5, {0.1, 1, 1, 0, kNoCap, false, false, false}, numbers, 0.1);
  const DeviceArray<double> losses(std::vector<double>(static_cast<std::size_t>(n_tasks)));
  const DeviceArray<std::uint8_t> skipped(
      std::vector<std::uint8_t>(static_cast<std::size_t>(n_tasks)));
  const DeviceArray<unsigned char> workspace(
      std::vector<unsigned char>(cuda::meta_train_workspace_bytes(device.table, options, 5, 1)));
  Watch watch([] { return true; });
  const std::int64_t before = *learner.device.n_tasks;
  expect_throw<Interrupted>("meta_train: interrupted", [&] {
    cuda::meta_train(device.table, options, learner.device,
                     {1, false, nullptr, nullptr, losses.data(), skipped.data()}, watch,
                     workspace.data(), kStream);
  });
  const std::int64_t done = *learner.device.n_tasks - before;
  expect(done > 0 && done < n_tasks, "some rounds were done: " + std::to_string(done));
}

template <class T>
void test_labels() {
  struct Row {
    Loss loss;
    std::vector<T> good, bad;
  };
  const T nan = std::numeric_limits<T>::quiet_NaN();
  const Row rows[] = {{Loss::kLogistic, {0, 1, 1}, {0, 1, T(0.5), 2}},
                      {Loss::kHinge, {-1, 1}, {1, 0, -1}},
                      {Loss::kSoftmax, {0, 1, 2}, {0, 2, 3}},
                      {Loss::kSoftmax, {2, 0}, {1, T(1.5)}},
                      {Loss::kSoftmax, {2}, {1, -1}},
                      {Loss::kSoftmax, {2}, {nan}},
                      {Loss::kSquared, {T(0.3), nan}, {}}};
  for (const Row& row : rows) {
    const DeviceArray<unsigned long long> workspace(std::vector<unsigned long long>(1));
    const auto check = [&](const std::vector<T>& labels) {
      const DeviceArray<T> on(labels, 1);
      cuda::require_labels("run_tasks",
                           view("y", on.data(), {static_cast<std::int64_t>(labels.size())}),
                           row.loss, 3, workspace.data(), kStream);
    };
    check(row.good);
    if (row.bad.empty()) continue;
    std::string expected;
    try {
      require_labels("run_tasks",
                     view("y", row.bad.data(), {static_cast<std::int64_t>(row.bad.size())}),
                     row.loss, 3);
    } catch (const ValueError& error) {
      expected = error.what();
    }
    expect(!expected.empty(), "the CPU refuses it");
    expect_throw<ValueError>(expected, [&] { check(row.bad); });
  }
}

}  // namespace

int main() {
  return report("train", [] {
    test_meta_train<float>();
    test_meta_train<double>();
    test_synchronizations();
    test_interrupt();
    test_labels<float>();
    test_labels<double>();
  });
}
