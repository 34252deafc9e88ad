// Rounds of whole tasks, and the online loop over rounds.
#include "ops_tasks.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "ops_proximal.h"
#include "ops_sparse.h"
#include "rules/step.h"

namespace aruba_fast {
namespace {

// Coordinates times rounds, about 0.2 ms: on a busy machine, waiting for a second thread costs
// more.
constexpr std::int64_t kParallelFrom = std::int64_t{1} << 18;
// meta_train keeps the results of this many parameters at a time.
constexpr std::int64_t kBlockParameters = std::int64_t{1} << 20;
// Of results that nobody wants: few enough to stay in a cache, many enough that threads seldom wait
// for each other.
constexpr std::int64_t kUnwantedParameters = std::int64_t{1} << 19;
// Up to so many features of one output, losses alone are soonest found by steps of rate zero, which
// are unrolled (AVX-512, one thread, ns a row, with steps and without: 8 features 4.5 and 17, 17
// 8.5 and 21, 31 6.4 and 6.3, 33 8.6 and 5.9, 64 9.0 and 5.3, 512 76 and 32).
constexpr std::int64_t kShortRows = 31;

std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// n_outputs rows of n numbers, each padded to `stride` with `padding`; a null `from` repeats
// `value`.
template <class T>
void repeat(char* to, const void* from, double value, std::int64_t n_outputs, std::int64_t n,
            std::int64_t stride, double padding) {
  T* at = reinterpret_cast<T*>(to);
  for (std::int64_t c = 0; c < n_outputs; ++c, at += stride) {
    if (from)
      std::memcpy(at, static_cast<const T*>(from) + c * n, static_cast<std::size_t>(n) * sizeof(T));
    else std::fill_n(at, n, static_cast<T>(value));
    std::fill(at + n, at + stride, static_cast<T>(padding));
  }
}

std::unique_ptr<char[]> uninitialized(std::int64_t n_bytes) {
  return std::unique_ptr<char[]>(new char[static_cast<std::size_t>(n_bytes)]);
}

// How many tasks a thread runs in lock-step: theta, grad_sq and a row of x of each should stay in
// the first-level cache, 32 KB, beside the rates.
int slots_for(std::int64_t n_features, std::int64_t n_outputs, std::int64_t stride,
              std::int64_t width, std::int64_t item) {
  const std::int64_t task_bytes = (2 * n_outputs + 1) * stride * item, blocks = stride / width;
  if (n_outputs == 1) {
    // Four registers of tasks, a task a lane (lanes-inl.h).
    if (n_features <= 8 && width >= 8) return static_cast<int>(4 * width);
    // Two registers of tasks side by side, unrolled (tasks-inl.h).
    const std::int64_t slots = 2 * width;
    if ((blocks <= 4 || blocks == 8) && slots * task_bytes <= 24 * 1024)
      return static_cast<int>(slots);
  }
  // Few enough that the next rows have a place in the cache as well, many enough that a register of
  // losses is worth computing (AVX-512, two threads, ns a round; 96 features: 4 tasks 17.7, 8 12.6,
  // 16 9.9; 192: 4 23.5, 8 19.4, 16 22.7; 512: 1 52, 2 40, 3 52, 4 62).
  return static_cast<int>(std::clamp<std::int64_t>(20 * 1024 / task_bytes, 1, 16));
}

// How many rows of each task are widened at a time: so few that those of all tasks in hand stay in
// the first-level cache (AVX-512, one thread, 64 bfloat16 features, ns a round: 8 KiB 15.8,
// 16 14.4, 32 15.7).
std::int64_t window_for(std::int64_t n_slots, std::int64_t n_features) {
  return std::max<std::int64_t>(1, 4096 / (n_slots * n_features));
}

}  // namespace

double TaskTable::weight_of(std::int64_t task) const {
  if (!row_weights) return static_cast<double>(stops[task] - starts[task]);
  double sum = 0;
  for (std::int64_t row = starts[task]; row < stops[task]; ++row) sum += row_weights[row];
  return sum;
}

TaskEngine::TaskEngine(const TaskTable& table, const TaskOptions& options, Watch& watch)
    : table_(table),
      options_(options),
      watch_(watch),
      n_(table.n_features * options.n_outputs),
      max_threads_(n_threads()) {
  const std::int64_t item = size_of(table.type), width = kernels().register_bytes / item;
  stride_ = divide_up(table.n_features, width) * width;
  most_slots_ = slots_for(table.n_features, options.n_outputs, stride_, width, item);
  for (std::int64_t i = 0; i < table.n_tasks; ++i) {
    const std::int64_t task = table.order ? table.order[i] : i;
    const std::int64_t n_rows = table.stops[task] - table.starts[task];
    is_long_ = is_long_ || n_rows > kTermsTogether / options.n_epochs;
  }
}

void TaskEngine::reserve(int n_threads, std::int64_t n_numbers) {
  const std::int64_t n_bytes = n_numbers * size_of(table_.type) + 64;
  if (n_bytes > scratch_bytes_) {
    scratch_.clear();
    scratch_bytes_ = n_bytes;
  }
  while (std::ssize(scratch_) < n_threads) scratch_.push_back(uninitialized(scratch_bytes_));
}

// Where there is no coordinate, the first parameter is zero and the others are one.
void TaskEngine::spread(const TaskRuleArguments& rule) {
  const auto n_parameters = facts_of(rule.rule).parameters.size();
  for (std::size_t i = 0; i < n_parameters; ++i) {
    auto& to = parameters_[i];
    if (!to) to = uninitialized(options_.n_outputs * stride_ * size_of(table_.type));
    const double padding = i == 0 ? 0 : 1;
    if (table_.type == Type::kFloat64)
      repeat<double>(to.get(), rule.arrays[i], rule.numbers[i], options_.n_outputs,
                     table_.n_features, stride_, padding);
    else
      repeat<float>(to.get(), rule.arrays[i], rule.numbers[i], options_.n_outputs,
                    table_.n_features, stride_, padding);
  }
}

int TaskEngine::threads_for(std::int64_t first, std::int64_t n_tasks) const {
  std::int64_t work = 0;
  for (std::int64_t i = first; i < first + n_tasks && work < kParallelFrom; ++i) {
    const std::int64_t task = table_.order ? table_.order[i] : i;
    work += (table_.stops[task] - table_.starts[task]) * options_.n_epochs * n_;
  }
  return work < kParallelFrom ? 1 : static_cast<int>(std::min<std::int64_t>(max_threads_, n_tasks));
}

void TaskEngine::run(const TaskRuleArguments& rule, const void* phi, std::int64_t phi_stride,
                     std::int64_t first, std::int64_t n_tasks, const TaskOutputs& outputs) {
  if (n_tasks == 0) return;
  spread(rule);
  const bool losses =
      !outputs.theta_hat && (options_.n_outputs > 1 || table_.n_features > kShortRows);
  if (losses || (outputs.theta_hat && outputs.grad_sq))
    return run_some(rule, phi, phi_stride, first, n_tasks, outputs);
  // What nobody wants is written to the same memory again and again.
  const std::int64_t item = size_of(table_.type),
                     most = std::min(n_tasks, divide_up(kUnwantedParameters, n_));
  const auto unwanted = uninitialized(2 * most * n_ * item);
  for (std::int64_t at = 0; at < n_tasks && !watch_.stop; at += most) {
    const auto from_task = [&](void* part) {
      return part ? static_cast<char*>(part) + at * n_ * item : nullptr;
    };
    TaskOutputs some{from_task(outputs.theta_hat), unwanted.get(), from_task(outputs.theta_bar),
                     outputs.loss + at};
    if (!some.theta_hat) some.theta_hat = unwanted.get() + most * n_ * item;
    run_some(rule, static_cast<const char*>(phi) + at * phi_stride * item, phi_stride, first + at,
             std::min(most, n_tasks - at), some);
  }
}

void TaskEngine::run_some(const TaskRuleArguments& rule, const void* phi, std::int64_t phi_stride,
                          std::int64_t first, std::int64_t n_tasks, const TaskOutputs& outputs) {
  const int threads = threads_for(first, n_tasks);
  std::int64_t next = 0;
  // Without an order, task i is row i of starts and stops.
  const std::int64_t* order = table_.order ? table_.order + first : nullptr;
  const std::int64_t skip = order ? 0 : first;
  const TaskRuleFacts& facts = facts_of(rule.rule);
  const bool steps = outputs.theta_hat != nullptr;
  TasksCall call = {
      .x = table_.x,
      .y = table_.y,
      .phi = phi,
      .widening = table_.widening,
      .row_weights = table_.row_weights,
      .parameters = {},
      .n_states = steps ? facts.n_states : 0,
      .starts = table_.starts + skip,
      .stops = table_.stops + skip,
      .order = order,
      .n_tasks = n_tasks,
      .n_features = table_.n_features,
      .n_outputs = options_.n_outputs,
      .stride = stride_,
      .phi_stride = phi_stride,
      .batch_size = options_.batch_size,
      .n_epochs = options_.n_epochs,
      .theta_hat = outputs.theta_hat,
      .grad_sq = outputs.grad_sq,
      .theta_bar = outputs.theta_bar,
      .loss = outputs.loss,
      .loss_kind = options_.loss,
      .radius = options_.radius,
      .one_rate = facts.rate_is_given && !rule.arrays[0],
      .next = &next,
      .stop = &watch_.stop,
      .n_slots = static_cast<int>(std::min<std::int64_t>(most_slots_, divide_up(n_tasks, threads))),
      .is_long = steps && is_long_};
  for (int i = 0; i < kMostParameters; ++i) call.parameters[i] = parameters_[i].get();
  if (table_.widening) call.window = window_for(call.n_slots, table_.n_features);
  reserve(threads, rule.rule == TaskRule::kExponentiatedGradient ? call.eg_scratch_numbers()
                                                                 : call.scratch_numbers());
  const auto body = [&](int thread) {
    char* const memory = scratch_[static_cast<std::size_t>(thread)].get();
    const int type = index_of(table_.type);
    const auto run =
        steps ? kernels().tasks[static_cast<int>(rule.rule)][type] : kernels().losses[type];
    run(own_call(call, memory, thread, watch_));
  };
  on_threads(threads, body, watch_);
}

void AfterRound::operator()(std::int64_t moved, std::int64_t end) {
  watch_.poll(kRoundWork + moved);
  if (watch_.stop) throw Interrupted("meta_train: interrupted");
  if (!training_.progress) return;
  const auto now = std::chrono::steady_clock::now();
  if (end < n_tasks_ && now - reported_ <= std::chrono::milliseconds(100)) return;
  reported_ = now;
  training_.progress(end, n_tasks_);
}

void meta_train(const TaskTable& table, const TaskOptions& options, MetaState& state,
                const MetaTraining& training, Watch& watch) {
  if (table.rows.columns) return meta_train_sparse(table, options, state, training, watch);
  TaskEngine engine(table, options, watch);
  const std::int64_t n = state.n, item = size_of(state.type);
  // A round streams through blocks of whole chunks, so that its sums are those of one big round to
  // the bit.
  const std::int64_t chunks = std::max<std::int64_t>(1, kBlockParameters / (n * kTaskChunk));
  const std::int64_t block =
      std::min(std::min(training.round_size, table.n_tasks), chunks * kTaskChunk);
  const auto theta_hat = uninitialized(block * n * item), grad_sq = uninitialized(block * n * item);
  const std::unique_ptr<double[]> sums(new double[static_cast<std::size_t>(6 * n)]);
  std::vector<double> weights(static_cast<std::size_t>(training.weigh_by_rows ? block : 0));
  Array initialization;
  initialization.data = state.phi;
  initialization.type = state.type;
  initialization.n_dimensions = 1;
  initialization.shape[0] = n;
  std::optional<ProximalRounds> proximal;
  if (training.proximal > 0)
    proximal.emplace(table, ProximalOptions{options.loss, options.n_outputs}, training.proximal,
                     watch);
  AfterRound after_round(training, watch, table.n_tasks);
  for (std::int64_t first = 0; first < table.n_tasks; first += training.round_size) {
    const std::int64_t end = std::min(table.n_tasks, first + training.round_size);
    require_in_ball("meta_train", initialization, options.radius);
    Statistics statistics{sums.get()};
    const TaskRuleArguments rule = {
        .rule = TaskRule::kOgd,
        .arrays = {state.one_rate() ? nullptr : state.rates},
        .numbers = {state.type == Type::kFloat64 ? *static_cast<double*>(state.rates)
                                                 : *static_cast<float*>(state.rates)}};
    for (std::int64_t at = first; at < end; at += block) {
      const std::int64_t n_tasks = std::min(block, end - at);
      const TaskOutputs outputs{theta_hat.get(), grad_sq.get(), nullptr, training.loss + at};
      if (proximal) proximal->run(state.phi, state.rates, state.one_rate(), at, n_tasks, outputs);
      else engine.run(rule, state.phi, 0, at, n_tasks, outputs);
      if (watch.stop) throw Interrupted("meta_train: interrupted");
      for (std::size_t i = 0; i < weights.size() && static_cast<std::int64_t>(i) < n_tasks; ++i) {
        const std::int64_t position = at + static_cast<std::int64_t>(i),
                           task = table.order ? table.order[position] : position;
        weights[i] = table.weight_of(task);
      }
      const RoundArrays round = {.theta_hat = theta_hat.get(),
                                 .grad_sq = grad_sq.get(),
                                 .phi = state.phi,
                                 .weights = weights.empty() ? nullptr : weights.data(),
                                 .n_tasks = n_tasks,
                                 .n = n,
                                 .type = state.type};
      add_round("meta_train", state.limited(round), statistics, training.skipped + at);
    }
    const auto step = training.step_of(first, [&] { return *state.n_tasks + statistics.n_tasks; });
    {
      const auto held = training.held();
      state.apply_own("meta_train", statistics, step ? &*step : nullptr);
    }
    after_round((end - first) * n, end);
  }
}

}  // namespace aruba_fast
