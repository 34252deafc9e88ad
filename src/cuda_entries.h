// What of the CUDA kernels another extension of the package calls: those of _cuda, in whose capsule
// the table travels, so that an extension which knows XLA needs nothing of CUDA.
#pragma once

#include "cuda/ops_jax.h"

namespace aruba_fast::python {

struct CudaEntries {
  static constexpr const char* kName = "aruba_fast._cuda.entries";

  cuda::Stream (*stream_of_current_device)(void* handle);
  void (*step_leaves)(bool aruba, bool moves, std::span<const cuda::StepLeaf> leaves,
                      const cuda::Stream& stream);
};

extern const CudaEntries kCudaEntries;  // where the kernels are

}  // namespace aruba_fast::python
