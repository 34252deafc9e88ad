// Sizes of blocks and grids, each with the arithmetic that it comes from: no GPU has been measured.
//
// The yardstick is an H100: 132 multiprocessors (SM) of 2048 threads and 64 K registers, 3.0 TB/s
// from memory with a latency of about 600 ns, so that 1.8 MB, 14 KB an SM, must be on the way all
// the time (Little's law).
#pragma once

#include <cstdint>

namespace aruba_fast::cuda {

// Element-wise kernels: 8 blocks fill an SM. A thread has at least 32 bytes on the way, an SM 64
// KB, more than four times what it takes.
constexpr int kStepThreads = 256;

// A column a thread. 4 tasks of theta_hat and grad_sq at a time are 32 bytes a thread; 60 registers
// leave room for 1024 threads an SM: 32 KB on the way.
constexpr int kReduceThreads = 128;
constexpr int kTasksAtOnce = 4;
// A round of a million tasks has 7813 chunks, merged one after another by each column's thread: 4
// on their way at a time make that 1.2 ms of latency instead of 4.7.
constexpr int kChunksAtOnce = 4;
// With this many columns (a thread each, 496 an SM and 16 KB on the way) all chunks of a column are
// summed by one thread; with fewer, every chunk has a thread of its own, and 48 bytes a column and
// chunk (5 % of its 1024 bytes of float32) are written and read again.
constexpr std::int64_t kColumnsForOnePass = 65536;

constexpr int kMetaThreads = 256;

// Tasks of up to a segment: several teams a block, so that an SM can be full (it takes 32 blocks).
constexpr int kTeamThreads = 128;
// Longer ones: a segment a warp, up to 4096 features.
constexpr int kLongThreads = 256;
// Whatever does not fit registers: up to 8 warps a task. Four blocks an SM fill an H100 with 528
// tasks; more would only need more workspace.
constexpr int kWideThreads = 256;
constexpr std::int64_t kWideBlocks = 528;

}  // namespace aruba_fast::cuda
