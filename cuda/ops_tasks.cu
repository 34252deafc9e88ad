// Rounds of whole tasks in device memory.
#include "ops_tasks.h"

#include <algorithm>

#include "tasks-inl.cuh"
#include "wide-inl.cuh"

namespace aruba_fast::cuda {
namespace {

constexpr std::int64_t kSharedBytes = 48 * 1024;  // what every device gives without being asked
constexpr std::int64_t kLongest = kLongThreads / kWarp * kSegment;
// A workspace of about this size is worth having for more blocks at a time.
constexpr std::int64_t kWorkspaceBytes = std::int64_t{1} << 28;

struct Call {
  const TaskRound& round;
  void* workspace;
  const Stream& stream;

  const TaskTable& table() const { return round.table; }
  const TaskOptions& options() const { return round.options; }
  bool is_plain() const {
    return options().batch_size == 1 && !(options().radius > 0) && !round.outputs.theta_bar;
  }
};

template <class T>
TaskRun<T> run_of(const Call& call) {
  const TaskRound& round = call.round;
  const TaskTable& table = round.table;
  // The first tasks are left out in the order or, without one, in the offsets.
  const std::int64_t skipped = table.order ? 0 : round.first;
  const std::int64_t row_bytes = table.widening ? table.widening.bytes_of(table.n_features)
                                                : table.n_features * size_of(table.type);
  TaskRun<T> run{.x = static_cast<const unsigned char*>(table.x),
                 .row_bytes = row_bytes,
                 .widening = table.widening,
                 .y = static_cast<const T*>(table.y),
                 .starts = table.starts + skipped,
                 .stops = table.stops + skipped,
                 .order = table.order ? table.order + round.first : nullptr,
                 .n_tasks = round.n_tasks,
                 .n_features = table.n_features,
                 .n_outputs = static_cast<int>(round.options.n_outputs),
                 .phi = static_cast<const T*>(round.phi),
                 .phi_stride = round.phi_stride,
                 .parameters = {},
                 .loss_kind = round.options.loss,
                 .batch_size = round.options.batch_size,
                 .n_epochs = round.options.n_epochs,
                 .radius = static_cast<T>(round.options.radius),
                 .one_rate = facts_of(round.rule.rule).rate_is_given &&
                             (!round.rule.arrays[0] || round.one_for_all),
                 .theta_hat = static_cast<T*>(round.outputs.theta_hat),
                 .grad_sq = static_cast<T*>(round.outputs.grad_sq),
                 .theta_bar = static_cast<T*>(round.outputs.theta_bar),
                 .loss = round.outputs.loss};
  for (int i = 0; i < kMostParameters; ++i)
    run.parameters[i] = {.array = static_cast<const T*>(round.rule.arrays[i]),
                         .step = i == 0 && round.one_for_all ? 0 : 1,
                         .number = static_cast<T>(round.rule.numbers[i])};
  return run;
}

template <class T, class Rule, int kLanes, int kBlocks, bool kPlain>
void run_teams(const TaskRun<T>& run, const Stream& stream) {
  const Shape shape = {divide_up(run.n_tasks * kLanes, kTeamThreads), kTeamThreads};
  launch(stream, shape,
         run_tasks<T, Rule, WarpTeam<T, kLanes>, kLanes, kBlocks, kPlain, kTeamThreads>, run);
}

// Long rows want a number for every coordinate: a single one is repeated in the workspace.
template <class T, class Rule>
void spread(TaskRun<T>& run, const Call& call) {
  const std::int64_t n = run.n_features;
  T* to = static_cast<T*>(call.workspace);
  for (int i = 0; i < kParametersOf<Rule>; ++i) {
    PerCoordinate<T>& one = run.parameters[i];
    if (one.array && one.step == 1) continue;
    launch(call.stream, {divide_up(n, kMetaThreads), kMetaThreads}, repeat_number<T>, one.array,
           call.round.rule.numbers[i], n, to);
    one = {.array = to, .step = 1, .number = T(0)};
    to += n;
  }
}

// The most blocks of 32 coordinates that a thread holds: theta, the state, two rows of x and,
// unless plain, three more arrays leave too few registers for the rest where they are 6 of 16
// doubles.
template <class T, class Rule, bool kPlain>
constexpr int kBlocksHeld =
    (3 + kStatesOf<Rule> + (kPlain ? 0 : 3)) * 16 * sizeof(T) / 4 > 160 ? 4 : 16;

template <class T, class Rule, bool kPlain>
void run_in_registers(const Call& call) {
  TaskRun<T> run = run_of<T>(call);
  const Stream& stream = call.stream;
  const std::int64_t d = run.n_features;
  if (d <= 8) return run_teams<T, Rule, 8, 1, kPlain>(run, stream);
  // Plain steps are what speed is for, and get more shapes.
  if constexpr (kPlain) {
    if (d <= 16) return run_teams<T, Rule, 16, 1, kPlain>(run, stream);
    if (d > kWarp && d <= 2 * kWarp) return run_teams<T, Rule, kWarp, 2, kPlain>(run, stream);
  }
  if (d <= kWarp) return run_teams<T, Rule, kWarp, 1, kPlain>(run, stream);
  if (d <= 4 * kWarp) return run_teams<T, Rule, kWarp, 4, kPlain>(run, stream);
  if constexpr (kBlocksHeld<T, Rule, kPlain> == 16) {
    spread<T, Rule>(run, call);
    if constexpr (kPlain)
      if (d <= 8 * kWarp) return run_teams<T, Rule, kWarp, 8, kPlain>(run, stream);
    if (d <= kSegment) return run_teams<T, Rule, kWarp, 16, kPlain>(run, stream);
    const auto n_warps = static_cast<int>(divide_up(d, kSegment));
    const Shape shape = {run.n_tasks, n_warps * kWarp,
                         2 * static_cast<std::size_t>(n_warps) * sizeof(T)};
    launch(stream, shape, run_tasks<T, Rule, BlockTeam<T>, kWarp, 16, kPlain, kLongThreads>, run);
  }
}

template <class T, class Rule, bool kPlain>
bool fits_registers(const Call& call) {
  constexpr std::int64_t kMost =
      kBlocksHeld<T, Rule, kPlain> == 16 ? kLongest : kBlocksHeld<T, Rule, kPlain> * kWarp;
  // There, the sums of sums of theta and of a long mini-batch would wait in the same outputs.
  const bool crowded = call.round.outputs.theta_bar && call.options().batch_size > kTermsTogether;
  return !facts_of(call.options().loss).has_classes && call.table().n_features <= kMost && !crowded;
}

// Where the state of a wide task is, and how many run at a time.
struct WideLayout {
  bool state_is_shared, exchange_is_shared, rows_are_shared;
  std::int64_t shared_bytes, workspace_stride, totals_offset, rows_offset, n_blocks;
  int n_threads;

  WideLayout(const TaskTable& table, const TaskOptions& options, int n_states, bool has_theta_bar,
             std::int64_t n_tasks) {
    const std::int64_t item = size_of(table.type), n = table.n_features * options.n_outputs,
                       n_segments = divide_up(table.n_features, kSegment),
                       exchanged = n_exchanged(n_segments, options.n_outputs) * item,
                       scratch = (options.batch_size > 1) + (options.radius > 0) + n_states - 1,
                       state = (2 + has_theta_bar + scratch) * n * item;
    exchange_is_shared = exchanged <= kSharedBytes;
    state_is_shared = exchanged + state <= kSharedBytes;
    shared_bytes = (exchange_is_shared ? exchanged : 0) + (state_is_shared ? state : 0);
    workspace_stride =
        (exchange_is_shared ? 0 : exchanged / item) + (state_is_shared ? 0 : scratch * n);
    const std::int64_t rows = table.widening ? 2 * table.n_features : 0;
    rows_are_shared = shared_bytes + rows * item <= kSharedBytes;
    rows_offset = rows_are_shared ? shared_bytes / item : workspace_stride;
    (rows_are_shared ? shared_bytes : workspace_stride) += rows_are_shared ? rows * item : rows;
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
  const WideLayout layout(call.table(), call.options(), kStatesOf<Rule>,
                          call.round.outputs.theta_bar != nullptr, call.round.n_tasks);
  const WidePlaces<T> places = {.workspace = static_cast<T*>(call.workspace),
                                .stride = layout.workspace_stride,
                                .state_is_shared = layout.state_is_shared,
                                .exchange_is_shared = layout.exchange_is_shared,
                                .totals_offset = layout.totals_offset,
                                .rows_are_shared = layout.rows_are_shared,
                                .rows_offset = layout.rows_offset};
  launch(call.stream,
         {layout.n_blocks, layout.n_threads, static_cast<std::size_t>(layout.shared_bytes)},
         run_wide_tasks<T, Rule>, run_of<T>(call), places);
}

template <class T, class Rule>
void run_rule(const Call& call) {
  if (call.is_plain()) {
    if (fits_registers<T, Rule, true>(call)) return run_in_registers<T, Rule, true>(call);
  } else if (fits_registers<T, Rule, false>(call)) {
    return run_in_registers<T, Rule, false>(call);
  }
  run_wide<T, Rule>(call);
}

template <class T>
void run_type(const Call& call) {
  switch (call.round.rule.rule) {
#define ARUBA_CASE(Rule)  \
  case TaskRule::k##Rule: \
    return run_rule<T, Rule>(call);
    ARUBA_TASK_RULES(ARUBA_CASE)
#undef ARUBA_CASE
    case TaskRule::kExponentiatedGradient:
      refuse("run_tasks", "`rule`", "be one that CUDA devices know", "'eg'",
             task_rule_names(kTaskRules));
  }
}

}  // namespace

std::size_t run_tasks_workspace_bytes(const TaskTable& table, const TaskOptions& options,
                                      TaskRule rule, std::int64_t n_tasks) {
  // Which kernel runs depends on the outputs that are wanted: room for any.
  const TaskRuleFacts& facts = facts_of(rule);
  const auto wide = [&](bool has_theta_bar) {
    return WideLayout(table, options, facts.n_states, has_theta_bar, n_tasks)
        .workspace_bytes(table.type);
  };
  const auto spread =
      static_cast<std::size_t>(table.n_features * size_of(table.type)) * facts.parameters.size();
  return std::max({wide(false), wide(true), table.n_features <= kLongest ? spread : 0});
}

void run_tasks(const TaskRound& round, void* workspace, const Stream& stream) {
  if (round.n_tasks == 0) return;
  const DeviceGuard guard(stream);
  const Call call = {round, workspace, stream};
  by_type("run_tasks", "`x`", round.table.type, [&](auto zero) { run_type<decltype(zero)>(call); });
}

}  // namespace aruba_fast::cuda
