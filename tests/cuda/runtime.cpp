// The calls of CUDA's runtime over host memory: everything is done at once, every device is this
// machine.
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>

#include "cuda_runtime.h"

namespace cuda_on_cpu {
namespace {

std::mutex mutex;
Counts counted{};
std::string failing;
cudaError_t failure = cudaSuccess, last_error = cudaSuccess;
int n_devices = 1;
cudaError_t no_devices_because = cudaSuccess;
bool capturing_now = false;
int launched_on_device = -1;
void* launched_on_stream = nullptr;
thread_local int current_device = 0;
thread_local cudaStreamCaptureMode capture_mode = cudaStreamCaptureModeGlobal;

cudaError_t refuse(cudaError_t error) {
  last_error = error;
  return error;
}

// The error that a test asked of this call, or that every call gives without a device.
cudaError_t begin(const char* call) {
  const std::lock_guard<std::mutex> lock(mutex);
  if (n_devices == 0) return refuse(no_devices_because ? no_devices_because : cudaErrorNoDevice);
  if (failing != call) return cudaSuccess;
  failing.clear();
  return refuse(failure);
}

cudaError_t begin_allocation(const char* call) {
  if (const cudaError_t error = begin(call)) return error;
  const std::lock_guard<std::mutex> lock(mutex);
  ++counted.allocations;
  if (capturing_now && capture_mode != cudaStreamCaptureModeRelaxed)
    return refuse(cudaErrorStreamCaptureUnsupported);
  return cudaSuccess;
}

cudaError_t allocate(const char* call, void** p, std::size_t n) {
  if (const cudaError_t error = begin_allocation(call)) return error;
  *p = std::aligned_alloc(256, (n + 255) / 256 * 256);
  return *p ? cudaSuccess : refuse(cudaErrorMemoryAllocation);
}

}  // namespace

Counts counts() {
  const std::lock_guard<std::mutex> lock(mutex);
  return counted;
}

void reset_counts() {
  const std::lock_guard<std::mutex> lock(mutex);
  counted = {};
}

int last_device() {
  const std::lock_guard<std::mutex> lock(mutex);
  return launched_on_device;
}

void* last_stream() {
  const std::lock_guard<std::mutex> lock(mutex);
  return launched_on_stream;
}

void fail_next(const char* call, int error) {
  const std::lock_guard<std::mutex> lock(mutex);
  failing = call;
  failure = static_cast<cudaError_t>(error);
}

void set_devices(int n, int error) {
  const std::lock_guard<std::mutex> lock(mutex);
  n_devices = n;
  no_devices_because = static_cast<cudaError_t>(error);
}

void set_capturing(bool capturing) {
  const std::lock_guard<std::mutex> lock(mutex);
  capturing_now = capturing;
}

cudaError_t begin_launch(const cudaLaunchConfig_t& config) {
  if (const cudaError_t error = begin("cudaLaunchKernelEx")) return error;
  const std::lock_guard<std::mutex> lock(mutex);
  ++counted.launches;
  launched_on_device = current_device;
  launched_on_stream = config.stream;
  // The limits of every device: threads of a block, blocks of a grid, memory without opting in.
  const dim3 grid = config.gridDim, block = config.blockDim;
  const bool fits = block.x * block.y * block.z <= 1024 && block.x > 0 && block.y > 0 &&
                    block.z > 0 && block.z <= 64 && grid.x > 0 && grid.x <= 0x7fffffff &&
                    grid.y > 0 && grid.y <= 65535 && grid.z > 0 && grid.z <= 65535 &&
                    config.dynamicSmemBytes <= 48 * 1024;
  return fits ? cudaSuccess : refuse(cudaErrorInvalidValue);
}

}  // namespace cuda_on_cpu

using namespace cuda_on_cpu;

cudaError_t cudaGetDeviceCount(int* n) {
  *n = 0;
  if (const cudaError_t error = begin("cudaGetDeviceCount")) return error;
  *n = n_devices;
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) {
  *device = current_device;
  return begin("cudaGetDevice");
}

cudaError_t cudaSetDevice(int device) {
  if (const cudaError_t error = begin("cudaSetDevice")) return error;
  if (device < 0 || device >= n_devices) return refuse(cudaErrorInvalidDevice);
  current_device = device;
  return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = n_devices > 0 ? 13000 : 0;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}

cudaError_t cudaGetLastError() {
  const std::lock_guard<std::mutex> lock(mutex);
  const cudaError_t error = last_error;
  last_error = cudaSuccess;
  return error;
}

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInsufficientDriver:
      return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorNoDevice:
      return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
    default:
      return "invalid argument";
  }
}

cudaError_t cudaMalloc(void** p, std::size_t n) { return allocate("cudaMalloc", p, n); }
cudaError_t cudaMallocHost(void** p, std::size_t n) { return allocate("cudaMallocHost", p, n); }

cudaError_t cudaFree(void* p) {
  if (const cudaError_t error = begin("cudaFree")) return error;
  std::free(p);
  return cudaSuccess;
}

cudaError_t cudaFreeHost(void* p) {
  if (const cudaError_t error = begin("cudaFreeHost")) return error;
  std::free(p);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t n, cudaMemcpyKind,
                            cudaStream_t) {
  if (const cudaError_t error = begin("cudaMemcpyAsync")) return error;
  {
    const std::lock_guard<std::mutex> lock(mutex);
    ++counted.copies;
  }
  if (n > 0) std::memcpy(to, from, n);
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* p, int value, std::size_t n, cudaStream_t) {
  if (const cudaError_t error = begin("cudaMemsetAsync")) return error;
  if (n > 0) std::memset(p, value, n);
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t) {
  if (const cudaError_t error = begin("cudaStreamSynchronize")) return error;
  const std::lock_guard<std::mutex> lock(mutex);
  ++counted.synchronizations;
  return capturing_now ? refuse(cudaErrorStreamCaptureUnsupported) : cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) {
  if (const cudaError_t error = begin("cudaStreamWaitEvent")) return error;
  const std::lock_guard<std::mutex> lock(mutex);
  ++counted.waits;
  return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* status) {
  if (const cudaError_t error = begin("cudaStreamIsCapturing")) return error;
  const std::lock_guard<std::mutex> lock(mutex);
  *status = capturing_now ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  std::swap(*mode, capture_mode);
  return begin("cudaThreadExchangeStreamCaptureMode");
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  if (const cudaError_t error = begin("cudaEventCreateWithFlags")) return error;
  *event = reinterpret_cast<cudaEvent_t>(std::malloc(1));
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  std::free(event);
  return begin("cudaEventDestroy");
}

cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return begin("cudaEventRecord"); }
cudaError_t cudaEventQuery(cudaEvent_t) { return begin("cudaEventQuery"); }

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* p) {
  if (const cudaError_t error = begin("cudaPointerGetAttributes")) return error;
  *attributes = {p ? cudaMemoryTypeDevice : cudaMemoryTypeUnregistered, current_device};
  return cudaSuccess;
}
