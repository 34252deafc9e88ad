// The extension module aruba_fast._core: a table of contents.
#include "bindings.h"
#include "core_entries.h"
#include "errors.h"

namespace aruba_fast::python {
namespace {

constexpr CoreEntries kEntries = {
    .kernels = kernels,
    .run_steps = run_steps,
    .sum_elsewhere = sum_elsewhere,
    .apply_elsewhere =
        [](MetaState& state, const Statistics& statistics, const double* meta_step,
           const ColumnsElsewhere& columns) {
          return state.apply_elsewhere(statistics, meta_step, columns);
        },
    .learn_elsewhere =
        [](MetaState& state, const char* function, const RoundArrays& tasks,
           const double* meta_step, const ColumnsElsewhere& columns) {
          return state.learn_elsewhere(function, tasks, meta_step, columns);
        }};

}  // namespace
}  // namespace aruba_fast::python

PYBIND11_MODULE(_core, module, pybind11::mod_gil_not_used()) {
  module.doc() = "Native core of aruba_fast.";
  aruba_fast::python::define_cuda_error(module);
  aruba_fast::python::translate_errors();
  aruba_fast::python::bind_step(module);
  aruba_fast::python::bind_meta(module);
  aruba_fast::python::bind_tasks(module);
  aruba_fast::python::bind_sparse(module);
  aruba_fast::python::bind_proximal(module);
  aruba_fast::python::bind_theory(module);
  aruba_fast::python::bind_info(module);
  module.attr("entries") =
      pybind11::capsule(&aruba_fast::python::kEntries, aruba_fast::python::CoreEntries::kName);
}
