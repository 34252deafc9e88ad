// The device and stream that a call works on, and what can be asked of the driver.
#include "device.h"

#include "launch.cuh"

namespace aruba_fast::cuda {

void check(cudaError_t error, const char* call) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // else the next call would report it again
  throw CudaError(std::string(call) + " failed: " + cudaGetErrorString(error) + " (" +
                  std::to_string(static_cast<int>(error)) + ")");
}

DeviceGuard::DeviceGuard(const Stream& stream) : now_(stream.device) {
  check(cudaGetDevice(&before_), "cudaGetDevice");
  if (before_ != now_) check(cudaSetDevice(now_), "cudaSetDevice");
}

DeviceGuard::~DeviceGuard() {
  if (before_ != now_) cudaSetDevice(before_);
}

int n_devices() {
  int n = 0;
  if (cudaGetDeviceCount(&n) == cudaSuccess) return n;
  cudaGetLastError();
  return 0;
}

std::string problem() {
  int n = 0;
  const cudaError_t error = cudaGetDeviceCount(&n);
  cudaGetLastError();
  if (error == cudaErrorInsufficientDriver)
    return "no NVIDIA driver, or one that is too old for " + versions() +
           ": install or update the driver";
  if (error != cudaSuccess || n == 0)
    return std::string("no CUDA device can be used: ") + cudaGetErrorString(error);
  return "";
}

std::string versions() {
  int runtime = 0, driver = 0;
  cudaRuntimeGetVersion(&runtime);
  cudaDriverGetVersion(&driver);
  cudaGetLastError();
  const auto text = [](int v) {
    return v == 0 ? std::string("none")
                  : std::to_string(v / 1000) + "." + std::to_string(v % 1000 / 10);
  };
  return "CUDA runtime " + text(runtime) + ", driver " + text(driver);
}

int device_of(const char* function, const void* pointer) {
  cudaPointerAttributes attributes{};
  check(cudaPointerGetAttributes(&attributes, pointer), "cudaPointerGetAttributes");
  if (attributes.type != cudaMemoryTypeDevice && attributes.type != cudaMemoryTypeManaged)
    throw CudaError(std::string(function) + ": a device array must point to device memory");
  return attributes.device;
}

void wait_for(const Stream& stream, void* producer) {
  if (stream.handle == producer) return;
  const DeviceGuard guard(stream);
  cudaEvent_t event = nullptr;
  check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreateWithFlags");
  cudaError_t error = cudaEventRecord(event, static_cast<cudaStream_t>(producer));
  if (error == cudaSuccess) error = cudaStreamWaitEvent(handle_of(stream), event, 0);
  // The event lives on in the driver until the wait is over.
  cudaEventDestroy(event);
  check(error, "cudaStreamWaitEvent");
}

void copy(void* to, const void* from, std::size_t size, const Stream& stream) {
  const DeviceGuard guard(stream);
  check(cudaMemcpyAsync(to, from, size, cudaMemcpyDefault, handle_of(stream)), "cudaMemcpyAsync");
}

void synchronize(const Stream& stream) {
  const DeviceGuard guard(stream);
  check(cudaStreamSynchronize(handle_of(stream)), "cudaStreamSynchronize");
}

}  // namespace aruba_fast::cuda
