// What was built, what runs, and on how many threads.
#include "arrays.h"
#include "bindings.h"
#include "kernels.h"
#include "on_cuda.h"
#include "parallel.h"

namespace aruba_fast::python {
namespace {

void set_num_threads(py::handle n) {
  if (n.is_none()) return set_n_threads(0);
  const double value = number("set_num_threads", "n", n);
  if (!(value >= 1 && value <= kMostThreads) || value != static_cast<int>(value))
    refuse("set_num_threads", "`n`",
           "be a whole number from 1 to " + std::to_string(kMostThreads) + ", or None",
           py::str(py::float_(value)));
  set_n_threads(static_cast<int>(value));
}

void join_process_here() {
  join_process();
  kernels();  // chosen, or ARUBA_ISA refused
}

py::dict cuda_info() {
  try {
    return py::module_::import("aruba_fast._cuda").attr("info")();
  } catch (py::error_already_set& error) {
    if (!error.matches(PyExc_ModuleNotFoundError)) throw;
  }
  py::dict result;
  result["built"] = false;
  result["versions"] = py::none();
  result["devices"] = 0;
  result["problem"] = "built without CUDA";
  return result;
}

py::dict info() {
  py::list names;
  for (int i = 0; i < n_instruction_sets(); ++i) names.append(instruction_set(i));
  py::dict result;
  result["version"] = ARUBA_VERSION;
  result["isa"] = kernels().name;
  result["isas"] = names;
  result["threads"] = n_threads();
  result["openmp"] = has_openmp();
  result["compiler"] = __VERSION__;
  result["cuda"] = cuda_info();
  return result;
}

}  // namespace

void bind_info(py::module_& module) {
  module.def("join_process", join_process_here,
             "To be called at import: looks at the environment, and watches for forks.");
  module.def("set_num_threads", set_num_threads, py::arg("n"),
             R"(Sets the number of threads of every later call.

Args:
    n: A whole number from 1 to 4096, or None for the default: ARUBA_NUM_THREADS, else OpenMP's limit (which threadpoolctl also
        governs) within the CPU quota of the container. No result depends on it.

Raises:
    ValueError: n is out of range.
    TypeError: n is not a number.

Example:
    >>> import aruba_fast as af
    >>> af.set_num_threads(1)
    >>> af.get_num_threads()
    1
    >>> af.set_num_threads(None))");
  module.def("get_num_threads", n_threads,
             "The number of threads that the next call may use; 1 in a forked child.");
  module.def("info", info, R"(What was built and what runs here.

Returns:
    dict: version, isa (the instruction set in use; ARUBA_ISA in the environment overrides it), isas (those this processor and build
    offer), threads, openmp, compiler, cuda: a dict of built, versions (of CUDA's runtime and driver), devices (how many can be
    used) and problem (why there are none, or None). Asking makes no CUDA context.)");
  module.def("on_cuda", on_cuda, py::arg("value"),
             "Whether an array, or the first of a list, lives in the memory of a CUDA device.");
}

}  // namespace aruba_fast::python
