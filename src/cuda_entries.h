// What of the CUDA kernels another extension of the package calls: those of _cuda, in whose capsule
// the table travels, so that an extension which knows XLA needs nothing of CUDA.
#pragma once

#include "cuda/ops_jax.h"

namespace aruba_fast::python {

struct CudaEntries {
  static constexpr const char* kName = "aruba_fast._cuda.entries";

  void (*step_leaves)(bool aruba, bool moves, std::span<const cuda::StepLeaf> leaves,
                      const cuda::Stream& stream);
  std::size_t (*sum_tasks_bytes)(std::int64_t n_tasks, std::int64_t n);
  void (*sum_tasks)(const cuda::JaxTasks& tasks, const cuda::JaxSums& into, void* workspace,
                    const cuda::Stream& stream);
  std::size_t (*learn_bytes)(const cuda::JaxState& state, std::int64_t n_tasks);
  void (*learn_sums)(const cuda::JaxState& state, const cuda::JaxSums& round,
                     const cuda::Wide& step, void* workspace, const cuda::Stream& stream);
  void (*learn_tasks)(const cuda::JaxState& state, const cuda::JaxTasks& round,
                      const cuda::Wide& step, void* workspace, const cuda::Stream& stream);
  void (*copy)(void* to, const void* from, std::size_t size, const cuda::Stream& stream);
};

}  // namespace aruba_fast::python
