// Across tasks, in device memory: the statistics of a round, their merging, and the meta-update.
#include "ops_meta.h"

#include <algorithm>

#include "meta-inl.cuh"
#include "reduce-inl.cuh"
#include "spread-inl.cuh"

namespace aruba_fast::cuda {
namespace {

constexpr std::int64_t kMostRows = 65535;  // of a grid

std::int64_t blocks_for(std::int64_t n, int n_threads) { return divide_up(n, n_threads); }

// Of a device with so many columns for one pass; without, what holds for every device.
bool in_one_pass(std::int64_t n_tasks, std::int64_t n,
                 std::int64_t columns = kMostColumnsOfChunks) {
  return n_tasks <= kTaskChunk || n >= std::min(columns, kMostColumnsOfChunks);
}

// Memory of add_round: a flag whether some sum is not finite, a flag for every task, the result,
// the partial sums of chunks, and what the tasks spread and are shortened by.
struct RoundMemory {
  unsigned *any, *flags;
  double *result, *partials, *spreads, *by;
  std::size_t flag_bytes, bytes;

  RoundMemory(void* workspace, std::int64_t n_tasks, std::int64_t n) {
    auto* at = static_cast<unsigned char*>(workspace);
    const auto take = [&](std::int64_t size) {
      unsigned char* part = at;
      at += divide_up(size, 16) * 16;
      return part;
    };
    any = reinterpret_cast<unsigned*>(take(16));
    flags = reinterpret_cast<unsigned*>(take(4 * n_tasks));
    flag_bytes = static_cast<std::size_t>(16 + 4 * n_tasks);
    result = reinterpret_cast<double*>(take(8 * sum_row(n)));
    const std::int64_t n_rows = in_one_pass(n_tasks, n) ? 0 : divide_up(n_tasks, kTaskChunk);
    auto* rows = take(8 * sum_row(n) * n_rows);
    partials = n_rows == 0 ? nullptr : reinterpret_cast<double*>(rows);
    spreads = reinterpret_cast<double*>(take(8 * n_tasks * divide_up(n, kSegment)));
    by = reinterpret_cast<double*>(take(8 * n_tasks));
    bytes = static_cast<std::size_t>(at - static_cast<unsigned char*>(workspace));
  }
};

template <class T, bool kLimited>
void add_round_of(const RoundArrays& round, const DeviceStatistics& into, std::uint8_t* skipped,
                  const RoundMemory& memory, const Stream& stream, const unsigned* again) {
  using R = Round<T, kLimited>;
  const auto without = [&](const unsigned* skip) {
    return R{.theta_hat = static_cast<const T*>(round.theta_hat),
             .grad_sq = static_cast<const T*>(round.grad_sq),
             .phi = static_cast<const T*>(round.phi),
             .weights = round.weights,
             .skip = skip,
             .n_tasks = round.n_tasks,
             .n = round.n,
             .by = memory.by};
  };
  const std::int64_t n_tasks = round.n_tasks, n = round.n;
  const std::int64_t n_columns = blocks_for(n + 1, kReduceThreads),
                     n_chunks = divide_up(n_tasks, kTaskChunk);
  const DeviceFacts device = facts_of_device(stream.device);
  const std::int64_t most_idle_blocks = device.idle_blocks();
  const bool one_pass = in_one_pass(
      n_tasks, n, tuning_of(device.architecture).columns_for_one_pass(device.n_multiprocessors));
  const auto sum = [&](const unsigned* skip, const unsigned* wanted, unsigned* not_finite,
                       std::int64_t n_rows) {
    const Shape columns = {n_columns, kReduceThreads};
    const Result result = {memory.result, wanted, not_finite};
    if (one_pass)
      return launch(stream, columns, sum_columns<T, kLimited>, without(skip), into, result);
    launch(stream, {n_columns, kReduceThreads, 0, std::min(n_rows, n_chunks)},
           sum_chunks<T, kLimited>, without(skip), wanted, memory.partials);
    launch(stream, columns, merge_chunks, memory.partials, n_chunks, n, into, result);
  };
  if constexpr (kLimited) {
    const std::int64_t n_segments = divide_up(n, kSegment);
    const Shape rows = {blocks_for(n_segments * kWarp, kReduceThreads), kReduceThreads, 0,
                        std::min(n_tasks, kMostRows)},
                tasks = {blocks_for(n_tasks * kWarp, kReduceThreads), kReduceThreads};
    if (!again) {
      launch(stream, rows, spread_tasks<T>, without(nullptr), static_cast<const T*>(round.rates),
             round.limit, memory.spreads);
      launch(stream, tasks, find_shortenings, memory.spreads, n_segments, n_tasks, round.limit,
             memory.by);
    }
  }
  check(cudaMemsetAsync(memory.any, 0, memory.flag_bytes, handle_of(stream)), "cudaMemsetAsync");
  sum(nullptr, again, memory.any, kMostRows);
  const std::int64_t wide = std::min(blocks_for(n, kReduceThreads), most_idle_blocks);
  launch(stream, {wide, kReduceThreads, 0, std::min(n_tasks, divide_up(most_idle_blocks, wide))},
         find_not_finite<T, kLimited>, without(nullptr), memory.any, memory.flags);
  sum(memory.flags, memory.any, nullptr, divide_up(most_idle_blocks, n_columns));
  launch(stream,
         {std::min(blocks_for(std::max(6 * n, n_tasks), kReduceThreads), most_idle_blocks),
          kReduceThreads},
         commit_sums, memory.result, n, SkippedTasks{n_tasks, memory.any, memory.flags, skipped},
         into);
}

// The rates by the prior of one average task, and the limit of the next round.
template <class T>
void apply_average_task(const MetaState& state, MetaWork* work, double* memory,
                        const Stream& stream) {
  const TensorSums sums(memory, state.tensors);
  double* spreads = sums.b_of_pieces;  // which the tensors' sums have made superfluous
  const auto warps = [](std::int64_t n, std::int64_t n_rows = 1) {
    return Shape{blocks_for(n * kWarp, kMetaThreads), kMetaThreads, 0, n_rows};
  };
  launch(stream, warps(state.tensors.n_pieces, 2), sum_pieces, state, work, sums);
  launch(stream, warps(state.tensors.n, 2), sum_tensors, state, work, sums);
  launch(stream, {1, kWarp}, sum_all, state, work, sums);
  launch(stream, warps(state.tensors.n_pieces), find_rates<T>, state, work, sums, spreads);
  launch(stream, {1, kWarp}, find_limit, state, work, spreads);
}

constexpr std::size_t kLaneBytes = kSumLanes * sizeof(Twofold<double>);

template <class T>
void apply_to(const MetaState& state, const DeviceStatistics& statistics, const double* meta_step,
              void* workspace, const Stream& stream, const double* step_there) {
  auto* work = static_cast<MetaWork*>(workspace);
  const ChosenStep chosen = {meta_step != nullptr, meta_step ? *meta_step : 0.0};
  launch(stream, {1, kSumLanes, kLaneBytes}, prepare_meta, state, state.rate_cap(), statistics,
         chosen, work);
  if (step_there) launch(stream, {1, 1}, choose_step, step_there, work);
  const Shape coordinates = {blocks_for(state.n, kMetaThreads), kMetaThreads};
  launch(stream, coordinates, check_meta<T>, state, statistics.sums, work);
  launch(stream, {blocks_for(divide_up(state.n, 2), kMetaThreads), kMetaThreads}, update_meta<T>,
         state, statistics.sums, work);
  if (state.parameters.average_task)
    return apply_average_task<T>(state, work, reinterpret_cast<double*>(work + 1), stream);
  if (!state.parameters.isotropic) return;
  const std::int64_t n_segments = divide_up(state.n, kSumSegment);
  auto* segments = reinterpret_cast<Twofold<double>*>(work + 1);
  launch(stream, {n_segments, kSumLanes, kLaneBytes, 2}, sum_segments, state.b, state.g, state.n,
         work, segments);
  launch(stream, {1, kSumLanes, kLaneBytes}, total_segments, segments, n_segments, work);
  launch(stream, coordinates, fill_rates<T>, state, work);
}

}  // namespace

std::size_t add_round_workspace_bytes(std::int64_t n_tasks, std::int64_t n) {
  return RoundMemory(nullptr, n_tasks, n).bytes;
}

void add_round(const RoundArrays& round, const DeviceStatistics& into, std::uint8_t* skipped,
               void* workspace, const Stream& stream, const unsigned* again) {
  if (round.n_tasks == 0) return;
  const DeviceGuard guard(stream);
  const RoundMemory memory(workspace, round.n_tasks, round.n);
  by_type("statistics", "`theta_hat`", round.type, [&](auto zero) {
    using T = decltype(zero);
    if (round.limit) add_round_of<T, true>(round, into, skipped, memory, stream, again);
    else add_round_of<T, false>(round, into, skipped, memory, stream, again);
  });
}

void merge(const DeviceStatistics& into, const DeviceStatistics& other, std::int64_t n,
           const Stream& stream) {
  const DeviceGuard guard(stream);
  launch(stream, {blocks_for(divide_up(n, 2), kMetaThreads), kMetaThreads}, merge_sums, into, other,
         n);
}

std::size_t apply_workspace_bytes(const MetaState& state) {
  const auto doubles = state.parameters.average_task ? TensorSums::size(state.tensors)
                                                     : 2 * divide_up(state.n, kSumSegment) * 2;
  return sizeof(MetaWork) + static_cast<std::size_t>(doubles) * sizeof(double);
}

void apply(const MetaState& state, const DeviceStatistics& statistics, const double* meta_step,
           void* workspace, const Stream& stream, const double* step_there) {
  const DeviceGuard guard(stream);
  by_type("apply", "`phi`", state.type, [&](auto zero) {
    apply_to<decltype(zero)>(state, statistics, meta_step, workspace, stream, step_there);
  });
}

}  // namespace aruba_fast::cuda
