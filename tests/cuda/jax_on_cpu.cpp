// The extension module _jax_emulated: the functions that XLA calls on CUDA, for its CPU. Their
// kernels are those of the emulated _cuda, on a stream that is waited for when a function has
// returned.
#include <pybind11/pybind11.h>

#include <cfenv>
#include <mutex>

#include "src/jax_device.h"

namespace aruba_fast::python {
namespace {

namespace py = pybind11;

const CudaEntries* entries = nullptr;
void (*synchronize)(void* stream) = nullptr;  // of the emulated machine

// No other one has this handle. XLA's threads take turns.
void* const kStream = const_cast<char*>("XLA");
std::mutex turn;

template <auto kFunction>
constexpr auto on_cpu = [](auto... arguments) {
  const std::lock_guard<std::mutex> lock(turn);
  std::fenv_t of_xla;  // where subnormal numbers are zero, as on no device
  std::fegetenv(&of_xla);
  std::fesetenv(FE_DFL_ENV);
  ffi::Error error = kFunction(kStream, 0, arguments...);
  synchronize(kStream);
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
  // `table`: emulated._cuda.entries; the address of machine_synchronize.
  module.def("targets", [](const py::capsule& table, std::uintptr_t address) {
    entries = table.get_pointer<const CudaEntries>();
    synchronize = reinterpret_cast<void (*)(void*)>(address);
    py::dict targets;
    const auto add = [&](const char* name, XLA_FFI_Error* (*handler)(XLA_FFI_CallFrame*)) {
      targets[name] = py::capsule(reinterpret_cast<void*>(handler));
    };
    add("aruba_fast_cuda_step", aruba_fast_cpu_step);
    add("aruba_fast_cuda_statistics", aruba_fast_cpu_statistics);
    add("aruba_fast_cuda_learn", aruba_fast_cpu_learn);
    return targets;
  });
}
