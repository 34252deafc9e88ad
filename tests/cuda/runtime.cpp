// The calls of CUDA's runtime over host memory: every device is this machine, and its streams do
// their work when streams.h says.
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
  if (destroying()) add_fault(std::string(call) + " where CUDA may not be called");
  if (failing != call) return cudaSuccess;
  failing.clear();
  return refuse(failure);
}

void count(std::int64_t Counts::* what) {
  const std::lock_guard<std::mutex> lock(mutex);
  ++(counted.*what);
}

// Of a call that a capture forbids.
cudaError_t begin_unsafe(const char* call) {
  if (const cudaError_t error = begin(call)) return error;
  return any_captured() && capture_mode != cudaStreamCaptureModeRelaxed
             ? refuse(cudaErrorStreamCaptureUnsupported)
             : cudaSuccess;
}

cudaError_t begin_allocation(const char* call) {
  const cudaError_t error = begin_unsafe(call);
  count(&Counts::allocations);
  return error;
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

cudaError_t cudaRuntimeGetVersion(int* version) { return *version = 13000, cudaSuccess; }

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
  if (const cudaError_t error = begin_unsafe("cudaFree")) return error;
  finish();
  std::free(p);
  return cudaSuccess;
}

cudaError_t cudaFreeHost(void* p) {
  if (const cudaError_t error = begin("cudaFreeHost")) return error;
  std::free(p);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t n, cudaMemcpyKind,
                            cudaStream_t stream) {
  if (const cudaError_t error = begin("cudaMemcpyAsync")) return error;
  count(&Counts::copies);
  const void* const memory[] = {to, from};
  if (n > 0) enqueue(stream, [=] { std::memcpy(to, from, n); }, memory);
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* p, int value, std::size_t n, cudaStream_t stream) {
  if (const cudaError_t error = begin("cudaMemsetAsync")) return error;
  const void* const memory[] = {p};
  if (n > 0) enqueue(stream, [=] { std::memset(p, value, n); }, memory);
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (const cudaError_t error = begin("cudaStreamSynchronize")) return error;
  count(&Counts::synchronizations);
  if (captured(stream)) return refuse(cudaErrorStreamCaptureUnsupported);
  synchronize(stream);
  return cudaSuccess;
}

cudaError_t cudaStreamGetCaptureInfo(cudaStream_t stream, cudaStreamCaptureStatus* status,
                                     unsigned long long*, cudaGraph_t* graph) {
  if (const cudaError_t error = begin("cudaStreamGetCaptureInfo")) return error;
  const auto found = captured(stream);
  *status = found ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  if (graph) *graph = reinterpret_cast<cudaGraph_t>(found.get());
  return cudaSuccess;
}

cudaError_t cudaStreamGetId(cudaStream_t stream, unsigned long long* id) {
  *id = reinterpret_cast<std::uintptr_t>(stream);
  return begin("cudaStreamGetId");
}

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  std::swap(*mode, capture_mode);
  return begin("cudaThreadExchangeStreamCaptureMode");
}

struct CUuserObject_st {
  void* p;
  cudaHostFn_t destroy;
};

cudaError_t cudaUserObjectCreate(cudaUserObject_t* object, void* p, cudaHostFn_t destroy, unsigned,
                                 unsigned) {
  if (const cudaError_t error = begin("cudaUserObjectCreate")) return error;
  *object = new CUuserObject_st{p, destroy};
  return cudaSuccess;
}

// The one reference that there is moves to the graph.
cudaError_t cudaGraphRetainUserObject(cudaGraph_t graph, cudaUserObject_t object, unsigned,
                                      unsigned) {
  if (const cudaError_t error = begin("cudaGraphRetainUserObject")) return error;
  retain(*reinterpret_cast<Graph*>(graph), [each = *object] { each.destroy(each.p); });
  delete object;
  return cudaSuccess;
}

cudaError_t cudaUserObjectRelease(cudaUserObject_t object, unsigned) {
  object->destroy(object->p);
  delete object;
  return begin("cudaUserObjectRelease");
}

struct CUevent_st {
  std::shared_ptr<Event> event = std::make_shared<Event>();
};

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  if (const cudaError_t error = begin("cudaEventCreateWithFlags")) return error;
  *event = new CUevent_st;
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return begin("cudaEventDestroy");
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (const cudaError_t error = begin("cudaEventRecord")) return error;
  record(event->event, stream);
  return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  if (const cudaError_t error = begin("cudaStreamWaitEvent")) return error;
  count(&Counts::waits);
  return wait(stream, event->event) ? cudaSuccess : refuse(cudaErrorStreamCaptureIsolation);
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  if (const cudaError_t error = begin_unsafe("cudaEventQuery")) return error;
  if (event->event->graph) return refuse(cudaErrorCapturedEvent);
  return event->event->done < event->event->recorded ? refuse(cudaErrorNotReady) : cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (const cudaError_t error = begin_unsafe("cudaEventSynchronize")) return error;
  if (event->event->graph) return refuse(cudaErrorCapturedEvent);
  if (event->event->done < event->event->recorded) synchronize(event->event->stream);
  return cudaSuccess;
}

// A Hopper of few multiprocessors, so that few columns are many for it.
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr what, int) {
  if (const cudaError_t error = begin("cudaDeviceGetAttribute")) return error;
  *value = what == cudaDevAttrMultiProcessorCount      ? 4
           : what == cudaDevAttrComputeCapabilityMajor ? 9
                                                       : 0;
  return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* p) {
  if (const cudaError_t error = begin("cudaPointerGetAttributes")) return error;
  *attributes = {p ? cudaMemoryTypeDevice : cudaMemoryTypeUnregistered, current_device};
  return cudaSuccess;
}
