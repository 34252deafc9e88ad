// The emulated machine's controls and counters, as C functions for the Python tests (ctypes).
#include <cstring>
#include <exception>
#include <map>
#include <string>

#include "cuda_on_cpu.h"
#include "streams.h"

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
EXPORTED void machine_set_order(unsigned order) { cuda_on_cpu::set_order(order); }

EXPORTED void machine_set_idle(int idle) { cuda_on_cpu::idle = idle != 0; }

// ---- PyTorch's tensors in host memory, played as a device's ----

namespace {

int (*describe_on_host)(void* object, void* out) = nullptr;

}  // namespace

EXPORTED void machine_set_description(int (*describe)(void*, void*)) {
  describe_on_host = describe;
}
// `tensor_from_object` of DLPack's exchange API: what PyTorch says, but for the device.
EXPORTED int machine_describe(void* object, void* out) {
  const int failed = describe_on_host(object, out);
  const std::int32_t device[] = {2, 0};
  if (!failed) std::memcpy(static_cast<char*>(out) + sizeof(void*), device, sizeof(device));
  return failed;
}

// ---- streams ----

namespace {

// Exceptions do not pass through ctypes.
template <class Body>
void guarded(Body body) {
  try {
    body();
  } catch (const std::exception& error) {
    cuda_on_cpu::add_fault(error.what());
  }
}

// Events and graphs by the numbers that Python knows them by.
std::map<std::int64_t, std::shared_ptr<cuda_on_cpu::Event>> events;
std::map<std::int64_t, std::shared_ptr<cuda_on_cpu::Graph>> graphs;
std::int64_t n_numbers = 0;

}  // namespace

EXPORTED void machine_set_schedule(unsigned schedule) {
  guarded([=] { cuda_on_cpu::set_schedule(schedule); });
}
EXPORTED void machine_finish() { guarded(cuda_on_cpu::finish); }
EXPORTED void machine_synchronize(void* stream) {
  guarded([=] { cuda_on_cpu::synchronize(stream); });
}
EXPORTED void machine_take_fault(char* text, std::size_t n) {
  std::strncpy(text, cuda_on_cpu::take_fault().c_str(), n - 1);
}

// Work of Python's: `call` is given the number.
EXPORTED void machine_enqueue(void* stream, void (*call)(std::int64_t), std::int64_t number,
                              const void* const* memory, std::size_t n) {
  guarded([=] { cuda_on_cpu::enqueue(stream, [=] { call(number); }, {memory, n}); });
}

EXPORTED void* machine_take(std::size_t n_bytes, void* stream) {
  return cuda_on_cpu::take(n_bytes, stream);
}
EXPORTED void machine_give_back(void* memory) {
  guarded([=] { cuda_on_cpu::give_back(memory); });
}

EXPORTED std::int64_t machine_record(void* stream) {
  const auto event = events[++n_numbers] = std::make_shared<cuda_on_cpu::Event>();
  guarded([&] { cuda_on_cpu::record(event, stream); });
  return n_numbers;
}
EXPORTED int machine_wait(void* stream, std::int64_t event) {
  return cuda_on_cpu::wait(stream, events.at(event));
}
EXPORTED int machine_is_done(std::int64_t event) {
  return events.at(event)->done >= events.at(event)->recorded;
}

EXPORTED int machine_is_capturing(void* stream) { return cuda_on_cpu::captured(stream) != nullptr; }
EXPORTED void machine_begin_capture(void* stream) { cuda_on_cpu::begin_capture(stream); }
EXPORTED std::int64_t machine_end_capture(void* stream) {
  graphs[++n_numbers] = cuda_on_cpu::end_capture(stream);
  return graphs[n_numbers] ? n_numbers : 0;
}
EXPORTED void machine_replay(std::int64_t graph, void* stream) {
  guarded([=] { cuda_on_cpu::replay(graphs.at(graph), stream); });
}
EXPORTED void machine_destroy_graph(std::int64_t graph) { graphs.erase(graph); }
