// Tests of the CUDA-on-CPU machine itself: what it computes, and what it must find.
#include <cmath>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "cuda_runtime.h"
#include "expect.h"

namespace {

using cuda_on_cpu::Fault;

template <class... P, class... A>
void launch(unsigned grid, unsigned block, std::size_t shared, void (*kernel)(P...), A... a) {
  const cudaLaunchConfig_t config{grid, block, shared, nullptr, nullptr, 0};
  expect_equal(int{cudaLaunchKernelEx(&config, kernel, a...)}, 0);
}

float* shared_floats() { return reinterpret_cast<float*>(cuda_on_cpu::shared_memory()); }

__global__ void number(int* out) {
  out[blockIdx.x * blockDim.x + threadIdx.x] = static_cast<int>(threadIdx.x + 1000 * blockIdx.x);
}

__global__ void sum_by_shuffles(float* out) {
  float v = static_cast<float>(threadIdx.x % 32);
  for (int bits = 16; bits > 0; bits /= 2) v += __shfl_xor_sync(0xffffffffU, v, bits);
  out[threadIdx.x] = v;
}

// Four groups of eight lanes, each with a mask and a number of turns of its own.
__global__ void sum_by_groups(double* out) {
  const unsigned lane = threadIdx.x % 32, group = lane / 8, mask = 0xffU << (8 * group);
  double v = lane;
  for (unsigned turn = 0; turn <= group; ++turn)
    for (int bits = 4; bits > 0; bits /= 2) v += __shfl_xor_sync(mask, v, bits, 8);
  out[threadIdx.x] = v;
}

__global__ void broadcast(int* out) {
  out[threadIdx.x] = __shfl_sync(0xffffffffU, static_cast<int>(threadIdx.x), 5, 16);
}

__global__ void ballot(unsigned* out) {
  out[threadIdx.x] = __ballot_sync(0xffffffffU, threadIdx.x % 3 == 0);
}

// Every thread hands its number on to the next, `turns` times, through shared memory.
__global__ void pass_on(float* out, int turns) {
  float* at = shared_floats();
  const unsigned i = threadIdx.x, next = (i + 1) % blockDim.x;
  at[i] = static_cast<float>(i);
  __syncthreads();
  for (int turn = 0; turn < turns; ++turn) {
    const float v = at[i];
    __syncthreads();
    at[next] = v;
    __syncthreads();
  }
  out[i] = at[i];
}

__global__ void read_unwritten(float* out) { out[threadIdx.x] = shared_floats()[threadIdx.x]; }

__global__ void half_at_barrier(float* out) {
  if (threadIdx.x < 16) __syncthreads();
  else out[0] = __shfl_xor_sync(0xffff0000U, 1.0F, 1) + __shfl_xor_sync(0xffffffffU, 1.0F, 1);
}

__global__ void two_barriers() {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}

__global__ void odd_lanes_shuffle(float* out) {
  if (threadIdx.x % 2) out[threadIdx.x] = __shfl_xor_sync(0xffffffffU, 1.0F, 1);
}

__global__ void half_shuffles(float* out) {
  if (threadIdx.x < 16) out[threadIdx.x] = __shfl_xor_sync(0xffffffffU, 1.0F, 1);
  else __syncthreads();
}

__global__ void wrong_mask(float* out) { out[threadIdx.x] = __shfl_xor_sync(2U, 1.0F, 1); }
__global__ void wrong_source(float* out) { out[threadIdx.x] = __shfl_xor_sync(1U, 1.0F, 1); }

__global__ void gone_lane(float* out) {
  if (threadIdx.x == 3) return;
  __syncwarp(0xfffffff7U);
  __syncwarp(0xfffffff7U);
  out[threadIdx.x] = __shfl_xor_sync(0xffffffffU, 1.0F, 1);
}

__global__ void last_thread_wins(int* out) { *out = static_cast<int>(threadIdx.x); }
__global__ void last_block_wins(int* out) { *out = static_cast<int>(blockIdx.x); }

__global__ void add_up(unsigned* out) { atomicOr(out, 1U << threadIdx.x % 32); }

// A shuffle orders no memory: what lane 0 wrote, the others must not read after it.
__global__ void read_after_shuffle(float* out) {
  float* at = shared_floats();
  if (threadIdx.x == 0) at[0] = 1;
  out[threadIdx.x] = __shfl_sync(0xffffffffU, 2.0F, 0) + at[0];
}

__global__ void read_after_syncwarp(float* out) {
  float* at = shared_floats();
  if (threadIdx.x == 0) at[0] = 1;
  __syncwarp();
  out[threadIdx.x] = at[0];
}

// Races on purpose, for ThreadSanitizer to report.
void race(const std::string& which) {
  int last = 0;
  std::vector<float> out(32);
  if (which == "threads") launch(1, 8, 0, last_thread_wins, &last);
  if (which == "blocks") launch(8, 1, 0, last_block_wins, &last);
  if (which == "shuffle") launch(1, 32, 4, read_after_shuffle, out.data());
}

void test_what_is_computed() {
  for (unsigned order = 0; order < 5; ++order) {
    cuda_on_cpu::set_order(order);
    std::vector<int> numbers(6);
    launch(2, 3, 0, number, numbers.data());
    expect(numbers == std::vector<int>({0, 1, 2, 1000, 1001, 1002}), "numbers");
    std::vector<float> sums(96);
    launch(1, 96, 0, sum_by_shuffles, sums.data());
    for (const float sum : sums) expect_equal(sum, 496.0F);
    std::vector<double> group_sums(32);
    launch(1, 32, 0, sum_by_groups, group_sums.data());
    for (int i = 0; i < 32; ++i)
      expect_equal(group_sums[static_cast<std::size_t>(i)],
                   (28.0 + 64.0 * (i / 8)) * std::pow(8.0, i / 8));
    std::vector<int> got(32);
    launch(1, 32, 0, broadcast, got.data());
    for (int i = 0; i < 32; ++i) expect_equal(got[static_cast<std::size_t>(i)], i / 16 * 16 + 5);
    std::vector<unsigned> ballots(32);
    launch(1, 32, 0, ballot, ballots.data());
    for (const unsigned each : ballots) expect_equal(each, 0x49249249U);
    std::vector<float> passed(100);
    launch(1, 100, 400, pass_on, passed.data(), 7);
    for (int i = 0; i < 100; ++i)
      expect_equal(passed[static_cast<std::size_t>(i)], static_cast<float>((i + 93) % 100));
    std::vector<float> ordered(32);
    launch(1, 32, 4, read_after_syncwarp, ordered.data());
    for (const float each : ordered) expect_equal(each, 1.0F);
    unsigned bits = 0;
    launch(1, 64, 0, add_up, &bits);
    expect_equal(bits, 0xffffffffU);
  }
}

// The order of blocks and threads decides: a race, so not under ThreadSanitizer.
[[maybe_unused]] void test_order() {
  int last = 0;
  cuda_on_cpu::set_order(0);
  launch(1, 8, 0, last_thread_wins, &last);
  expect_equal(last, 7);
  launch(8, 1, 0, last_block_wins, &last);
  expect_equal(last, 7);
  cuda_on_cpu::set_order(1);
  launch(1, 8, 0, last_thread_wins, &last);
  expect_equal(last, 0);
  launch(8, 1, 0, last_block_wins, &last);
  expect_equal(last, 0);
}

void test_faults() {
  cuda_on_cpu::set_order(0);
  std::vector<float> out(64);
  launch(1, 8, 32, read_unwritten, out.data());
  for (int i = 0; i < 8; ++i)
    expect(std::isnan(out[static_cast<std::size_t>(i)]), "unwritten shared memory is nan");
  const auto fault = [](const char* text, const std::function<void()>& body) {
    expect_throw<Fault>(text, body);
    // The machine works again afterwards.
    std::vector<float> sums(32);
    launch(1, 32, 0, sum_by_shuffles, sums.data());
    expect_equal(sums[31], 496.0F);
  };
  fault("that not every thread reaches", [&] { launch(1, 32, 0, half_at_barrier, out.data()); });
  fault("at different lines", [] { launch(1, 64, 0, two_barriers); });
  fault("a warp collective that not every thread reaches",
        [&] { launch(1, 32, 0, half_shuffles, out.data()); });
  fault("a shuffle from a lane that its mask leaves out",
        [&] { launch(1, 1, 0, wrong_source, out.data()); });
  fault("leaves out the caller", [&] { launch(1, 32, 0, wrong_mask, out.data()); });
  fault("names lanes that are gone", [&] { launch(1, 32, 0, gone_lane, out.data()); });
  fault("names lanes that are gone", [&] { launch(1, 32, 0, odd_lanes_shuffle, out.data()); });
}

void test_runtime() {
  const cudaLaunchConfig_t too_large{1, 2048, 0, nullptr, nullptr, 0};
  expect_equal(int{cudaLaunchKernelEx(&too_large, two_barriers)}, int{cudaErrorInvalidValue});
  expect_equal(int{cudaGetLastError()}, int{cudaErrorInvalidValue});
  expect_equal(int{cudaGetLastError()}, int{cudaSuccess});
  cuda_on_cpu::fail_next("cudaMalloc", cudaErrorMemoryAllocation);
  void* p = nullptr;
  expect_equal(int{cudaMalloc(&p, 1)}, int{cudaErrorMemoryAllocation});
  cudaGetLastError();
  expect_equal(int{cudaMalloc(&p, 1)}, int{cudaSuccess});
  expect_equal(int{cudaFree(p)}, int{cudaSuccess});
  cuda_on_cpu::set_devices(0, cudaErrorInsufficientDriver);
  int n = 7;
  expect_equal(int{cudaGetDeviceCount(&n)}, int{cudaErrorInsufficientDriver});
  expect_equal(n, 0);
  cudaGetLastError();
  cuda_on_cpu::set_devices(1);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2) {
    race(argv[1]);
    return 0;
  }
  return report("emulator", [] {
    test_what_is_computed();
#if !defined(__SANITIZE_THREAD__)
    test_order();
#endif
    test_faults();
    test_runtime();
  });
}
