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

MetaParameters meta_parameters(py::handle learning_rate, py::handle zeta, py::handle p,
                               py::handle decay, py::handle isotropic,
                               py::handle max_learning_rate);

// None, a finite number >= 0; named in the error.
const double* optional_meta_step(py::handle meta_step, double& storage);

// Copies `size` bytes within the memory where the learner is.
using Copy = std::function<void(void* to, const void* from, std::size_t size)>;

// The learner's arrays, held for as long as the native state that points into them. What changes
// or copies them holds the lock meanwhile, and not the interpreter.
class PyMetaState {
 public:
  PyMetaState(Arrays& arrays, py::handle phi_master, py::handle phi, py::handle b, py::handle g,
              py::handle rate, py::handle rho, py::handle counts, py::handle weight,
              const MetaParameters& parameters);
  MetaState& state() { return state_; }
  StateLock& lock() { return lock_; }
  // phi, as Python knows it.
  py::handle initialization() const { return kept_[1]; }
  // Fills arrays, as many as there are names of the constructor's arguments, with as many values as
  // they hold, all of one moment.
  void read(Arrays& arrays, const py::sequence& names, const py::sequence& into, const Copy& copy);

 private:
  MetaState state_;
  StateLock lock_;
  std::vector<py::object> kept_;
};

// The class MetaState of an extension module, whose arrays are read by `Reader` and whose update is
// `apply`; each module has its own.
template <class Reader, class Apply, class Read>
auto bind_meta_state(py::module_& module, Apply apply, Read read) {
  return py::class_<PyMetaState>(module, "MetaState", py::module_local(),
                                 "The native view of a MetaLearner's arrays.")
      .def(py::init([](py::handle phi_master, py::handle phi, py::handle b, py::handle g,
                       py::handle rate, py::handle rho, py::handle counts, py::handle weight,
                       py::handle learning_rate, py::handle zeta, py::handle p, py::handle decay,
                       py::handle isotropic, py::handle max_learning_rate) {
             Reader arrays("MetaState");
             return new PyMetaState(
                 arrays, phi_master, phi, b, g, rate, rho, counts, weight,
                 meta_parameters(learning_rate, zeta, p, decay, isotropic, max_learning_rate));
           }),
           py::arg("phi_master"), py::arg("phi"), py::arg("b"), py::arg("g"), py::arg("rate"),
           py::arg("rho"), py::arg("counts"), py::arg("weight"), py::kw_only(),
           py::arg("learning_rate"), py::arg("zeta"), py::arg("p"), py::arg("decay"),
           py::arg("isotropic"), py::arg("max_learning_rate"))
      .def("apply", apply, py::arg("sums"), py::arg("weight"), py::arg("counts"),
           py::arg("meta_step"), "The meta-update by the sums of one round.")
      .def("read", read, py::arg("names"), py::arg("into"),
           "Copies the arrays of these names, as they are at one moment, into others.");
}

}  // namespace aruba_fast::python
