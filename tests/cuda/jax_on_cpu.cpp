// The functions that XLA calls on CUDA, for its CPU: the kernels run on the machine of these tests,
// on a stream that is waited for when a function has returned.
#include <pybind11/pybind11.h>

#include <cfenv>
#include <mutex>

#include "src/jax_device.h"
#include "streams.h"

namespace aruba_fast::python {
namespace {

namespace py = pybind11;

// No other one has this handle. XLA's threads take turns.
void* const kStream = const_cast<char*>("XLA");
std::mutex turn;

template <auto kFunction>
constexpr auto on_cpu = [](auto... arguments) {
  const std::lock_guard<std::mutex> lock(turn);
  std::fenv_t of_xla;  // where subnormal numbers are zero, as on no device
  std::fegetenv(&of_xla);
  std::fesetenv(FE_DFL_ENV);
  ffi::Error error = kFunction(kStream, arguments...);
  cuda_on_cpu::synchronize(kStream);
  std::fesetenv(&of_xla);
  return error;
};

auto nowhere() { return ffi::Ffi::Bind(); }

}  // namespace

const CudaEntries& cuda_entries() { return kCudaEntries; }

XLA_FFI_DEFINE_HANDLER_SYMBOL(aruba_fast_cpu_step, on_cpu<step_on_device>,
                              bind_step_on_device(nowhere()));

void bind_jax_on_cpu(py::module_& module) {
  module.def("jax_targets", [] {
    py::dict targets;
    targets["aruba_fast_cuda_step"] = py::capsule(reinterpret_cast<void*>(aruba_fast_cpu_step));
    return targets;
  });
}

}  // namespace aruba_fast::python
