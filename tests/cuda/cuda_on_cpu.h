// Runs CUDA kernels on the CPU: what tests ask of the machine, and what cuda_runtime.h needs of it.
//
// One fiber a CUDA thread, all on the calling thread; blocks run one after another. A fiber runs
// until it meets a barrier or a warp collective and goes on when all who must have arrived. Found
// without a sanitizer: barriers and collectives that not every thread reaches, or that threads
// reach at different lines; lanes that are named but gone; reads of unwritten shared memory (it is
// filled with nans); results that depend on the order of blocks or threads. With AddressSanitizer:
// accesses outside shared and global memory. With ThreadSanitizer: data races, between blocks too;
// __syncthreads and __syncwarp order memory, shuffles do not.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <source_location>
#include <stdexcept>
#include <string>

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
};

namespace cuda_on_cpu {

// A kernel did what a GPU does not define.
struct Fault : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// In which order blocks start and threads go on: 0 ascending, 1 descending, else shuffled by this
// seed. The environment variable CUDA_ON_CPU_ORDER sets the first one.
void set_order(unsigned order);

// What was called since the last reset.
struct Counts {
  std::int64_t launches, copies, allocations, synchronizations, waits;  // waits for events
};
Counts counts();
void reset_counts();
// Where the last launch went.
int last_device();
void* last_stream();

// The next call of this name of the runtime ("cudaMemcpyAsync", "cudaLaunchKernelEx", ...) fails
// with `error`; a name of "" takes that back.
void fail_next(const char* call, int error);
// The number of devices that the runtime reports; 0 with `error` where there is no driver.
void set_devices(int n, int error = 0);
// Whether kernels are launched and do nothing: for whoever counts what a launch takes of the host.
inline std::atomic<bool> idle{false};
// What streams do, when, and what they remember: streams.h.

// ---- for cuda_runtime.h ----

void run(dim3 grid, dim3 block, std::size_t shared_bytes, const std::function<void()>& body);
unsigned char* shared_memory();
void barrier(std::source_location at);

enum class Collective { kShuffle, kBallot, kSyncWarp };
// What lane `source` of the warp brings (kShuffle), or a bit for every lane that brings not zero.
std::uint64_t collective(Collective kind, unsigned mask, std::uint64_t value, int source,
                         std::source_location at);
int lane();

}  // namespace cuda_on_cpu
