// add_round, merge_statistics and MetaState on the arrays of a CUDA device.
#include <mutex>

#include "cuda/ops_meta.h"
#include "cuda_bindings.h"
#include "device_arrays.h"
#include "meta_arguments.h"

namespace aruba_fast::python {
namespace {

void add_round(py::handle theta_hat, py::handle grad_sq, py::handle phi, py::handle weights,
               const py::tuple& into, py::handle rates, py::handle limit) {
  DeviceArrays arrays("MetaLearner.statistics");
  const RoundArrays round =
      limited_round_arguments(arrays, theta_hat, grad_sq, phi, weights, rates, limit);
  const auto sums = statistics_arguments<cuda::DeviceStatistics>(arrays, into, round.n);
  void* workspace = arrays.workspace(cuda::add_round_workspace_bytes(round.n_tasks, round.n));
  arrays.enqueue([&](const cuda::Stream& stream) {
    cuda::add_round(round, sums, nullptr, workspace, stream);
  });
}

void merge_statistics(const py::tuple& into, const py::tuple& other) {
  DeviceArrays arrays("TaskStatistics");
  const std::int64_t n = n_parameters_of(arrays, into);
  const auto sums = statistics_arguments<cuda::DeviceStatistics>(arrays, into, n),
             added = statistics_arguments<cuda::DeviceStatistics>(arrays, other, n);
  arrays.enqueue([&](const cuda::Stream& stream) { cuda::merge(sums, added, n, stream); });
}

void apply(PyMetaState& self, const py::tuple& statistics, py::handle meta_step) {
  DeviceArrays arrays("MetaLearner.apply");
  // The learner's own device comes first, so that statistics of another one are refused.
  arrays.one(self.initialization(), "self", Access::kModify);
  arrays.keep(self.arrays());
  const auto round =
      statistics_arguments<cuda::DeviceStatistics>(arrays, statistics, self.state().n);
  double step = 0;
  const double* chosen = optional_meta_step(arrays.function(), meta_step, step);
  void* workspace = arrays.workspace(cuda::apply_workspace_bytes(self.state()));
  arrays.enqueue([&](const cuda::Stream& stream) {
    const py::gil_scoped_release release;
    const std::lock_guard held(self.lock());
    cuda::apply(self.state(), round, chosen, workspace, stream);
  });
}

Copy copy_on(const cuda::Stream& stream) {
  return [&stream](void* to, const void* from, std::size_t size) {
    cuda::copy(to, from, size, stream);
  };
}

void read(PyMetaState& self, const py::sequence& names, const py::sequence& into) {
  DeviceArrays arrays("read");
  arrays.one(self.initialization(), "self", Access::kRead);
  arrays.keep(self.arrays());
  arrays.enqueue(
      [&](const cuda::Stream& stream) { self.read(arrays, names, into, copy_on(stream)); });
}

void start(PyMetaState& self, py::handle learning_rate, py::handle rates) {
  DeviceArrays arrays("start");
  arrays.one(self.initialization(), "self", Access::kModify);
  arrays.keep(self.arrays());
  arrays.enqueue([&](const cuda::Stream& stream) {
    self.start(arrays, learning_rate, rates, copy_on(stream));
  });
}

}  // namespace

void bind_cuda_meta(py::module_& module) {
  module.def("add_round", add_round, py::arg("theta_hat"), py::arg("grad_sq"), py::arg("phi"),
             py::arg("weights"), py::arg("into"), py::arg("rates") = py::none(),
             py::arg("limit") = py::none(),
             "As in _core, on the arrays' device; sums that overflow are left infinite.");
  module.def("merge_statistics", merge_statistics, py::arg("into"), py::arg("other"),
             "As in _core, on the arrays' device.");
  bind_meta_state<DeviceArrays>(module, apply, read, start);
}

}  // namespace aruba_fast::python
