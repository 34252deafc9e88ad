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

// The numbers of learners with units, and of those whose prior is one average task.
const MetaParameters kPlain = {0.1, 1, 1, 0, kNoCap, false, false, false},
                     kIsotropic = {0.1, 1, 1, 0, kNoCap, true, false, false},
                     kDecaying = {0.2, 2, 0.4, 0.1, 0.25, false, false, false},
                     kDecayingIsotropic = {0.2, 2, 0.4, 0.1, 0.25, true, false, false},
                     kAverage = {1, 1, 1, 0, kNoCap, false, true, false},
                     kAverageIsotropic = {1, 1, 1, 0, kNoCap, true, true, true},
                     kAverageDecaying = {1, 1, 1, 0.1, 0.25, false, true, true};

struct How {
  std::int64_t round_size;
  bool weigh_by_rows, ordered, step_function;
  TaskOptions options;
  MetaParameters parameters;
  std::int64_t n_passes = 1;  // of more than one the steps of phi fall
};

const How kHow[] = {
    {1, false, false, false, {Loss::kSquared, 1, 1, 1, 0}, kPlain},
    {5, true, true, false, {Loss::kLogistic, 1, 2, 2, 0}, kIsotropic},
    {7, true, false, true, {Loss::kHuber, 1, 1, 1, 0.7}, kDecaying},
    {150, false, true, false, {Loss::kSoftmax, 3, 1, 1, 0}, kDecayingIsotropic},
    {1000, true, true, true, {Loss::kHinge, 1, 3, 1, 0.7}, kPlain},
    {32, false, false, false, {Loss::kSquared, 1, 1, 1, 0}, kAverage, 2},
    {13, true, true, false, {Loss::kSquared, 1, 2, 1, 0}, kAverageDecaying, 2},
    {150, false, true, false, {Loss::kSoftmax, 3, 1, 1, 0}, kAverageIsotropic, 2},
    {1000, true, false, true, {Loss::kLogistic, 1, 3, 1, 0.7}, kAverage},
};

// kLong: so large that it diverges, and is shortened by a learner that may.
enum Outlier { kClean, kInfinite, kLong };

template <class T>
void test_table(const How& how, const TaskTable& host, const std::string& what) {
  const std::int64_t n_tasks = host.n_tasks, n = host.n_features * how.options.n_outputs;
  const OnDevice<T> device(host);
  Numbers numbers(5);
  Learner<T> learner(n, how.parameters, numbers, 0.1, 100 * static_cast<double>(n));
  std::vector<double> losses(static_cast<std::size_t>(n_tasks));
  std::vector<std::uint8_t> skipped(losses.size());
  const DeviceArray<double> on_losses(losses, 1);
  const DeviceArray<std::uint8_t> on_skipped(skipped, 1);
  MetaTraining training{how.round_size, how.weigh_by_rows, nullptr,
                        nullptr,        losses.data(),     skipped.data()};
  if (how.step_function)
    training.meta_step = [](std::int64_t seen) { return 1.0 / static_cast<double>(seen); };
  if (how.n_passes > 1) training.n_visits = how.n_passes * n_tasks;
  const auto each_pass = [&](auto train) {
    for (std::int64_t pass = 0; pass < how.n_passes; ++pass) {
      training.n_visited = pass * n_tasks;
      train();
    }
  };
  Watch watch(nullptr);
  each_pass([&] { meta_train(host, how.options, learner.host, training, watch); });
  training.loss = on_losses.data();
  training.skipped = on_skipped.data();
  std::int64_t reported = 0;
  training.progress = [&](std::int64_t done, std::int64_t) { reported = done; };
  const DeviceArray<unsigned char> workspace(std::vector<unsigned char>(
      cuda::meta_train_workspace_bytes(device.table, how.options, learner.device, how.round_size),
      0xff));
  each_pass([&] {
    cuda::meta_train(device.table, how.options, learner.device, training, watch, workspace.data(),
                     kStream);
  });
  learner.expect_equal_state(what);
  expect_same(on_losses.values(), losses, "loss, " + what);
  expect(on_skipped.values() == skipped, "skipped, " + what);
  expect_equal(reported, n_tasks);
}

template <class T>
void test_how(const How& how, std::int64_t d, std::int64_t n_tasks, Outlier outlier) {
  Tasks<T> tasks(n_tasks, d, how.options.loss, how.options.n_outputs);
  T& spoiled = tasks.x()[tasks.x().size() / 2];
  if (outlier != kClean) spoiled = outlier == kLong ? T(1000) : std::numeric_limits<T>::infinity();
  test_table<T>(how, tasks.host(how.ordered),
                std::string(name_of(kType<T>)) + " round " + std::to_string(how.round_size) +
                    " d " + std::to_string(d) + " outlier " + std::to_string(outlier) +
                    " average task " + std::to_string(how.parameters.average_task));
}

template <class T>
void test_meta_train() {
  unsigned order = 0;
  for (const How& how : kHow)
    for (const std::int64_t d : {1, 8, 37, 200}) {
      if (d == 200 && how.options.n_outputs > 1) continue;
      if (kSmall && d != 8) continue;
      for (const Outlier outlier : {kClean, kInfinite, kLong}) {
        if (outlier == kLong && !how.parameters.average_task) continue;
        cuda_on_cpu::set_order(order++ % 3);
        test_how<T>(how, d, kSmall ? 31 : 301, outlier);
      }
    }
}

// A round of more numbers than are kept at a time: 128 tasks, then two.
void test_blocks() {
  constexpr std::int64_t kTasks = 130, kFeatures = (1 << 18) + 1, kRows = 3;
  Numbers numbers(2);
  std::vector<float> x = numbers.vector<float>(kRows * kFeatures), y = numbers.vector<float>(kRows);
  for (float& value : x) value /= 512;
  std::vector<std::int64_t> starts, stops;
  for (std::int64_t task = 0; task < kTasks; ++task) {
    starts.push_back(task % kRows);
    stops.push_back(task % 5 == 0 ? kRows : task % kRows + 1);
  }
  const TaskTable table = {x.data(), y.data(), starts.data(), stops.data(),  nullptr,
                           kTasks,   kRows,    kFeatures,     Type::kFloat32};
  const How how = {kTasks, true, false, false, {Loss::kSquared, 1, 3, 1, 0}, kAverage};
  const Learner<float> learner(kFeatures, kAverage, numbers);
  const auto bytes = [&](std::int64_t round_size) {
    return cuda::meta_train_workspace_bytes(table, how.options, learner.device, round_size);
  };
  expect_equal(bytes(128), bytes(kTasks));
  test_table<float>(how, table, "blocks");
}

// Nothing waits for the device unless somebody asks, but for the look at Ctrl-C every 100 ms.
void test_synchronizations() {
  const Tasks<float> tasks(20, 5, Loss::kSquared, 1);
  const OnDevice<float> device(tasks.host(false));
  Numbers numbers(1);
  const TaskOptions options{Loss::kSquared, 1, 1, 1, 0};
  Learner<float> learner(5, kPlain, numbers, 0.1);
  const DeviceArray<double> losses(std::vector<double>(20));
  const DeviceArray<std::uint8_t> skipped(std::vector<std::uint8_t>(20));
  const DeviceArray<unsigned char> workspace(std::vector<unsigned char>(
      cuda::meta_train_workspace_bytes(device.table, options, learner.device, 4)));
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
  Learner<float> learner(5, kPlain, numbers, 0.1);
  const DeviceArray<double> losses(std::vector<double>(static_cast<std::size_t>(n_tasks)));
  const DeviceArray<std::uint8_t> skipped(
      std::vector<std::uint8_t>(static_cast<std::size_t>(n_tasks)));
  const DeviceArray<unsigned char> workspace(std::vector<unsigned char>(
      cuda::meta_train_workspace_bytes(device.table, options, learner.device, 1)));
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
    if (!kSmall) test_blocks();
    test_synchronizations();
    test_interrupt();
    test_labels<float>();
    test_labels<double>();
  });
}
