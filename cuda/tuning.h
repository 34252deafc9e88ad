// Sizes of blocks and grids, and what each architecture asks of a kernel: each number with where it
// comes from, for no GPU has been measured by us.
#pragma once

#include <cstdint>

namespace aruba_fast::cuda {

// ---- by architecture ----

// Memory is busy while every multiprocessor (SM) has so much on the way that its latency is covered
// (Little's law). What kernels need is more than bandwidth x latency of an idle memory; NVIDIA
// measured it for CUB's transform, whose kernels read and write: `arch_to_min_bytes_in_flight` in
// cub/device/dispatch/tuning/tuning_transform.cuh of CCCL 3.0, and of later ones for the B200.
//
//               data sheet, SMs        x 600 ns an SM   CUB's
//   sm_75  T4        0.32 TB/s,  40      4.8 KB         12 KiB ("V100 and below")
//   sm_80  A100      2.04 TB/s, 108     11.3 KB         16 KiB
//   sm_86  RTX 3090  0.94 TB/s,  82      6.9 KB         16 KiB (from sm_80 on)
//   sm_89  RTX 4090  1.01 TB/s, 128      4.7 KB         16 KiB (from sm_80 on)
//   sm_90  H100      3.35 TB/s, 132     15.2 KB         32 KiB
//          H200      4.80 TB/s, 132     21.8 KB         48 KiB
//   sm_100 B200      8.00 TB/s, 148     32.4 KB         64 KiB
//   sm_120 RTX 5090  1.79 TB/s, 170      6.3 KB         64 KiB (from sm_100 on: the B200's)
//
// An sm_90 may be an H200. An SM of the RTX 5090 has a fifth of the bandwidth of a B200's: 16 KiB
// as for an A100, 2.5 times what the law asks.
struct Tuning {
  int architecture;     // 10 x compute capability
  int bytes_in_flight;  // that an SM should have on the way

  // The reduction over tasks: blocks an SM, which ration a thread's registers, and the bytes that a
  // thread asks for before it waits. sm_90: 768 threads of 64 bytes, 48 KiB; with a block more,
  // ptxas spills. sm_100: 512 of 128, 64 KiB; with a block more, or two more and 96 bytes, it
  // spills. The others: 896 of 32, 28 KiB, for the fewest registers.
  int reduce_blocks, reduce_bytes;

  // With this many columns, a thread each, a device has its bytes on the way, and one thread sums
  // all chunks of a column; with fewer, every chunk has a thread of its own, and 48 bytes a column
  // and chunk (5 % of its 1024 bytes of float32) are written and read again.
  constexpr std::int64_t columns_for_one_pass(int n_multiprocessors) const {
    return std::int64_t{n_multiprocessors} * bytes_in_flight / reduce_bytes;
  }
};

constexpr int kReduceThreads = 128;

constexpr Tuning kTunings[] = {
    {75, 12 * 1024, 7, 32},  {80, 16 * 1024, 7, 32}, {86, 16 * 1024, 7, 32},
    {89, 16 * 1024, 7, 32},  {90, 48 * 1024, 6, 64}, {100, 64 * 1024, 4, 128},
    {120, 16 * 1024, 7, 32},
};

// That of the newest architecture that is not newer.
constexpr const Tuning& tuning_of(int architecture) {
  const Tuning* found = kTunings;
  for (const Tuning& each : kTunings)
    if (each.architecture <= architecture) found = &each;
  return *found;
}

// That of the architecture that device code is compiled for. Host code asks the device instead.
#if defined(__CUDA_ARCH__)
constexpr Tuning kTuning = tuning_of(__CUDA_ARCH__ / 10);
#else
constexpr Tuning kTuning = tuning_of(90);
#endif
static_assert(kTuning.reduce_blocks * kReduceThreads * kTuning.reduce_bytes >=
              kTuning.bytes_in_flight);

// Tasks whose theta_hat and grad_sq a thread of the reduction asks for at once.
template <class T>
constexpr int kTasksAtOnce = kTuning.reduce_bytes / (2 * static_cast<int>(sizeof(T)));

// From so many columns on there is one pass on every device: more than any of the table's needs.
constexpr std::int64_t kMostColumnsOfChunks = std::int64_t{1} << 17;

// ---- for all of them ----

// Element-wise kernels: four to eight blocks fit an SM. A thread asks for 24 to 64 bytes at once.
constexpr int kStepThreads = 256;

// A round of a million tasks has 7813 chunks, merged one after another by each column's thread: 4
// on their way at a time make that 1.2 ms of latency instead of 4.7.
constexpr int kChunksAtOnce = 4;

constexpr int kMetaThreads = 256;

// Kernels that mostly find nothing to do stride over their work with at most so many blocks an SM.
constexpr std::int64_t kIdleBlocks = 16;

// Tasks of up to a segment: several teams a block, so that an SM can be full (it takes 32 blocks).
constexpr int kTeamThreads = 128;
// Longer ones: a segment a warp, up to 4096 features.
constexpr int kLongThreads = 256;
// Whatever does not fit registers: up to 8 warps a task. Four blocks an SM fill an H100 with 528
// tasks; more would only need more workspace.
constexpr int kWideThreads = 256;
constexpr std::int64_t kWideBlocks = 528;

}  // namespace aruba_fast::cuda
