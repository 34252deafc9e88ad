// Rounds of whole tasks in device memory.
#include "ops_tasks.h"

#include <algorithm>

#include "run_tasks_with.h"
#include "tasks-inl.cuh"
#include "wide-inl.cuh"

namespace aruba_fast::cuda {
namespace {

constexpr std::int64_t kSharedBytes = 48 * 1024;  // what every device gives without being asked
constexpr std::int64_t kLongest = kLongThreads / kWarp * kSegment;
// A workspace of about this size is worth having for more blocks at a time.
constexpr std::int64_t kWorkspaceBytes = std::int64_t{1} << 28;

// One call, with rates as the kernels take them: step 0 repeats the first one.
struct Call {
  const TaskTable& table;
  const TaskOptions& options;
  const TaskRuleArguments& rule;
  std::int64_t rate_step;
  bool one_rate;  // the projection is Euclidean
  const void* phi;
  std::int64_t phi_stride, first, n_tasks;
  const TaskOutputs& outputs;
  void* workspace;
  const Stream& stream;

  bool has_extras() const {
    return options.batch_size > 1 || options.radius > 0 || outputs.theta_bar;
  }
  // The first tasks are left out in the order or, without one, in the offsets.
  std::int64_t skipped() const { return table.order ? 0 : first; }
  const std::int64_t* order() const { return table.order ? table.order + first : nullptr; }
};

template <class T, class Rule, class Team, int kStride, int kBlocks, bool kExtras, int kThreads>
void launch_tasks(const Call& call, const Shape& shape) {
  const TaskTable& table = call.table;
  const TaskOptions& options = call.options;
  launch(
      call.stream, shape, run_tasks<T, Rule, Team, kStride, kBlocks, kExtras, kThreads>,
      static_cast<const T*>(table.x), static_cast<const T*>(table.y), table.starts + call.skipped(),
      table.stops + call.skipped(), call.order(), call.n_tasks, table.n_features,
      static_cast<const T*>(call.phi), call.phi_stride, static_cast<const T*>(call.rule.rates),
      call.rate_step, call.rule.rate, static_cast<const T*>(call.rule.dampings), call.rule.damping,
      static_cast<int>(options.loss), options.batch_size, options.n_epochs, options.radius,
      call.one_rate, static_cast<T*>(call.outputs.theta_hat), static_cast<T*>(call.outputs.grad_sq),
      static_cast<T*>(call.outputs.theta_bar), call.outputs.loss);
}

template <class T, class Rule, int kLanes, int kBlocks, bool kExtras>
void run_teams(const Call& call) {
  const Shape shape = {divide_up(call.n_tasks * kLanes, kTeamThreads), kTeamThreads};
  launch_tasks<T, Rule, WarpTeam<T, kLanes>, kLanes, kBlocks, kExtras, kTeamThreads>(call, shape);
}

// Long rows want a number for every coordinate: a single rate or damping is repeated in the
// workspace.
template <class T>
TaskRuleArguments spread(const Call& call) {
  TaskRuleArguments rule = call.rule;
  const std::int64_t n = call.table.n_features;
  T* to = static_cast<T*>(call.workspace);
  const auto repeat = [&](const void*& array, std::int64_t step, double number) {
    if (array && step == 1) return;
    launch(call.stream, {divide_up(n, kMetaThreads), kMetaThreads}, repeat_number<T>,
           static_cast<const T*>(array), number, n, to);
    array = to;
    to += n;
  };
  repeat(rule.rates, call.rate_step, rule.rate);
  repeat(rule.dampings, 1, rule.damping);
  return rule;
}

// The most blocks of 32 coordinates that a thread holds: with extras, six arrays of 16 doubles
// leave too few registers for the rest.
template <class T, bool kExtras>
constexpr int kMostBlocks = sizeof(T) == 8 && kExtras ? 4 : 16;

template <class T, class Rule, bool kExtras>
void run_in_registers(const Call& call) {
  const std::int64_t d = call.table.n_features;
  if (d <= 8) return run_teams<T, Rule, 8, 1, kExtras>(call);
  // Steps without extras are what speed is for, and get more shapes.
  if constexpr (!kExtras) {
    if (d <= 16) return run_teams<T, Rule, 16, 1, kExtras>(call);
    if (d > kWarp && d <= 2 * kWarp) return run_teams<T, Rule, kWarp, 2, kExtras>(call);
  }
  if (d <= kWarp) return run_teams<T, Rule, kWarp, 1, kExtras>(call);
  if (d <= 4 * kWarp) return run_teams<T, Rule, kWarp, 4, kExtras>(call);
  if constexpr (kMostBlocks<T, kExtras> == 16) {
    const TaskRuleArguments rule = spread<T>(call);
    const Call spread_call = {call.table,
                              call.options,
                              rule,
                              1,
                              call.one_rate,
                              call.phi,
                              call.phi_stride,
                              call.first,
                              call.n_tasks,
                              call.outputs,
                              call.workspace,
                              call.stream};
    if constexpr (!kExtras)
      if (d <= 8 * kWarp) return run_teams<T, Rule, kWarp, 8, kExtras>(spread_call);
    if (d <= kSegment) return run_teams<T, Rule, kWarp, 16, kExtras>(spread_call);
    const auto n_warps = static_cast<int>(divide_up(d, kSegment));
    launch_tasks<T, Rule, BlockTeam<T>, kWarp, 16, kExtras, kLongThreads>(
        spread_call,
        {call.n_tasks, n_warps * kWarp, 2 * static_cast<std::size_t>(n_warps) * sizeof(T)});
  }
}

template <class T, bool kExtras>
bool fits_registers(const Call& call) {
  const std::int64_t most =
      kMostBlocks<T, kExtras> == 16 ? kLongest : kMostBlocks<T, kExtras> * kWarp;
  // There, the sums of sums of theta and of a long mini-batch would wait in the same outputs.
  const bool crowded = call.outputs.theta_bar && call.options.batch_size > kTermsTogether;
  return call.options.loss != Loss::kSoftmax && call.table.n_features <= most && !crowded;
}

// Where the state of a wide task is, and how many run at a time.
struct WideLayout {
  bool state_is_shared, exchange_is_shared;
  std::int64_t shared_bytes, workspace_stride, totals_offset, n_blocks;
  int n_threads;

  WideLayout(const TaskTable& table, const TaskOptions& options, bool has_theta_bar,
             std::int64_t n_tasks) {
    const std::int64_t item = size_of(table.type), n = table.n_features * options.n_outputs,
                       n_segments = divide_up(table.n_features, kSegment),
                       exchanged = n_exchanged(n_segments, options.n_outputs) * item,
                       scratch = (options.batch_size > 1) + (options.radius > 0),
                       state = (2 + has_theta_bar + scratch) * n * item;
    exchange_is_shared = exchanged <= kSharedBytes;
    state_is_shared = exchanged + state <= kSharedBytes;
    shared_bytes = (exchange_is_shared ? exchanged : 0) + (state_is_shared ? state : 0);
    workspace_stride =
        (exchange_is_shared ? 0 : exchanged / item) + (state_is_shared ? 0 : scratch * n);
    // Whether some task may have so many rounds.
    const bool is_long = table.n_rows > kTermsTogether / options.n_epochs;
    totals_offset = is_long ? workspace_stride : -1;
    if (is_long) workspace_stride += n_totals(has_theta_bar, options.batch_size) * n;
    n_blocks = std::min(n_tasks, kWideBlocks);
    if (workspace_stride > 0)
      n_blocks = std::clamp<std::int64_t>(kWorkspaceBytes / (workspace_stride * item), 1, n_blocks);
    n_threads = static_cast<int>(
                    std::min<std::int64_t>(n_segments * options.n_outputs, kWideThreads / kWarp)) *
                kWarp;
  }

  std::size_t workspace_bytes(Type type) const {
    return static_cast<std::size_t>(n_blocks * workspace_stride * size_of(type));
  }
};

template <class T, class Rule>
void run_wide(const Call& call) {
  const TaskTable& table = call.table;
  const TaskOptions& options = call.options;
  const WideLayout layout(table, options, call.outputs.theta_bar != nullptr, call.n_tasks);
  launch(call.stream,
         {layout.n_blocks, layout.n_threads, static_cast<std::size_t>(layout.shared_bytes)},
         run_wide_tasks<T, Rule>, static_cast<const T*>(table.x), static_cast<const T*>(table.y),
         table.starts + call.skipped(), table.stops + call.skipped(), call.order(), call.n_tasks,
         table.n_features, static_cast<int>(options.n_outputs), static_cast<const T*>(call.phi),
         call.phi_stride, static_cast<const T*>(call.rule.rates), call.rate_step, call.rule.rate,
         static_cast<const T*>(call.rule.dampings), call.rule.damping,
         static_cast<int>(options.loss), options.batch_size, options.n_epochs, options.radius,
         call.one_rate, static_cast<T*>(call.outputs.theta_hat),
         static_cast<T*>(call.outputs.grad_sq), static_cast<T*>(call.outputs.theta_bar),
         call.outputs.loss, static_cast<T*>(call.workspace), layout.workspace_stride,
         layout.state_is_shared, layout.exchange_is_shared, layout.totals_offset);
}

template <class T, class Rule>
void run_rule(const Call& call) {
  if (call.has_extras()) {
    if (fits_registers<T, true>(call)) return run_in_registers<T, Rule, true>(call);
  } else if (fits_registers<T, false>(call)) {
    return run_in_registers<T, Rule, false>(call);
  }
  run_wide<T, Rule>(call);
}

template <class T>
void run_type(const Call& call) {
  switch (call.rule.rule) {
    case kOgdTask:
      return run_rule<T, Ogd>(call);
    case kAdaGradTask:
      return run_rule<T, AdaGrad>(call);
    case kArubaTask:
      return run_rule<T, ArubaPlusPlus>(call);
    default:
      refuse("run_tasks", "`rule`", "be one that CUDA devices know", "'eg'",
             "ogd, adagrad or aruba++");
  }
}

}  // namespace

std::size_t run_tasks_workspace_bytes(const TaskTable& table, const TaskOptions& options,
                                      std::int64_t n_tasks) {
  // Which kernel runs depends on the outputs that are wanted: room for any.
  const std::int64_t spread_rates = 2 * table.n_features * size_of(table.type);
  return std::max({WideLayout(table, options, false, n_tasks).workspace_bytes(table.type),
                   WideLayout(table, options, true, n_tasks).workspace_bytes(table.type),
                   static_cast<std::size_t>(table.n_features <= kLongest ? spread_rates : 0)});
}

void run_tasks_with(const TaskTable& table, const TaskOptions& options,
                    const TaskRuleArguments& rule, std::int64_t rate_step, const void* phi,
                    std::int64_t phi_stride, std::int64_t first, std::int64_t n_tasks,
                    const TaskOutputs& outputs, void* workspace, const Stream& stream) {
  if (n_tasks == 0) return;
  const DeviceGuard guard(stream);
  const bool one_rate = rule.rule == kOgdTask && (!rule.rates || rate_step == 0);
  const Call call = {table,      options, rule,    rate_step, one_rate,  phi,
                     phi_stride, first,   n_tasks, outputs,   workspace, stream};
  by_type("run_tasks", "`x`", table.type, [&](auto zero) { run_type<decltype(zero)>(call); });
}

void run_tasks(const TaskTable& table, const TaskOptions& options, const TaskRuleArguments& rule,
               const void* phi, std::int64_t phi_stride, std::int64_t first, std::int64_t n_tasks,
               const TaskOutputs& outputs, void* workspace, const Stream& stream) {
  run_tasks_with(table, options, rule, 1, phi, phi_stride, first, n_tasks, outputs, workspace,
                 stream);
}

}  // namespace aruba_fast::cuda
