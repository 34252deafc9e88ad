// The extension module _jax_emulated: the functions that XLA calls on CUDA, for its CPU. Their
// kernels are those of the emulated _cuda, on a stream that is waited for when a function has
// returned.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <cfenv>
#include <cstring>
#include <mutex>

#include "src/jax_device.h"

namespace aruba_fast::python {
namespace {

namespace py = pybind11;

const CudaEntries* entries = nullptr;

// Calls of the emulated machine, tests/cuda/control.cpp.
struct Calls {
  void (*synchronize)(void* stream);
  void (*begin_capture)(void* stream);
  std::int64_t (*end_capture)(void* stream);
  void (*replay)(std::int64_t graph, void* stream);
  void (*destroy_graph)(std::int64_t graph);
} calls;

bool captures = false;

// No other one has this handle. XLA's threads take turns.
void* const kStream = const_cast<char*>("XLA");
std::mutex turn;

template <auto kFunction>
constexpr auto on_cpu = [](auto... arguments) {
  const std::lock_guard<std::mutex> lock(turn);
  std::fenv_t of_xla;  // where subnormal numbers are zero, as on no device
  std::fegetenv(&of_xla);
  std::fesetenv(FE_DFL_ENV);
  if (captures) calls.begin_capture(kStream);
  ffi::Error error = kFunction(kStream, 0, arguments...);
  // What XLA does with its command buffers: all of the work is in the graph.
  if (captures) {
    const std::int64_t graph = calls.end_capture(kStream);
    if (error.success()) calls.replay(graph, kStream);
    calls.synchronize(kStream);
    calls.destroy_graph(graph);
  }
  calls.synchronize(kStream);
  std::fesetenv(&of_xla);
  return error;
};

auto nowhere() { return ffi::Ffi::Bind(); }

}  // namespace

const CudaEntries& cuda_entries() { return *entries; }

XLA_FFI_DEFINE_HANDLER_SYMBOL(aruba_fast_cpu_step, on_cpu<step_on_device>,
                              bind_step_on_device(nowhere()));
XLA_FFI_DEFINE_HANDLER_SYMBOL(aruba_fast_cpu_statistics, on_cpu<sum_on_device>,
                              bind_sum_on_device(nowhere()));
XLA_FFI_DEFINE_HANDLER_SYMBOL(aruba_fast_cpu_learn, on_cpu<learn_on_device>,
                              bind_learn_on_device(nowhere()));

}  // namespace aruba_fast::python

PYBIND11_MODULE(_jax_emulated, module, pybind11::mod_gil_not_used()) {
  using namespace aruba_fast::python;
  bind_workspaces(module);
  // `table`: emulated._cuda.entries; the addresses of the machine's calls, in their order.
  module.def("targets", [](const py::capsule& table, const std::array<std::uintptr_t, 5>& at) {
    entries = table.get_pointer<const CudaEntries>();
    static_assert(sizeof(calls) == sizeof(at));
    std::memcpy(&calls, at.data(), sizeof(calls));
    py::dict targets;
    const auto add = [&](const char* name, XLA_FFI_Error* (*handler)(XLA_FFI_CallFrame*)) {
      targets[name] = py::capsule(reinterpret_cast<void*>(handler));
    };
    add("aruba_fast_cuda_step", aruba_fast_cpu_step);
    add("aruba_fast_cuda_statistics", aruba_fast_cpu_statistics);
    add("aruba_fast_cuda_learn", aruba_fast_cpu_learn);
    return targets;
  });
  module.def(
      "capture", [](bool on) { captures = on; }, "Whether every call becomes a graph first.");
}
