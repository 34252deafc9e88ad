// What the files of kernels share: errors of the runtime as exceptions, the device of a call,
// launches, shared memory.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "cpp/array.h"
#include "device.h"

namespace aruba_fast::cuda {

inline cudaStream_t handle_of(const Stream& stream) {
  return static_cast<cudaStream_t>(stream.handle);
}

// Throws CudaError unless the call succeeded, and takes the runtime's memory of the error away.
void check(cudaError_t error, const char* call);

// Makes the device of a call current, and the caller's again at the end.
class DeviceGuard {
 public:
  explicit DeviceGuard(const Stream& stream);
  ~DeviceGuard();
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;

 private:
  int before_ = 0, now_;
};

// A grid of n_blocks x n_rows blocks. Nothing is launched for an empty grid.
struct Shape {
  std::int64_t n_blocks;
  int n_threads;
  std::size_t shared_bytes = 0;
  std::int64_t n_rows = 1;
};

template <class... P, class... A>
void launch(const Stream& stream, const Shape& shape, void (*kernel)(P...), A... arguments) {
  if (shape.n_blocks == 0 || shape.n_rows == 0) return;
  cudaLaunchConfig_t config{};
  config.gridDim =
      dim3(static_cast<unsigned>(shape.n_blocks), static_cast<unsigned>(shape.n_rows), 1);
  config.blockDim = dim3(static_cast<unsigned>(shape.n_threads), 1, 1);
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = handle_of(stream);
  check(cudaLaunchKernelEx(&config, kernel, static_cast<P>(arguments)...), "cudaLaunchKernelEx");
}

// Calls `body` with a number of the arrays' type, of those that all kernels know.
template <class Body>
void by_type(const char* function, const char* subject, Type type, Body body) {
  if (type == Type::kFloat64) return body(0.0);
  if (type == Type::kFloat32) return body(0.0F);
  refuse<TypeError>(function, subject, "be float32 or float64", name_of(type));
}

constexpr std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// The block's dynamic shared memory, 16-byte aligned: the one thing that is not spelled alike on a
// GPU and on the machine that runs kernels on the CPU.
#if defined(__CUDACC__)
__device__ __forceinline__ unsigned char* shared_memory() {
  extern __shared__ __align__(16) unsigned char bytes[];
  return bytes;
}
#else
using cuda_on_cpu::shared_memory;
#endif

// The address, read from a table, of something in global memory: the compiler cannot know that, and
// would make slower accesses that may go anywhere.
template <class T>
__device__ __forceinline__ T* global_pointer(std::int64_t address) {
#if defined(__CUDACC__)
  return static_cast<T*>(__cvta_global_to_generic(static_cast<std::size_t>(address)));
#else
  return reinterpret_cast<T*>(address);
#endif
}

// Index of the thread in the first dimension of the grid.
__device__ __forceinline__ std::int64_t global_index() {
  return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}

}  // namespace aruba_fast::cuda
