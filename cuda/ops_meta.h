// Across tasks, in device memory: the statistics of a round, their merging, and the meta-update.
//
// All pointers are device memory. Nothing is read back: counts and weights live on the device, and
// a round with tasks that are not finite is summed again by kernels that look at a flag there.
#pragma once

#include <cstddef>

#include "cpp/ops_meta.h"
#include "device.h"

namespace aruba_fast::cuda {

// Sums over the tasks of a round: six rows of n (distance, grad_sq, theta; each high, low), the
// weight (high, low), and the counts (n_tasks, n_skipped).
struct DeviceStatistics {
  double* sums;
  double* weight;
  std::int64_t* counts;
};

// Memory that add_round may scribble on; 16-byte aligned.
std::size_t add_round_workspace_bytes(std::int64_t n_tasks, std::int64_t n);

// Adds a round to `into`. `skipped`, if not null, gets a one for every task that was skipped. Where
// the sums overflow although every task is finite, they are left infinite: aruba_fast::add_round
// throws there, which would need a synchronization. `again`, if not null, is a flag of the device:
// the same round with other weights, in the workspace that it was summed in; where it is not
// raised, with the same result.
void add_round(const RoundArrays& round, const DeviceStatistics& into, std::uint8_t* skipped,
               void* workspace, const Stream& stream, const unsigned* again = nullptr);

void merge(const DeviceStatistics& into, const DeviceStatistics& other, std::int64_t n,
           const Stream& stream);

// Memory that apply may scribble on; 16-byte aligned.
std::size_t apply_workspace_bytes(const MetaState& state);

// As MetaState::apply with a state in device memory. meta_step (host memory) null: the running
// mean, or a number of the device, `step_there`.
void apply(const MetaState& state, const DeviceStatistics& statistics, const double* meta_step,
           void* workspace, const Stream& stream, const double* step_there = nullptr);

}  // namespace aruba_fast::cuda
