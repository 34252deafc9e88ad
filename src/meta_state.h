// The learner's arrays, held for as long as the native state that points into them.
#pragma once

#include <pybind11/pybind11.h>

#include <vector>

#include "ops_meta.h"

namespace aruba_fast::python {

class PyMetaState {
 public:
  PyMetaState(pybind11::handle phi_master, pybind11::handle phi, pybind11::handle b,
              pybind11::handle g, pybind11::handle rate, pybind11::handle rho,
              pybind11::handle counts, pybind11::handle weight, const MetaParameters& parameters);
  void apply(pybind11::handle sums, pybind11::handle weight, std::int64_t n_tasks,
             std::int64_t n_skipped, pybind11::handle meta_step);
  MetaState& state() { return state_; }

 private:
  MetaState state_;
  std::vector<pybind11::object> kept_;
};

// None, a finite number >= 0; name it in the error.
const double* optional_meta_step(pybind11::handle meta_step, double& storage);

}  // namespace aruba_fast::python
