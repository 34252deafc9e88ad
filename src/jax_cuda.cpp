// The functions that XLA calls on CUDA: on its stream, and captured in its graphs where it likes.
#include "jax_device.h"

namespace aruba_fast::python {
namespace {

auto on_stream() {
  return ffi::Ffi::Bind().Ctx<ffi::PlatformStream<void*>>().Ctx<ffi::DeviceOrdinal>();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(aruba_fast_cuda_step, step_on_device,
                              bind_step_on_device(on_stream()),
                              {ffi::Traits::kCmdBufferCompatible});
XLA_FFI_DEFINE_HANDLER_SYMBOL(aruba_fast_cuda_statistics, sum_on_device,
                              bind_sum_on_device(on_stream()), {ffi::Traits::kCmdBufferCompatible});
XLA_FFI_DEFINE_HANDLER_SYMBOL(aruba_fast_cuda_learn, learn_on_device,
                              bind_learn_on_device(on_stream()),
                              {ffi::Traits::kCmdBufferCompatible});

}  // namespace aruba_fast::python
