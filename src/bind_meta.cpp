// add_round, merge_statistics and MetaState: what learner.py and statistics.py stand on.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <cmath>
#include <cstring>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

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
               const py::tuple& into, py::handle rates, py::handle limit, py::handle spreads) {
  Arrays arrays("MetaLearner.statistics");
  RoundArrays round =
      limited_round_arguments(arrays, theta_hat, grad_sq, phi, weights, rates, limit);
  if (!spreads.is_none()) round.spreads = arrays.doubles(spreads, "spreads", {round.n_tasks});
  require_weights(arrays.function(), round);
  const auto memory = statistics_arguments<StatisticsMemory>(arrays, into, round.n);
  const py::gil_scoped_release release;
  Statistics sums = memory.read();
  aruba_fast::add_round(arrays.function(), round, sums, nullptr);
  memory.write(sums);
}

py::array_t<double> spreads(py::handle theta_hat, py::handle grad_sq, py::handle phi,
                            py::handle rates) {
  Arrays arrays("spreads");
  RoundArrays round = round_arguments(arrays, theta_hat, grad_sq, phi, py::none());
  round.rates = arrays.exact(rates, "rates", round.type, {round.n}).data;
  std::vector<double> found;
  {
    const py::gil_scoped_release release;
    found = spreads_of(round);
  }
  return py::array_t<double>(std::ssize(found), found.data());
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

using Table = py::array_t<std::int64_t>;
// Of tensors, and last of all: sums of b and g [n + 1, 2], and of how many coordinates.
using Sums = py::array_t<double, py::array::c_style>;
using Sizes = py::array_t<std::int64_t, py::array::c_style>;

Tensors tensors_of(const Table& table) { return {table.data(), table.shape(1) - 1}; }

std::vector<SumsOfTensor> sums_argument(Arrays& arrays, const Sums& sums, const Sizes& sizes,
                                        std::int64_t n_tensors) {
  const double* values = arrays.doubles(sums, "sums", {n_tensors + 1, 2});
  const auto* numbers = arrays.integers<std::int64_t>(sizes, "sizes", n_tensors + 1);
  std::vector<SumsOfTensor> found;
  for (std::int64_t i = 0; i <= n_tensors; ++i)
    found.push_back({values[2 * i], values[2 * i + 1], numbers[i]});
  return found;
}

py::array_t<double> sums_of_tensors(py::handle b, py::handle g, const Table& table) {
  Arrays arrays("sums_of_tensors");
  const Tensors tensors = tensors_of(table);
  const double *of_b = arrays.doubles(b, "b", {tensors.begins[tensors.n]}),
               *of_g = arrays.doubles(g, "g", {tensors.begins[tensors.n]});
  py::array_t<double> found({py::ssize_t{tensors.n}, py::ssize_t{2}});
  double* to = found.mutable_data();
  const py::gil_scoped_release release;
  for (const SumsOfTensor& sums : aruba_fast::sums_of_tensors(of_b, of_g, tensors)) {
    if (to == found.data() + found.size()) break;  // those of all
    *to++ = sums.b;
    *to++ = sums.g;
  }
  return found;
}

bool add_prior(py::handle b, py::handle g, const Table& table, double held, bool isotropic,
               const std::optional<std::pair<Sums, Sizes>>& whole) {
  Arrays arrays("rule");
  const Tensors tensors = tensors_of(table);
  double *of_b = arrays.doubles(b, "b", {tensors.begins[tensors.n]}),
         *of_g = arrays.doubles(g, "g", {tensors.begins[tensors.n]});
  std::vector<SumsOfTensor> sums;
  if (whole) sums = sums_argument(arrays, whole->first, whole->second, tensors.n);
  const py::gil_scoped_release release;
  if (!whole) sums = aruba_fast::sums_of_tensors(of_b, of_g, tensors);
  return aruba_fast::add_prior(of_b, of_g, tensors, sums, held, isotropic);
}

void be_part(PyMetaState& self, std::int64_t n_whole) {
  const std::lock_guard held(self.lock());
  self.state().n_whole = n_whole;
}

double find_rates(PyMetaState& self, const Sums& sums, const Sizes& sizes) {
  Arrays arrays("find_rates");
  MetaState& state = self.state();
  const std::int64_t n_tensors = state.parameters.average_task ? state.tensors.n : 1;
  const std::vector<SumsOfTensor> whole = sums_argument(arrays, sums, sizes, n_tensors);
  const py::gil_scoped_release release;
  const std::lock_guard held(self.lock());
  return state.find_rates(whole);
}

void set_limit(PyMetaState& self, double spread) {
  const std::lock_guard held(self.lock());
  self.state().set_limit(spread);
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
      py::arg("limit") = py::none(), py::arg("spreads") = py::none(),
      "Adds the tasks of a round to sums [3, 2, d], weight [2] and counts [2], in place; those "
      "that spread beyond `limit` [1] in the metric of `rates`, or by `spreads` [n_tasks] over "
      "more coordinates than these, are shortened.");
  module.def("spreads", spreads, py::arg("theta_hat"), py::arg("grad_sq"), py::arg("phi"),
             py::arg("rates"), "What each task spreads in the metric of the rates, [n_tasks].");
  module.def("merge_statistics", merge_statistics, py::arg("into"), py::arg("other"),
             "Adds one round's sums to another's, compensated, in place.");
  module.def("tensor_table", tensor_table, py::arg("sizes"),
             "Where tensors of these sizes begin, and their pieces, [2, n_tensors + 1].");
  module.def("sums_of_tensors", sums_of_tensors, py::arg("b"), py::arg("g"), py::arg("table"),
             "What b and g of each tensor sum to, [n_tensors, 2].");
  module.def("add_prior", add_prior, py::arg("b"), py::arg("g"), py::arg("table"), py::arg("held"),
             py::arg("isotropic"), py::arg("whole") = py::none(),
             "Adds to b and g, in place, the prior of one of `held` tasks, for a rule; isotropic, "
             "they become the means of their tensors. False where they hold nothing. `whole`: what "
             "to sum instead, as `find_rates`.");
  module.def("restraint", restraint, py::arg("n_tasks"), py::arg("n_skipped"),
             "What all rates are multiplied by after so many tasks that count and were left out.");
  bind_meta_state<Arrays>(module, with_statistics<&MetaState::apply>, read, start)
      .def("learn", learn, py::arg("theta_hat"), py::arg("grad_sq"), py::arg("weights"),
           py::arg("meta_step"), "`add_round` from nothing and `apply`, in one pass.")
      .def("be_part", be_part, py::arg("n_whole"),
           "Leaves what is learned from sums over so many coordinates to `find_rates` and "
           "`set_limit`.")
      .def("find_rates", find_rates, py::arg("sums"), py::arg("sizes"),
           "The rates by the sums of b and g over tensors, and last over all, [n_tensors + 1, 2], "
           "and their sizes. Returns what tasks have spread over the coordinates that are here.")
      .def("set_limit", set_limit, py::arg("spread"),
           "How far a task may spread, by what all have over all coordinates.")
      .def("require_sound", with_statistics<&MetaState::require_sound>, py::arg("statistics"),
           py::arg("meta_step"), "Refuses what `apply` would, and changes nothing.");
}

}  // namespace aruba_fast::python
