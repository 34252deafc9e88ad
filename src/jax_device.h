// What XLA calls for arrays in device memory, but for where it says on which stream.
#pragma once

#include <pybind11/pybind11.h>

#include <utility>

#include "cuda_entries.h"
#include "jax_buffers.h"

namespace aruba_fast::python {

// Of the module that these functions are part of.
const CudaEntries& cuda_entries();

ffi::Error step_on_device(void* stream, std::int32_t device, ffi::RemainingArgs args,
                          ffi::RemainingRets rets, bool aruba, bool moves);
ffi::Error sum_on_device(void* stream, std::int32_t device, ffi::RemainingArgs args,
                         ffi::RemainingRets rets);
ffi::Error learn_on_device(void* stream, std::int32_t device, ffi::RemainingArgs args,
                           ffi::RemainingRets rets, bool of_tasks, double learning_rate,
                           double zeta, double p, double decay, double max_learning_rate,
                           bool isotropic, bool average_task, bool tight, double most_b,
                           double most_g, double least, ffi::Span<const std::int64_t> table);

// `sum_bytes` and `learn_bytes`: how long the workspaces are that the program gives them.
void bind_workspaces(pybind11::module_& module);

// What handlers of these functions are bound to: `Context` says where stream and device are to be
// found, if anywhere.
template <class Context>
auto bind_step_on_device(Context context) {
  return std::move(context)
      .RemainingArgs()
      .RemainingRets()
      .template Attr<bool>("aruba")
      .template Attr<bool>("moves");
}
template <class Context>
auto bind_sum_on_device(Context context) {
  return std::move(context).RemainingArgs().RemainingRets();
}
template <class Context>
auto bind_learn_on_device(Context context) {
  return std::move(context)
      .RemainingArgs()
      .RemainingRets()
      .template Attr<bool>("of_tasks")
      .template Attr<double>("learning_rate")
      .template Attr<double>("zeta")
      .template Attr<double>("p")
      .template Attr<double>("decay")
      .template Attr<double>("max_learning_rate")
      .template Attr<bool>("isotropic")
      .template Attr<bool>("average_task")
      .template Attr<bool>("tight")
      .template Attr<double>("most_b")
      .template Attr<double>("most_g")
      .template Attr<double>("least")
      .template Attr<ffi::Span<const std::int64_t>>("table");
}

}  // namespace aruba_fast::python
