// The check of labels and the online loop over rounds, in device memory.
#include <algorithm>
#include <chrono>
#include <cstring>

#include "labels-inl.cuh"
#include "ops_tasks.h"

namespace aruba_fast::cuda {
namespace {

// The results of this many parameters are kept at a time: half a gigabyte of float32.
constexpr std::int64_t kBlockParameters = std::int64_t{1} << 26;

// Tasks of a round that are run and summed at a time: whole chunks, so that the sums are those of
// one big round to the bit.
std::int64_t block_size(std::int64_t n_tasks, std::int64_t n, std::int64_t round_size) {
  const std::int64_t chunks = std::max<std::int64_t>(1, kBlockParameters / (n * kTaskChunk));
  return std::min(std::min(round_size, n_tasks), chunks * kTaskChunk);
}

// meta_train's memory.
struct TrainMemory {
  void *theta_hat, *grad_sq, *run, *round, *meta;
  double* weights;
  DeviceStatistics statistics;
  std::size_t statistics_bytes, bytes;

  TrainMemory(void* workspace, const TaskTable& table, const TaskOptions& options,
              const MetaState& state, std::int64_t block) {
    const std::int64_t n = state.n;
    auto* at = static_cast<unsigned char*>(workspace);
    const auto take = [&](std::size_t size) {
      unsigned char* part = at;
      at += (size + 15) / 16 * 16;
      return part;
    };
    const auto doubles = [&](std::int64_t count) {
      return reinterpret_cast<double*>(take(static_cast<std::size_t>(count) * sizeof(double)));
    };
    const auto results = static_cast<std::size_t>(block * n * size_of(table.type));
    theta_hat = take(results);
    grad_sq = take(results);
    weights = doubles(block);
    // The statistics lie together: one memset clears them.
    unsigned char* first = at;
    statistics.sums = doubles(6 * n);
    statistics.weight = doubles(2);
    statistics.counts = reinterpret_cast<std::int64_t*>(doubles(2));
    statistics_bytes = static_cast<std::size_t>(at - first);
    run = take(run_tasks_workspace_bytes(table, options, TaskRule::kOgd, block));
    round = take(add_round_workspace_bytes(block, n));
    meta = take(apply_workspace_bytes(state));
    bytes = static_cast<std::size_t>(at - static_cast<unsigned char*>(workspace));
  }
};

__global__ void __launch_bounds__(kMetaThreads)
    count_rows(const std::int64_t* starts, const std::int64_t* stops, const std::int64_t* order,
               std::int64_t first, std::int64_t n_tasks, double* weights) {
  const std::int64_t i = global_index();
  if (i >= n_tasks) return;
  const std::int64_t task = order ? order[first + i] : first + i;
  weights[i] = static_cast<double>(stops[task] - starts[task]);
}

// The number of tasks that the learner has seen, this round's included: waits for the device.
std::int64_t tasks_seen(const MetaState& state, const DeviceStatistics& statistics,
                        const Stream& stream) {
  std::int64_t before = 0, now = 0;
  check(cudaMemcpyAsync(&before, state.n_tasks, sizeof before, cudaMemcpyDeviceToHost,
                        handle_of(stream)),
        "cudaMemcpyAsync");
  check(cudaMemcpyAsync(&now, statistics.counts, sizeof now, cudaMemcpyDeviceToHost,
                        handle_of(stream)),
        "cudaMemcpyAsync");
  synchronize(stream);
  return before + now;
}

// One round: its tasks, block after block, to the statistics.
void run_round(const TaskTable& table, const TaskOptions& options, const MetaState& state,
               const MetaTraining& training, std::int64_t first, std::int64_t end,
               std::int64_t block, const TrainMemory& memory, const Stream& stream) {
  check(cudaMemsetAsync(memory.statistics.sums, 0, memory.statistics_bytes, handle_of(stream)),
        "cudaMemsetAsync");
  const TaskRuleArguments rule = {.rule = TaskRule::kOgd, .arrays = {state.rates}, .numbers = {}};
  for (std::int64_t at = first; at < end; at += block) {
    const std::int64_t n_tasks = std::min(block, end - at);
    run_tasks({.table = table,
               .options = options,
               .rule = rule,
               .one_for_all = state.one_rate(),
               .phi = state.phi,
               .phi_stride = 0,
               .first = at,
               .n_tasks = n_tasks,
               .outputs = {memory.theta_hat, memory.grad_sq, nullptr, training.loss + at}},
              memory.run, stream);
    if (training.weigh_by_rows)
      launch(stream, {divide_up(n_tasks, kMetaThreads), kMetaThreads}, count_rows, table.starts,
             table.stops, table.order, at, n_tasks, memory.weights);
    add_round(state.limited({.theta_hat = memory.theta_hat,
                             .grad_sq = memory.grad_sq,
                             .phi = state.phi,
                             .weights = training.weigh_by_rows ? memory.weights : nullptr,
                             .n_tasks = n_tasks,
                             .n = state.n,
                             .type = state.type}),
              memory.statistics, training.skipped + at, memory.round, stream);
  }
}

template <class T>
double label_of(const void* y, std::int64_t row, const Stream& stream) {
  T value{};
  check(cudaMemcpyAsync(&value, static_cast<const T*>(y) + row, sizeof value,
                        cudaMemcpyDeviceToHost, handle_of(stream)),
        "cudaMemcpyAsync");
  synchronize(stream);
  return static_cast<double>(value);
}

}  // namespace

void require_labels(const char* function, const Array& y, Loss loss, std::int64_t n_classes,
                    void* workspace, const Stream& stream) {
  if (!facts_of(loss).labels) return;
  const DeviceGuard guard(stream);
  const std::int64_t n_rows = y.size();
  auto* first = static_cast<unsigned long long*>(workspace);
  check(cudaMemsetAsync(first, 0xff, sizeof *first, handle_of(stream)), "cudaMemsetAsync");
  const std::int64_t most = facts_of_device(stream.device).idle_blocks();
  const Shape shape = {std::min(divide_up(n_rows, kMetaThreads), most), kMetaThreads};
  const auto find = [&](auto zero) {
    using T = decltype(zero);
    launch(stream, shape, find_wrong_label<T>, static_cast<const T*>(y.data), n_rows, loss,
           static_cast<double>(n_classes), first);
  };
  by_type(function, "`y`", y.type, find);
  unsigned long long found = 0;
  check(cudaMemcpyAsync(&found, first, sizeof found, cudaMemcpyDeviceToHost, handle_of(stream)),
        "cudaMemcpyAsync");
  synchronize(stream);
  if (found == ~0ULL) return;
  const auto row = static_cast<std::int64_t>(found);
  refuse_label(function, loss, n_classes,
               y.type == Type::kFloat64 ? label_of<double>(y.data, row, stream)
                                        : label_of<float>(y.data, row, stream),
               row);
}

std::size_t meta_train_workspace_bytes(const TaskTable& table, const TaskOptions& options,
                                       const MetaState& state, std::int64_t round_size) {
  const std::int64_t block = block_size(table.n_tasks, state.n, round_size);
  return TrainMemory(nullptr, table, options, state, block).bytes;
}

void meta_train(const TaskTable& table, const TaskOptions& options, const MetaState& state,
                const MetaTraining& training, Watch& watch, void* workspace, const Stream& stream) {
  const DeviceGuard guard(stream);
  const std::int64_t block = block_size(table.n_tasks, state.n, training.round_size);
  const TrainMemory memory(workspace, table, options, state, block);
  const bool captured = is_capturing(stream);  // then nothing is on its way
  const auto look_every = std::chrono::milliseconds(100);
  auto last = std::chrono::steady_clock::now();
  for (std::int64_t first = 0; first < table.n_tasks; first += training.round_size) {
    const std::int64_t end = std::min(table.n_tasks, first + training.round_size);
    run_round(table, options, state, training, first, end, block, memory, stream);
    const auto step =
        training.step_of(first, [&] { return tasks_seen(state, memory.statistics, stream); });
    {
      const auto held = training.held();
      apply(state, memory.statistics, step ? &*step : nullptr, memory.meta, stream);
    }
    const bool look = std::chrono::steady_clock::now() - last > look_every;
    if (look) {
      // So that no more than this long is on its way when somebody asks for the end.
      if (!captured) synchronize(stream);
      last = std::chrono::steady_clock::now();
      watch.ask();
      if (watch.stop) throw Interrupted("meta_train: interrupted");
    }
    if (training.progress && (look || end == table.n_tasks)) {
      if (!look && !captured) synchronize(stream);
      training.progress(end, table.n_tasks);
    }
  }
}

}  // namespace aruba_fast::cuda
