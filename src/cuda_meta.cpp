// add_round, merge_statistics and MetaState on the arrays of a CUDA device.
#include <mutex>

#include "cuda/ops_meta.h"
#include "cuda_bindings.h"
#include "device_arrays.h"
#include "meta_arguments.h"

namespace aruba_fast::python {
namespace {

cuda::DeviceStatistics statistics(DeviceArrays& arrays, py::handle sums, py::handle weight,
                                  py::handle counts, std::int64_t n) {
  return {arrays.doubles(sums, "sums", {3, 2, n}), arrays.doubles(weight, "weight", {2}),
          arrays.integers<std::int64_t>(counts, "counts", 2)};
}

void add_round(py::handle theta_hat, py::handle grad_sq, py::handle phi, py::handle weights,
               py::handle sums, py::handle weight, py::handle counts) {
  DeviceArrays arrays("statistics");
  const RoundArrays round = round_arguments(arrays, theta_hat, grad_sq, phi, weights);
  const cuda::DeviceStatistics into = statistics(arrays, sums, weight, counts, round.n);
  void* workspace = arrays.workspace(cuda::add_round_workspace_bytes(round.n_tasks, round.n));
  cuda::add_round(round, into, nullptr, workspace, arrays.stream());
  arrays.finished();
}

void merge_statistics(py::handle sums_into, py::handle weight_into, py::handle counts_into,
                      py::handle sums, py::handle weight, py::handle counts) {
  DeviceArrays arrays("merge_statistics");
  const std::int64_t n = arrays.one(sums_into, "sums_into", Access::kModify).shape[2];
  cuda::merge(statistics(arrays, sums_into, weight_into, counts_into, n),
              statistics(arrays, sums, weight, counts, n), n, arrays.stream());
  arrays.finished();
}

void apply(PyMetaState& self, py::handle sums, py::handle weight, py::handle counts,
           py::handle meta_step) {
  double step = 0;
  const double* chosen = optional_meta_step(meta_step, step);
  DeviceArrays arrays("apply");
  // The learner's own device comes first, so that statistics of another one are refused.
  arrays.one(self.initialization(), "self", Access::kModify);
  const cuda::DeviceStatistics round = statistics(arrays, sums, weight, counts, self.state().n);
  void* workspace = arrays.workspace(cuda::apply_workspace_bytes(self.state().n));
  {
    const py::gil_scoped_release release;
    const std::lock_guard held(self.lock());
    cuda::apply(self.state(), round, chosen, workspace, arrays.stream());
  }
  arrays.finished();
}

void read(PyMetaState& self, const py::sequence& names, const py::sequence& into) {
  DeviceArrays arrays("read");
  arrays.one(self.initialization(), "self", Access::kRead);
  self.read(arrays, names, into, [&arrays](void* to, const void* from, std::size_t size) {
    cuda::copy(to, from, size, arrays.stream());
  });
  arrays.finished();
}

}  // namespace

void bind_cuda_meta(py::module_& module) {
  module.def("add_round", add_round, py::arg("theta_hat"), py::arg("grad_sq"), py::arg("phi"),
             py::arg("weights"), py::arg("sums"), py::arg("weight"), py::arg("counts"),
             "As in _core, on the arrays' device; sums that overflow are left infinite.");
  module.def("merge_statistics", merge_statistics, py::arg("sums_into"), py::arg("weight_into"),
             py::arg("counts_into"), py::arg("sums"), py::arg("weight"), py::arg("counts"),
             "As in _core, on the arrays' device.");
  bind_meta_state<DeviceArrays>(module, apply, read);
}

}  // namespace aruba_fast::python
