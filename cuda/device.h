// The device and stream that a call works on, and what can be asked of the driver.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "aruba_fast/cuda.h"
#include "aruba_fast/error.h"
#include "tuning.h"

namespace aruba_fast::cuda {

// The device whose memory `pointer` is; throws CudaError when it is not device memory.
int device_of(const char* function, const void* pointer);

struct DeviceFacts {
  int architecture;  // 10 x compute capability
  int n_multiprocessors;

  std::int64_t idle_blocks() const { return kIdleBlocks * n_multiprocessors; }
};
DeviceFacts facts_of_device(int device);

// What is enqueued on `stream` from now on waits for what is on `producer` (a cudaStream_t of the
// same device) by now. Where only one of them is captured nothing waits: what a graph needs is
// there before it is replayed, and that is for its owner to see to.
void wait_for(const Stream& stream, void* producer);

bool is_capturing(const Stream& stream);

// While it lives, this thread may do what is no part of a graph that is being captured: allocate,
// ask for events.
class RelaxedCapture {
 public:
  RelaxedCapture();
  ~RelaxedCapture();
  RelaxedCapture(const RelaxedCapture&) = delete;
  RelaxedCapture& operator=(const RelaxedCapture&) = delete;

 private:
  int mode_;
};

// A point in the work of a stream. While that is captured, the end of the graph's life: passed when
// neither the graph nor a replay of it can come any more.
class Mark {
 public:
  Mark() = default;  // passed
  ~Mark();
  Mark(Mark&& other) noexcept { *this = static_cast<Mark&&>(other); }
  Mark& operator=(Mark&& other) noexcept;

  // Sets it after what is on the stream by now.
  void set(const Stream& stream);
  bool has_passed() const;
  bool is_captured() const { return gone_ != nullptr; }
  // What is enqueued on `stream` from now on comes after it; where that is captured, the host
  // waits.
  void await(const Stream& stream) const;

 private:
  void* event_ = nullptr;                          // a cudaEvent_t
  std::shared_ptr<const std::atomic<bool>> gone_;  // whether the graph is
};

// Within the memory of the device.
void copy(void* to, const void* from, std::size_t size, const Stream& stream);

}  // namespace aruba_fast::cuda
