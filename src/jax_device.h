// What XLA calls for arrays in device memory, but for where it says on which stream.
#pragma once

#include <utility>

#include "cuda_entries.h"
#include "jax_buffers.h"

namespace aruba_fast::python {

// Of the module that these functions are part of.
const CudaEntries& cuda_entries();

ffi::Error step_on_device(void* stream, ffi::RemainingArgs args, ffi::RemainingRets rets,
                          bool aruba, bool moves);

// The handlers of these functions: `Context` says where the stream is to be found, if anywhere.
template <class Context>
auto bind_step_on_device(Context context) {
  return std::move(context)
      .RemainingArgs()
      .RemainingRets()
      .template Attr<bool>("aruba")
      .template Attr<bool>("moves");
}

}  // namespace aruba_fast::python
