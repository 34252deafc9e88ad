// add_round, merge_statistics and MetaState: what learner.py and statistics.py stand on.
#include <cmath>
#include <cstring>
#include <mutex>

#include "bindings.h"
#include "meta_arguments.h"

namespace aruba_fast::python {
namespace {

void require_weights(const char* function, const RoundArrays& round) {
  for (std::int64_t i = 0; round.weights && i < round.n_tasks; ++i)
    if (!is_weight(round.weights[i]))
      refuse(function, "`weights`", "be moderate", py::str(py::float_(round.weights[i])),
             "0, or 1e-150 to 1e150");
}

// The sums of a round in the arrays of a TaskStatistics: the native form, and back.
struct StatisticsArrays {
  StatisticsArrays(Arrays& arrays, py::handle sums, py::handle weight, py::handle counts,
                   std::int64_t n)
      : weight_(arrays.doubles(weight, "weight", {2})),
        counts_(arrays.integers<std::int64_t>(counts, "counts", 2)),
        value{arrays.doubles(sums, "sums", {3, 2, n}),
              {weight_[0], weight_[1]},
              counts_[0],
              counts_[1]} {}
  void write_back() {
    weight_[0] = value.weight.high;
    weight_[1] = value.weight.low;
    counts_[0] = value.n_tasks;
    counts_[1] = value.n_skipped;
  }

 private:
  double* weight_;
  std::int64_t* counts_;

 public:
  Statistics value;
};

void add_round(py::handle theta_hat, py::handle grad_sq, py::handle phi, py::handle weights,
               py::handle sums, py::handle weight, py::handle counts) {
  Arrays arrays("MetaLearner.statistics");
  const RoundArrays round = round_arguments(arrays, theta_hat, grad_sq, phi, weights);
  require_weights(arrays.function(), round);
  StatisticsArrays into(arrays, sums, weight, counts, round.n);
  {
    const py::gil_scoped_release release;
    aruba_fast::add_round(arrays.function(), round, into.value, nullptr);
  }
  into.write_back();
}

void merge_statistics(py::handle sums_into, py::handle weight_into, py::handle counts_into,
                      py::handle sums, py::handle weight, py::handle counts) {
  Arrays arrays("merge_statistics");
  const std::int64_t n = arrays.one(sums_into, "sums_into", Access::kModify).shape[2];
  StatisticsArrays into(arrays, sums_into, weight_into, counts_into, n);
  merge(into.value, StatisticsArrays(arrays, sums, weight, counts, n).value, n);
  into.write_back();
}

// Reads statistics, and does with them what `act` does to a state that is locked.
template <auto act>
void with_statistics(PyMetaState& self, py::handle sums, py::handle weight, py::handle counts,
                     py::handle meta_step) {
  double step = 0;
  const double* chosen = optional_meta_step(meta_step, step);
  Arrays arrays("apply");
  const Statistics statistics =
      StatisticsArrays(arrays, sums, weight, counts, self.state().n).value;
  const py::gil_scoped_release release;
  const std::lock_guard held(self.lock());
  (self.state().*act)("MetaLearner.apply", statistics, chosen);
}

void learn(PyMetaState& self, py::handle theta_hat, py::handle grad_sq, py::handle weights,
           py::handle meta_step) {
  double step = 0;
  const double* chosen = optional_meta_step(meta_step, step);
  Arrays arrays("MetaLearner.update");
  const RoundArrays round =
      round_arguments(arrays, theta_hat, grad_sq, self.initialization(), weights);
  require_weights(arrays.function(), round);
  const py::gil_scoped_release release;
  const std::lock_guard held(self.lock());
  self.state().learn(arrays.function(), round, chosen);
}

void read(PyMetaState& self, const py::sequence& names, const py::sequence& into) {
  Arrays arrays("read");
  self.read(arrays, names, into, std::memcpy);
}

}  // namespace

void bind_meta(py::module_& module) {
  module.def("add_round", add_round, py::arg("theta_hat"), py::arg("grad_sq"), py::arg("phi"),
             py::arg("weights"), py::arg("sums"), py::arg("weight"), py::arg("counts"),
             "Adds the tasks of a round to sums [3, 2, d], weight [2] and counts [2], in place.");
  module.def("merge_statistics", merge_statistics, py::arg("sums_into"), py::arg("weight_into"),
             py::arg("counts_into"), py::arg("sums"), py::arg("weight"), py::arg("counts"),
             "Adds one round's sums to another's, compensated, in place.");
  bind_meta_state<Arrays>(module, with_statistics<&MetaState::apply>, read)
      .def("learn", learn, py::arg("theta_hat"), py::arg("grad_sq"), py::arg("weights"),
           py::arg("meta_step"), "`add_round` from nothing and `apply`, in one pass.")
      .def("require_sound", with_statistics<&MetaState::require_sound>, py::arg("sums"),
           py::arg("weight"), py::arg("counts"), py::arg("meta_step"),
           "Refuses what `apply` would, and changes nothing.");
}

}  // namespace aruba_fast::python
