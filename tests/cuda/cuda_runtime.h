// Stands in for CUDA's own header where the kernels are compiled for the CPU: the keywords and
// built-ins that they use, and the calls of the runtime that the ops make.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>

#include "cuda_on_cpu.h"
#include "streams.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__

// ---- built-ins of device code ----

extern thread_local uint3 threadIdx, blockIdx;
extern thread_local dim3 blockDim, gridDim;

struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) double2 {
  double x, y;
};
struct alignas(8) ushort4 {
  unsigned short x, y, z, w;
};

inline void __syncthreads(std::source_location at = std::source_location::current()) {
  cuda_on_cpu::barrier(at);
}
inline void __syncwarp(unsigned mask = 0xffffffffU,
                       std::source_location at = std::source_location::current()) {
  cuda_on_cpu::collective(cuda_on_cpu::Collective::kSyncWarp, mask, 0, 0, at);
}
inline unsigned __ballot_sync(unsigned mask, int predicate,
                              std::source_location at = std::source_location::current()) {
  return static_cast<unsigned>(
      cuda_on_cpu::collective(cuda_on_cpu::Collective::kBallot, mask, predicate != 0, 0, at));
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32,
                  std::source_location at = std::source_location::current()) {
  static_assert(sizeof(T) <= 8);
  const int lane = cuda_on_cpu::lane(), other = lane ^ bits;
  const int source = other / width <= lane / width ? other : lane;
  std::uint64_t raw = 0;
  std::memcpy(&raw, &value, sizeof(T));
  raw = cuda_on_cpu::collective(cuda_on_cpu::Collective::kShuffle, mask, raw, source, at);
  std::memcpy(&value, &raw, sizeof(T));
  return value;
}
template <class T>
T __shfl_sync(unsigned mask, T value, int from, int width = 32,
              std::source_location at = std::source_location::current()) {
  static_assert(sizeof(T) <= 8);
  const int lane = cuda_on_cpu::lane(), source = lane / width * width + (from & (width - 1));
  std::uint64_t raw = 0;
  std::memcpy(&raw, &value, sizeof(T));
  raw = cuda_on_cpu::collective(cuda_on_cpu::Collective::kShuffle, mask, raw, source, at);
  std::memcpy(&value, &raw, sizeof(T));
  return value;
}
inline unsigned atomicOr(unsigned* p, unsigned bits) {
  return std::atomic_ref<unsigned>(*p).fetch_or(bits, std::memory_order_relaxed);
}
inline unsigned atomicExch(unsigned* p, unsigned value) {
  return std::atomic_ref<unsigned>(*p).exchange(value, std::memory_order_relaxed);
}
inline unsigned long long atomicMin(unsigned long long* p, unsigned long long value) {
  std::atomic_ref<unsigned long long> at(*p);
  unsigned long long seen = at.load(std::memory_order_relaxed);
  while (value < seen && !at.compare_exchange_weak(seen, value, std::memory_order_relaxed)) {
  }
  return seen;
}
template <class T>
T __ldg(const T* p) {
  return *p;
}

// ---- calls of the runtime ----

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInsufficientDriver = 35,
  cudaErrorNoDevice = 100,
  cudaErrorInvalidDevice = 101,
  cudaErrorIllegalAddress = 700,
  cudaErrorLaunchFailure = 719,
  cudaErrorNotReady = 600,
  cudaErrorStreamCaptureUnsupported = 900,
  cudaErrorStreamCaptureIsolation = 905,
  cudaErrorStreamCaptureImplicit = 906,
  cudaErrorCapturedEvent = 907
};
using cudaStream_t = struct CUstream_st*;
using cudaEvent_t = struct CUevent_st*;
using cudaGraph_t = struct CUgraph_st*;
using cudaUserObject_t = struct CUuserObject_st*;
using cudaHostFn_t = void (*)(void*);
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost, cudaMemcpyDefault };
enum cudaMemoryType {
  cudaMemoryTypeUnregistered,
  cudaMemoryTypeHost,
  cudaMemoryTypeDevice,
  cudaMemoryTypeManaged
};
enum cudaDeviceAttr {
  cudaDevAttrMultiProcessorCount = 16,
  cudaDevAttrComputeCapabilityMajor = 75,
  cudaDevAttrComputeCapabilityMinor = 76
};
enum cudaStreamCaptureStatus { cudaStreamCaptureStatusNone, cudaStreamCaptureStatusActive };
enum cudaStreamCaptureMode {
  cudaStreamCaptureModeGlobal,
  cudaStreamCaptureModeThreadLocal,
  cudaStreamCaptureModeRelaxed
};
constexpr unsigned cudaEventDisableTiming = 2, cudaUserObjectNoDestructorSync = 1,
                   cudaGraphUserObjectMove = 1;

struct cudaPointerAttributes {
  cudaMemoryType type;
  int device;
};
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  std::size_t dynamicSmemBytes;
  cudaStream_t stream;
  void* attrs;
  unsigned numAttrs;
};

cudaError_t cudaGetDeviceCount(int* n);
cudaError_t cudaGetDevice(int* device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaDriverGetVersion(int* version);
cudaError_t cudaRuntimeGetVersion(int* version);
cudaError_t cudaGetLastError();
const char* cudaGetErrorString(cudaError_t error);
cudaError_t cudaMalloc(void** p, std::size_t n);
cudaError_t cudaFree(void* p);
cudaError_t cudaMallocHost(void** p, std::size_t n);
cudaError_t cudaFreeHost(void* p);
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t n, cudaMemcpyKind kind,
                            cudaStream_t stream);
cudaError_t cudaMemsetAsync(void* p, int value, std::size_t n, cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags);
cudaError_t cudaStreamGetCaptureInfo(cudaStream_t stream, cudaStreamCaptureStatus* status,
                                     unsigned long long* id, cudaGraph_t* graph);
cudaError_t cudaStreamGetId(cudaStream_t stream, unsigned long long* id);
cudaError_t cudaUserObjectCreate(cudaUserObject_t* object, void* p, cudaHostFn_t destroy,
                                 unsigned references, unsigned flags);
cudaError_t cudaGraphRetainUserObject(cudaGraph_t graph, cudaUserObject_t object, unsigned count,
                                      unsigned flags);
cudaError_t cudaUserObjectRelease(cudaUserObject_t object, unsigned count);
cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventQuery(cudaEvent_t event);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr what, int device);
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* p);

namespace cuda_on_cpu {
// Counts a launch; an error that was asked for, or cudaSuccess.
cudaError_t begin_launch(const cudaLaunchConfig_t& config);
// What an argument of a kernel points to, or null.
template <class T>
const void* memory_of(const T& argument) {
  if constexpr (std::is_pointer_v<T>) return argument;
  else return nullptr;
}
}  // namespace cuda_on_cpu

template <class... P, class... A>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(P...),
                               A&&... arguments) {
  if (const cudaError_t error = cuda_on_cpu::begin_launch(*config)) return error;
  if (cuda_on_cpu::idle) return cudaSuccess;
  const std::tuple<P...> copies(std::forward<A>(arguments)...);
  const auto memory = std::apply(
      [](const auto&... each) {
        return std::array<const void*, sizeof...(each)>{cuda_on_cpu::memory_of(each)...};
      },
      copies);
  const auto work = [at = *config, kernel, copies] {
    cuda_on_cpu::run(at.gridDim, at.blockDim, at.dynamicSmemBytes,
                     [&] { std::apply(kernel, copies); });
  };
  cuda_on_cpu::enqueue(config->stream, work, memory);
  return cudaSuccess;
}
