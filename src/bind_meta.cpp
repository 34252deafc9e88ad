// add_round, merge_statistics and MetaState: what learner.py and statistics.py stand on.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <cmath>
#include <cstring>
#include <mutex>

#include "bindings.h"
#include "meta_arguments.h"
#include "ops_prior.h"

namespace aruba_fast::python {
namespace {

void require_weights(const char* function, const RoundArrays& round) {
  for (std::int64_t i = 0; round.weights && i < round.n_tasks; ++i) {
    const double weight = round.weights[i];
    if (is_weight(weight)) continue;
    const bool is_valid = weight >= 0 && is_finite(weight);
    refuse(function, "`weights`", is_valid ? "be moderate" : "be finite and >= 0 everywhere",
           py::str(py::float_(weight)).cast<std::string>() + " at " + std::to_string(i),
           is_valid ? "0, or 1e-150 to 1e150" : "finite and >= 0");
  }
}

// The sums of a round in the arrays of a TaskStatistics: the native form, and back.
struct StatisticsMemory {
  double *sums, *weight;
  std::int64_t* counts;

  Statistics read() const { return {sums, {weight[0], weight[1]}, counts[0], counts[1]}; }
  void write(const Statistics& value) const {
    weight[0] = value.weight.high;
    weight[1] = value.weight.low;
    counts[0] = value.n_tasks;
    counts[1] = value.n_skipped;
  }
};

void add_round(py::handle theta_hat, py::handle grad_sq, py::handle phi, py::handle weights,
               const py::tuple& into, py::handle rates, py::handle limit) {
  Arrays arrays("MetaLearner.statistics");
  const RoundArrays round =
      limited_round_arguments(arrays, theta_hat, grad_sq, phi, weights, rates, limit);
  require_weights(arrays.function(), round);
  const auto memory = statistics_arguments<StatisticsMemory>(arrays, into, round.n);
  const py::gil_scoped_release release;
  Statistics sums = memory.read();
  aruba_fast::add_round(arrays.function(), round, sums, nullptr);
  memory.write(sums);
}

void merge_statistics(const py::tuple& into, const py::tuple& other) {
  Arrays arrays("TaskStatistics");
  const std::int64_t n = n_parameters_of(arrays, into);
  const auto memory = statistics_arguments<StatisticsMemory>(arrays, into, n);
  Statistics sums = memory.read();
  merge(sums, statistics_arguments<StatisticsMemory>(arrays, other, n).read(), n);
  memory.write(sums);
}

// Reads statistics, and does with them what `act` does to a state that is locked.
template <auto act>
void with_statistics(PyMetaState& self, const py::tuple& statistics, py::handle meta_step) {
  Arrays arrays("MetaLearner.apply");
  const Statistics sums =
      statistics_arguments<StatisticsMemory>(arrays, statistics, self.state().n).read();
  double step = 0;
  const double* chosen = optional_meta_step(arrays.function(), meta_step, step);
  const py::gil_scoped_release release;
  const std::lock_guard held(self.lock());
  (self.state().*act)(arrays.function(), sums, chosen);
}

void learn(PyMetaState& self, py::handle theta_hat, py::handle grad_sq, py::handle weights,
           py::handle meta_step) {
  Arrays arrays("MetaLearner.update");
  const RoundArrays round =
      round_arguments(arrays, theta_hat, grad_sq, self.initialization(), weights);
  require_weights(arrays.function(), round);
  double step = 0;
  const double* chosen = optional_meta_step(arrays.function(), meta_step, step);
  const py::gil_scoped_release release;
  const std::lock_guard held(self.lock());
  self.state().learn(arrays.function(), round, chosen);
}

py::array_t<std::int64_t> tensor_table(const std::vector<std::int64_t>& sizes) {
  const std::vector<std::int64_t> table = aruba_fast::tensor_table(sizes);
  return py::array_t<std::int64_t>({py::ssize_t{2}, std::ssize(table) / 2}, table.data());
}

bool add_prior(py::handle b, py::handle g, const py::array_t<std::int64_t>& table, double held,
               bool isotropic) {
  Arrays arrays("rule");
  const Tensors tensors(table.data(), table.shape(1) - 1);
  double *of_b = arrays.doubles(b, "b", {tensors.begins[tensors.n]}),
         *of_g = arrays.doubles(g, "g", {tensors.begins[tensors.n]});
  const py::gil_scoped_release release;
  return aruba_fast::add_prior(of_b, of_g, tensors, held, isotropic);
}

void read(PyMetaState& self, const py::sequence& names, const py::sequence& into) {
  Arrays arrays("read");
  self.read(arrays, names, into, std::memcpy);
}

void start(PyMetaState& self, py::handle learning_rate, py::handle rates) {
  Arrays arrays("start");
  self.start(arrays, learning_rate, rates, std::memcpy);
}

}  // namespace

void bind_meta(py::module_& module) {
  module.def(
      "add_round", add_round, py::arg("theta_hat"), py::arg("grad_sq"), py::arg("phi"),
      py::arg("weights"), py::arg("into"), py::arg("rates") = py::none(),
      py::arg("limit") = py::none(),
      "Adds the tasks of a round to sums [3, 2, d], weight [2] and counts [2], in place; those "
      "that spread beyond `limit` [1] in the metric of `rates` are shortened.");
  module.def("merge_statistics", merge_statistics, py::arg("into"), py::arg("other"),
             "Adds one round's sums to another's, compensated, in place.");
  module.def("tensor_table", tensor_table, py::arg("sizes"),
             "Where tensors of these sizes begin, and their pieces, [2, n_tensors + 1].");
  module.def("add_prior", add_prior, py::arg("b"), py::arg("g"), py::arg("table"), py::arg("held"),
             py::arg("isotropic"),
             "Adds to b and g, in place, the prior of one of `held` tasks, for a rule; isotropic, "
             "they become the means of their tensors. False where they hold nothing.");
  module.def("restraint", restraint, py::arg("n_tasks"), py::arg("n_skipped"),
             "What all rates are multiplied by after so many tasks that count and were left out.");
  bind_meta_state<Arrays>(module, with_statistics<&MetaState::apply>, read, start)
      .def("learn", learn, py::arg("theta_hat"), py::arg("grad_sq"), py::arg("weights"),
           py::arg("meta_step"), "`add_round` from nothing and `apply`, in one pass.")
      .def("require_sound", with_statistics<&MetaState::require_sound>, py::arg("statistics"),
           py::arg("meta_step"), "Refuses what `apply` would, and changes nothing.");
}

}  // namespace aruba_fast::python
