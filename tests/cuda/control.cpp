// The emulated machine's controls and counters, as C functions for the Python tests (ctypes).
#include <stdexcept>

#include "cuda_on_cpu.h"

#define EXPORTED extern "C" __attribute__((visibility("default")))

EXPORTED void machine_reset_counts() { cuda_on_cpu::reset_counts(); }

// launches, copies, allocations, synchronizations, waits.
EXPORTED void machine_counts(std::int64_t* out) {
  const cuda_on_cpu::Counts counts = cuda_on_cpu::counts();
  out[0] = counts.launches;
  out[1] = counts.copies;
  out[2] = counts.allocations;
  out[3] = counts.synchronizations;
  out[4] = counts.waits;
}

EXPORTED int machine_last_device() { return cuda_on_cpu::last_device(); }
EXPORTED void* machine_last_stream() { return cuda_on_cpu::last_stream(); }

EXPORTED void machine_fail_next(const char* call, int error) {
  cuda_on_cpu::fail_next(call, error);
}
EXPORTED void machine_set_devices(int n, int error) { cuda_on_cpu::set_devices(n, error); }
EXPORTED void machine_set_capturing(int capturing) { cuda_on_cpu::set_capturing(capturing != 0); }
EXPORTED void machine_set_order(unsigned order) { cuda_on_cpu::set_order(order); }
