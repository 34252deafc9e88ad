// statistics, merge_statistics and MetaState: what learner.py and statistics.py stand on.
#include <cmath>
#include <limits>

#include "arrays.h"
#include "bindings.h"
#include "meta_state.h"
#include "ops_meta.h"

namespace aruba_fast::python {
namespace {

double* doubles(const char* function, const char* name, py::handle object,
                std::initializer_list<std::int64_t> shape) {
  return static_cast<double*>(exact(function, name, object, Type::kFloat64, shape).data);
}

std::int64_t length(const char* function, const char* name, py::handle object) {
  Arrays arrays(function);
  const Array array = arrays.one(object, name, Access::kRead);
  if (array.n_dimensions != 1 || array.size() == 0)
    refuse(function, array.quoted(), "be a non-empty vector", array.shape_text());
  return array.size();
}

py::tuple statistics(py::handle theta_hat, py::handle grad_sq, py::handle phi, py::handle weights) {
  constexpr const char* function = "statistics";
  Arrays arrays(function);
  const Array hat = arrays.one(theta_hat, "theta_hat", Access::kRead),
              squares = arrays.one(grad_sq, "grad_sq", Access::kRead),
              start = arrays.one(phi, "phi", Access::kRead);
  if (hat.type != start.type || (hat.type != Type::kFloat32 && hat.type != Type::kFloat64))
    refuse<TypeError>(function, hat.quoted(), "have the type of `phi`", name_of(hat.type),
                      name_of(start.type));
  if (hat.n_dimensions != 2 || start.n_dimensions != 1 || hat.shape[1] != start.shape[0] ||
      hat.shape[1] == 0)
    refuse(function, hat.quoted(), "have a row as long as `phi` for each task", hat.shape_text(),
           "(n_tasks, " + std::to_string(start.size()) + ")");
  if (squares.type != hat.type)
    refuse<TypeError>(function, squares.quoted(), "have the type of `theta_hat`",
                      name_of(squares.type), name_of(hat.type));
  if (!squares.same_shape(hat))
    refuse(function, squares.quoted(), "have the shape of `theta_hat`", squares.shape_text(),
           hat.shape_text());
  const double* weight =
      weights.is_none() ? nullptr : doubles(function, "weights", weights, {hat.shape[0]});
  for (std::int64_t i = 0; weight && i < hat.shape[0]; ++i)
    if (!(weight[i] >= 0) || std::isinf(weight[i]))
      refuse(function, "`weights`", "be finite and not negative", py::str(py::float_(weight[i])));
  const std::int64_t n = start.size();
  py::array_t<double> sums({std::int64_t(3), std::int64_t(2), n});
  std::fill_n(sums.mutable_data(), 6 * n, 0.0);
  Statistics result{sums.mutable_data()};
  {
    const py::gil_scoped_release release;
    add_round(function, {hat.data, squares.data, start.data, weight, hat.shape[0], n, hat.type},
              result, nullptr);
  }
  py::array_t<double> total(2);
  total.mutable_at(0) = result.weight.high;
  total.mutable_at(1) = result.weight.low;
  return py::make_tuple(sums, total, result.n_tasks, result.n_skipped);
}

void merge_statistics(py::array_t<double> sums_into, py::handle weight_into, py::handle sums,
                      py::handle weight) {
  constexpr const char* function = "merge_statistics";
  const std::int64_t n = sums_into.ndim() == 3 ? sums_into.shape(2) : 0;
  double* total = doubles(function, "weight_into", weight_into, {2});
  const double* added = doubles(function, "weight", weight, {2});
  Statistics into{doubles(function, "sums_into", sums_into, {3, 2, n}), {total[0], total[1]}};
  merge(into, {doubles(function, "sums", sums, {3, 2, n}), {added[0], added[1]}}, n);
  total[0] = into.weight.high;
  total[1] = into.weight.low;
}

double parameter(const char* name, py::handle object, double least, bool least_allowed,
                 double below = std::numeric_limits<double>::infinity()) {
  const double value = number("MetaLearner", name, object);
  if (!(value > least || (least_allowed && value == least)) || !(value < below))
    refuse("MetaLearner", "`" + std::string(name) + "`",
           std::string("be ") + (least_allowed ? "at least " : "greater than ") +
               std::to_string(static_cast<int>(least)) +
               (std::isinf(below) ? " and finite"
                                  : " and less than " + std::to_string(static_cast<int>(below))),
           py::str(py::float_(value)));
  return value;
}

MetaParameters parameters(py::handle learning_rate, py::handle zeta, py::handle p, py::handle decay,
                          py::handle isotropic, py::handle max_learning_rate) {
  MetaParameters result;
  result.learning_rate = parameter("learning_rate", learning_rate, 0, false);
  result.zeta = parameter("zeta", zeta, 0, false);
  result.p = parameter("p", p, 0, true);
  result.decay = parameter("decay", decay, 0, true, 1);
  result.isotropic = isotropic.cast<bool>();
  result.max_learning_rate = max_learning_rate.is_none()
                                 ? std::numeric_limits<double>::infinity()
                                 : parameter("max_learning_rate", max_learning_rate, 0, false);
  return result;
}

}  // namespace

const double* optional_meta_step(py::handle meta_step, double& storage) {
  if (meta_step.is_none()) return nullptr;
  storage = number("MetaLearner", "meta_step", meta_step);
  if (!(storage >= 0) || std::isinf(storage))
    refuse("MetaLearner", "`meta_step`", "be finite and not negative",
           py::str(py::float_(storage)));
  return &storage;
}

PyMetaState::PyMetaState(py::handle phi_master, py::handle phi, py::handle b, py::handle g,
                         py::handle rate, py::handle rho, py::handle counts, py::handle weight,
                         const MetaParameters& parameters) {
  constexpr const char* function = "MetaState";
  const std::int64_t n = length(function, "phi_master", phi_master);
  Arrays arrays(function);
  const Array initialization = arrays.one(phi, "phi", Access::kModify);
  state_.phi_master = doubles(function, "phi_master", phi_master, {n});
  state_.phi = exact(function, "phi", phi, initialization.type, {n}).data;
  state_.b = doubles(function, "b", b, {n});
  state_.g = doubles(function, "g", g, {n});
  state_.rates = exact(function, "rate", rate, initialization.type, {n}).data;
  state_.rho = doubles(function, "rho", rho, {n});
  auto* count = const_cast<std::int64_t*>(indices(function, "counts", counts, 2));
  state_.n_tasks = count;
  state_.n_skipped = count + 1;
  state_.weight_high = doubles(function, "weight", weight, {2});
  state_.weight_low = state_.weight_high + 1;
  state_.n = n;
  state_.type = initialization.type;
  state_.parameters = parameters;
  for (const py::handle array : {phi_master, phi, b, g, rate, rho, counts, weight})
    kept_.push_back(py::reinterpret_borrow<py::object>(array));
}

void PyMetaState::apply(py::handle sums, py::handle weight, std::int64_t n_tasks,
                        std::int64_t n_skipped, py::handle meta_step) {
  constexpr const char* function = "apply";
  double step = 0;
  const double* chosen = optional_meta_step(meta_step, step);
  const double* total = doubles(function, "weight", weight, {2});
  const Statistics statistics{
      doubles(function, "sums", sums, {3, 2, state_.n}), {total[0], total[1]}, n_tasks, n_skipped};
  const py::gil_scoped_release release;
  state_.apply(statistics, chosen);
}

void bind_meta(py::module_& module) {
  module.def("statistics", statistics, py::arg("theta_hat"), py::arg("grad_sq"), py::arg("phi"),
             py::arg("weights"),
             "Sums over the tasks of a round: (sums [3, 2, d], weight [2], n_tasks, n_skipped).");
  module.def("merge_statistics", merge_statistics, py::arg("sums_into"), py::arg("weight_into"),
             py::arg("sums"), py::arg("weight"),
             "Adds one round's sums to another's, compensated, in place.");
  py::class_<PyMetaState>(module, "MetaState", "The native view of a MetaLearner's arrays.")
      .def(py::init([](py::handle phi_master, py::handle phi, py::handle b, py::handle g,
                       py::handle rate, py::handle rho, py::handle counts, py::handle weight,
                       py::handle learning_rate, py::handle zeta, py::handle p, py::handle decay,
                       py::handle isotropic, py::handle max_learning_rate) {
             return new PyMetaState(
                 phi_master, phi, b, g, rate, rho, counts, weight,
                 parameters(learning_rate, zeta, p, decay, isotropic, max_learning_rate));
           }),
           py::arg("phi_master"), py::arg("phi"), py::arg("b"), py::arg("g"), py::arg("rate"),
           py::arg("rho"), py::arg("counts"), py::arg("weight"), py::kw_only(),
           py::arg("learning_rate"), py::arg("zeta"), py::arg("p"), py::arg("decay"),
           py::arg("isotropic"), py::arg("max_learning_rate"))
      .def("apply", &PyMetaState::apply, py::arg("sums"), py::arg("weight"), py::arg("n_tasks"),
           py::arg("n_skipped"), py::arg("meta_step"), "The meta-update by the sums of one round.");
}

}  // namespace aruba_fast::python
