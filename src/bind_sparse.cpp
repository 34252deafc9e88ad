// Rows in CSR form, read and measured: what _sparse.py stands on.
#include <pybind11/numpy.h>

#include <algorithm>
#include <memory>

#include "bindings.h"
#include "ops_sparse.h"
#include "task_arguments.h"

namespace aruba_fast::python {
namespace {

// An array of the vector's own memory.
template <class T>
py::array_t<T> array_of(std::vector<T>&& values) {
  auto held = std::make_unique<std::vector<T>>(std::move(values));
  const std::vector<T>& memory = *held;
  const py::capsule owner(held.get(), [](void* p) { delete static_cast<std::vector<T>*>(p); });
  static_cast<void>(held.release());
  return py::array_t<T>(std::ssize(memory), memory.data(), owner);
}

// Calls body with the memory of a vector of integers, which _sparse.py has made contiguous.
template <class Body>
void with_integers(const py::array& array, Body body) {
  if (array.itemsize() == 4) body(static_cast<const std::int32_t*>(array.data()));
  else body(static_cast<const std::int64_t*>(array.data()));
}

py::tuple read_csr(const std::string& function, const py::array& indptr, const py::array& indices,
                   const py::array& values, std::int64_t n_columns) {
  CsrIndex index;
  with_integers(indptr, [&](const auto* begins) {
    with_integers(indices, [&](const auto* columns) {
      const py::gil_scoped_release release;
      index = aruba_fast::read_csr(function.c_str(), begins, indptr.size() - 1, columns,
                                   std::min(indices.size(), values.size()), n_columns);
    });
  });
  const py::slice used(0, index.begins.back(), 1);
  py::object kept = values[used];
  if (!index.is_canonical) {
    kept = kept.attr("copy")();
    py::array own = kept;
    void* const memory = own.mutable_data();
    std::int64_t n = 0;
    {
      const py::gil_scoped_release release;
      const auto made = [&](auto* numbers) {
        return make_canonical(function.c_str(), index, numbers);
      };
      switch (own.itemsize()) {
        case 1:
          n = made(static_cast<std::uint8_t*>(memory));
          break;
        case 2:
          n = made(static_cast<std::uint16_t*>(memory));
          break;
        case 4:
          n = made(static_cast<float*>(memory));
          break;
        default:
          n = made(static_cast<double*>(memory));
      }
    }
    kept = own[py::slice(0, n, 1)];
  }
  return py::make_tuple(array_of(std::move(index.begins)), array_of(std::move(index.columns)),
                        kept);
}

void measure_rows(const py::tuple& table_given, py::handle phi, py::handle squares,
                  py::handle scores) {
  Arrays arrays("measure_rows");
  const TaskTable table = table_of(arrays, table_given);
  const double* start = phi.is_none() ? nullptr : arrays.doubles(phi, "phi", {table.n_features});
  double *of_squares = arrays.doubles(squares, "squares", {table.n_rows}),
         *of_scores = arrays.doubles(scores, "scores", {table.n_rows});
  const py::gil_scoped_release release;
  aruba_fast::measure_rows(table, start, of_squares, of_scores);
}

py::tuple run_sparse_tasks(const py::tuple& table, py::handle phi, const py::tuple& rule,
                           const py::tuple& options) {
  Arrays arrays("run_tasks");
  const py::array_t<double> loss(py::len(table[2]));
  const RunArguments run(arrays, table, phi, rule, options,
                         py::make_tuple(py::none(), py::none(), py::none(), loss));
  if (!run.table.rows.columns) refuse(arrays.function(), "`x`", "be of sparse rows", "dense ones");
  require_rows(arrays.function(), run.table);
  Watch watch(interrupted);
  SparseThetas found;
  {
    const py::gil_scoped_release release;
    found = aruba_fast::run_sparse_tasks(run.table, run.options, run.rule, run.phi.data,
                                         run.phi_stride(), watch);
  }
  if (watch.stop) throw py::error_already_set();
  const char* type = run.table.type == Type::kFloat64 ? "float64" : "float32";
  return py::make_tuple(array_of(std::move(found.begins)), array_of(std::move(found.columns)),
                        array_of(std::move(found.theta_hat)).attr("view")(type));
}

}  // namespace

void bind_sparse(py::module_& module) {
  module.def("read_csr", read_csr, py::arg("function"), py::arg("indptr"), py::arg("indices"),
             py::arg("values"), py::arg("n_columns"),
             "Checked copies of where the entries of CSR rows are, and the values: the same memory "
             "where columns rise strictly in every row, else sorted and summed.");
  module.def("measure_rows", measure_rows, py::arg("table"), py::arg("phi"), py::arg("squares"),
             py::arg("scores"), "The squared length of every sparse row, and its score by phi.");
  module.def(
      "run_sparse_tasks", run_sparse_tasks, py::arg("table"), py::arg("phi"), py::arg("rule"),
      py::arg("options"),
      "Where sparse tasks end in the columns that they touch: where each begins, the columns, "
      "and theta_hat, a number for each output; of tasks that diverge there is nothing.");
}

}  // namespace aruba_fast::python
