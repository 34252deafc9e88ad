// The device and stream that a call works on, and what can be asked of the driver.
#include "device.h"

#include <utility>

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

DeviceFacts facts_of_device(int device) {
  const auto ask = [&](cudaDeviceAttr what) {
    int value = 0;
    check(cudaDeviceGetAttribute(&value, what, device), "cudaDeviceGetAttribute");
    return value;
  };
  return {.architecture =
              10 * ask(cudaDevAttrComputeCapabilityMajor) + ask(cudaDevAttrComputeCapabilityMinor),
          .n_multiprocessors = ask(cudaDevAttrMultiProcessorCount)};
}

void wait_for(const Stream& stream, void* producer) {
  if (stream.handle == producer) return;
  const DeviceGuard guard(stream);
  if (is_capturing(stream) != is_capturing({stream.device, producer})) return;
  cudaEvent_t event = nullptr;
  check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreateWithFlags");
  cudaError_t error = cudaEventRecord(event, static_cast<cudaStream_t>(producer));
  if (error == cudaSuccess) error = cudaStreamWaitEvent(handle_of(stream), event, 0);
  // The event lives on in the driver until the wait is over.
  cudaEventDestroy(event);
  check(error, "cudaStreamWaitEvent");
}

namespace {

// The graph that is captured from the stream, or null.
cudaGraph_t captured_graph(const Stream& stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  cudaGraph_t graph = nullptr;
  const cudaError_t error = cudaStreamGetCaptureInfo(handle_of(stream), &status, nullptr, &graph);
  // The legacy default stream, which cannot be captured, beside another that is.
  if (error == cudaErrorStreamCaptureImplicit) {
    cudaGetLastError();
    return nullptr;
  }
  check(error, "cudaStreamGetCaptureInfo");
  return status == cudaStreamCaptureStatusNone ? nullptr : graph;
}

// Called by the driver, on a thread of its own, where nothing of CUDA may be called.
void tell_it_is_gone(void* share) {
  auto* gone = static_cast<std::shared_ptr<std::atomic<bool>>*>(share);
  gone->get()->store(true);
  delete gone;
}

}  // namespace

bool is_capturing(const Stream& stream) { return captured_graph(stream) != nullptr; }

RelaxedCapture::RelaxedCapture() {
  cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
  cudaThreadExchangeStreamCaptureMode(&mode);
  mode_ = mode;
}

RelaxedCapture::~RelaxedCapture() {
  auto mode = static_cast<cudaStreamCaptureMode>(mode_);
  cudaThreadExchangeStreamCaptureMode(&mode);
}

Mark::~Mark() {
  if (event_) cudaEventDestroy(static_cast<cudaEvent_t>(event_));
}

Mark& Mark::operator=(Mark&& other) noexcept {
  std::swap(event_, other.event_);
  std::swap(gone_, other.gone_);
  return *this;
}

void Mark::set(const Stream& stream) {
  const DeviceGuard guard(stream);
  if (const cudaGraph_t graph = captured_graph(stream)) {
    auto gone = std::make_unique<std::shared_ptr<std::atomic<bool>>>(
        std::make_shared<std::atomic<bool>>(false));
    gone_ = *gone;
    cudaUserObject_t object = nullptr;
    check(cudaUserObjectCreate(&object, gone.get(), tell_it_is_gone, 1,
                               cudaUserObjectNoDestructorSync),
          "cudaUserObjectCreate");
    gone.release();  // the object's now
    const cudaError_t error = cudaGraphRetainUserObject(graph, object, 1, cudaGraphUserObjectMove);
    if (error != cudaSuccess) cudaUserObjectRelease(object, 1);
    check(error, "cudaGraphRetainUserObject");
    return;
  }
  gone_ = nullptr;
  if (!event_) {
    cudaEvent_t event = nullptr;
    check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreateWithFlags");
    event_ = event;
  }
  check(cudaEventRecord(static_cast<cudaEvent_t>(event_), handle_of(stream)), "cudaEventRecord");
}

bool Mark::has_passed() const {
  if (gone_) return gone_->load();
  if (!event_) return true;
  const RelaxedCapture relaxed;
  if (cudaEventQuery(static_cast<cudaEvent_t>(event_)) == cudaSuccess) return true;
  cudaGetLastError();  // that it has not is no error
  return false;
}

void Mark::await(const Stream& stream) const {
  if (gone_ || !event_) return;
  const DeviceGuard guard(stream);
  const auto event = static_cast<cudaEvent_t>(event_);
  if (is_capturing(stream)) {
    const RelaxedCapture relaxed;
    check(cudaEventSynchronize(event), "cudaEventSynchronize");
  } else {
    check(cudaStreamWaitEvent(handle_of(stream), event, 0), "cudaStreamWaitEvent");
  }
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
