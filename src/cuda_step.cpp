// The step functions on arrays of a CUDA device, and what step_plan.py stands on there.
#include "cuda/ops_step.h"
#include "cuda_bindings.h"
#include "device_arrays.h"
#include "planned_step-inl.h"
#include "step_arguments.h"

namespace aruba_fast::python {
namespace {

void launch(DeviceArrays& arrays, const StepArguments& arguments) {
  arrays.enqueue([&](const cuda::Stream& stream) { cuda::step(arguments, stream); });
  arrays.written();
}

struct OnDevice {
  using Reader = DeviceArrays;
  bool goes_on(DeviceArrays& arrays, std::span<PyObject* const> theta) const {
    return !theta.empty() && arrays.goes_on(theta[0]);
  }
  void take(const StepPlan& plan) { tables.take_gradients(plan); }
  void forget() { tables.forget(); }
  void run(DeviceArrays& arrays, StepRule rule, const StepPlan& plan) {
    arrays.enqueue([&](const cuda::Stream& stream) { cuda::step(rule, plan, tables, stream); });
  }

  cuda::StepTables tables;
};

}  // namespace

void bind_cuda_step(py::module_& module) {
  bind_step_rules<DeviceArrays>(module, launch);
  bind_step_plan<OnDevice>(module, "A step of arrays on a CUDA device that stay.");
}

}  // namespace aruba_fast::python
