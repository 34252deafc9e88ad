// What statistics and the meta-update are told, read the same way wherever the arrays live.
#pragma once

#include <functional>
#include <vector>

#include "arrays.h"
#include "ops_meta.h"
#include "state_lock.h"

namespace aruba_fast::python {

// The results of a round of tasks, of fitting types and shapes. weights: None or one a task.
RoundArrays round_arguments(Arrays& arrays, py::handle theta_hat, py::handle grad_sq,
                            py::handle phi, py::handle weights);

// The same, whose tasks may spread `limit` [1] in the metric of `rates`; both None: what they like.
RoundArrays limited_round_arguments(Arrays& arrays, py::handle theta_hat, py::handle grad_sq,
                                    py::handle phi, py::handle weights, py::handle rates,
                                    py::handle limit);

MetaParameters meta_parameters(py::handle learning_rate, py::handle zeta, py::handle p,
                               py::handle decay, py::handle isotropic, py::handle max_learning_rate,
                               py::handle average_task, py::handle tight);

// None, or a finite number >= 0.
const double* optional_meta_step(const char* function, py::handle meta_step, double& storage);

// Of statistics, as far as their shape tells.
std::int64_t n_parameters_of(Arrays& arrays, const py::tuple& statistics);

// The sums [3, 2, n], weight [2] and counts [2] of a round, as memory of `Memory`'s three members.
template <class Memory>
Memory statistics_arguments(Arrays& arrays, const py::tuple& statistics, std::int64_t n) {
  return {arrays.doubles(statistics[0], "statistics", {3, 2, n}),
          arrays.doubles(statistics[1], "weight_sum", {2}),
          arrays.integers<std::int64_t>(statistics[2], "counts", 2)};
}

// Copies `size` bytes within the memory where the learner is.
using Copy = std::function<void(void* to, const void* from, std::size_t size)>;

// The learner's arrays, held for as long as the native state that points into them. What changes
// or copies them holds the lock meanwhile, and not the interpreter.
class PyMetaState {
 public:
  // `own`: the arrays by name; where the prior is one average task, the table of `tensor_table`
  // too.
  PyMetaState(Arrays& arrays, const py::dict& own, const MetaParameters& parameters,
              std::int64_t n_tensors, std::int64_t n_pieces);
  MetaState& state() { return state_; }
  StateLock& lock() { return lock_; }
  // What brings arrays up to date before they are read, while somebody learns; the lock is held.
  std::function<void()>& settle() { return settle_; }
  // phi, as Python knows it.
  py::handle initialization() const { return initialization_; }
  const std::vector<py::object>& arrays() const { return kept_; }
  // Fills arrays, one for each of these names, with as many values as they hold, all of one moment.
  void read(Arrays& arrays, const py::sequence& names, const py::sequence& into, const Copy& copy);
  // The first rate, once it is known: a number, and the array of the rates.
  void start(Arrays& arrays, py::handle learning_rate, py::handle rates, const Copy& copy);

 private:
  MetaState state_;
  StateLock lock_;
  std::function<void()> settle_;
  py::object initialization_;
  std::vector<py::object> kept_;
};

// The class MetaState of an extension module, whose arrays are read by `Reader` and whose
// methods are the others; each module has its own.
template <class Reader, class Apply, class Read, class Start>
auto bind_meta_state(py::module_& module, Apply apply, Read read, Start start) {
  return py::class_<PyMetaState>(module, "MetaState", py::module_local(),
                                 "The native view of a MetaLearner's arrays.")
      .def(py::init([](const py::dict& own, py::handle learning_rate, py::handle zeta, py::handle p,
                       py::handle decay, py::handle isotropic, py::handle max_learning_rate,
                       py::handle average_task, py::handle tight, std::int64_t n_tensors,
                       std::int64_t n_pieces) {
             Reader arrays("MetaState");
             return new PyMetaState(arrays, own,
                                    meta_parameters(learning_rate, zeta, p, decay, isotropic,
                                                    max_learning_rate, average_task, tight),
                                    n_tensors, n_pieces);
           }),
           py::arg("arrays"), py::kw_only(), py::arg("learning_rate"), py::arg("zeta"),
           py::arg("p"), py::arg("decay"), py::arg("isotropic"), py::arg("max_learning_rate"),
           py::arg("average_task"), py::arg("tight"), py::arg("n_tensors") = 0,
           py::arg("n_pieces") = 0)
      .def("apply", apply, py::arg("statistics"), py::arg("meta_step"),
           "The meta-update by the sums of one round.")
      .def("read", read, py::arg("names"), py::arg("into"),
           "Copies the arrays of these names, as they are at one moment, into others.")
      .def("start", start, py::arg("learning_rate"), py::arg("rates"),
           "Sets the first rate of a learner that has seen no task.");
}

}  // namespace aruba_fast::python
