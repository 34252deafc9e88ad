// The device and stream that a call works on, and what can be asked of the driver.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "cpp/error.h"

namespace aruba_fast::cuda {

// Where a call is enqueued. `handle` is a cudaStream_t; null is the legacy default stream.
struct Stream {
  int device;
  void* handle;
};

// Devices that can be used now: 0 without a driver or without a device, in which case `problem`
// says so.
int n_devices();
std::string problem();

// "CUDA runtime 13.0, driver 13.0"
std::string versions();

// The device whose memory `pointer` is; throws CudaError when it is not device memory.
int device_of(const char* function, const void* pointer);

// What is enqueued on `stream` from now on waits for what is on `producer` (a cudaStream_t of the
// same device) by now.
void wait_for(const Stream& stream, void* producer);

// Within the memory of the device.
void copy(void* to, const void* from, std::size_t size, const Stream& stream);

// The one call that waits for the device.
void synchronize(const Stream& stream);

}  // namespace aruba_fast::cuda
