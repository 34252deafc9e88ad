// What statistics and the meta-update are told, read the same way wherever the arrays live.
#include "meta_arguments.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <string_view>

namespace aruba_fast::python {

RoundArrays round_arguments(Arrays& arrays, py::handle theta_hat, py::handle grad_sq,
                            py::handle phi, py::handle weights) {
  const char* function = arrays.function();
  const Array hat = arrays.one(theta_hat, "run", Access::kRead),
              squares = arrays.one(grad_sq, "grad_sq", Access::kRead),
              start = arrays.one(phi, "phi", Access::kRead);
  if (hat.type != start.type || (hat.type != Type::kFloat32 && hat.type != Type::kFloat64))
    refuse<TypeError>(function, hat.quoted(), "have the type of `phi`", name_of(hat.type),
                      name_of(start.type) + std::string(", as a run from learner.phi has"));
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
  RoundArrays round = {.theta_hat = hat.data,
                       .grad_sq = squares.data,
                       .phi = start.data,
                       .weights = nullptr,
                       .n_tasks = hat.shape[0],
                       .n = start.size(),
                       .type = hat.type};
  if (weights.is_none()) return round;
  const Array weight = arrays.one(weights, "weights", Access::kExact);
  if (weight.type != Type::kFloat64)
    refuse<TypeError>(function, weight.quoted(), "be float64", name_of(weight.type));
  if (weight.n_dimensions != 1 || weight.shape[0] != round.n_tasks)
    refuse(function, weight.quoted(), "have a value for each task", weight.shape_text(),
           "(" + std::to_string(round.n_tasks) + ",)");
  round.weights = static_cast<const double*>(weight.data);
  return round;
}

RoundArrays limited_round_arguments(Arrays& arrays, py::handle theta_hat, py::handle grad_sq,
                                    py::handle phi, py::handle weights, py::handle rates,
                                    py::handle limit) {
  RoundArrays round = round_arguments(arrays, theta_hat, grad_sq, phi, weights);
  if (limit.is_none()) return round;
  round.rates = arrays.exact(rates, "rates", round.type, {round.n}).data;
  round.limit = arrays.doubles(limit, "limit", {1});
  return round;
}

namespace {

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

}  // namespace

MetaParameters meta_parameters(py::handle learning_rate, py::handle zeta, py::handle p,
                               py::handle decay, py::handle isotropic, py::handle max_learning_rate,
                               py::handle average_task, py::handle tight) {
  return {.learning_rate = parameter("learning_rate", learning_rate, 0, false),
          .zeta = parameter("zeta", zeta, 0, false),
          .p = parameter("p", p, 0, true),
          .decay = parameter("decay", decay, 0, true, 1),
          .max_learning_rate = max_learning_rate.is_none()
                                   ? std::numeric_limits<double>::infinity()
                                   : parameter("max_learning_rate", max_learning_rate, 0, false),
          .isotropic = isotropic.cast<bool>(),
          .average_task = average_task.cast<bool>(),
          .tight = tight.cast<bool>()};
}

const double* optional_meta_step(const char* function, py::handle meta_step, double& storage) {
  if (meta_step.is_none()) return nullptr;
  // Python's bool is an integer, and NumPy's has a float.
  const auto is_boolean = [meta_step] {
    return PyBool_Check(meta_step.ptr()) || is_instance_of(meta_step, "numpy", "bool_");
  };
  if (!PyFloat_Check(meta_step.ptr()) && (is_boolean() || !is_number(meta_step)))
    refuse<TypeError>(function, "`meta_step`", "be a real number", type_name(meta_step), "a float");
  storage = number(function, "meta_step", meta_step);
  if (!(storage >= 0) || std::isinf(storage))
    refuse(function, "`meta_step`", std::isfinite(storage) ? "not be negative" : "be finite",
           py::str(py::float_(storage)), "a finite number >= 0");
  return &storage;
}

std::int64_t n_parameters_of(Arrays& arrays, const py::tuple& statistics) {
  const Array sums = arrays.one(statistics[0], "statistics", Access::kModify);
  if (sums.n_dimensions != 3)
    refuse(arrays.function(), sums.quoted(), "have 3 dimensions", sums.shape_text());
  return sums.shape[2];
}

PyMetaState::PyMetaState(Arrays& arrays, const py::dict& own, const MetaParameters& parameters,
                         std::int64_t n_tensors, std::int64_t n_pieces) {
  const Array master = arrays.one(own["phi_master"], "phi_master", Access::kModify);
  const std::int64_t n = master.size();
  if (master.n_dimensions != 1 || n == 0)
    refuse(arrays.function(), master.quoted(), "be a non-empty vector", master.shape_text());
  const Array initialization = arrays.one(own["phi"], "phi", Access::kModify);
  const Type type = initialization.type;
  if (type != Type::kFloat32 && type != Type::kFloat64)
    refuse<TypeError>(arrays.function(), initialization.quoted(), "be float32 or float64",
                      name_of(type));
  const auto doubles = [&](const char* name, std::int64_t size) {
    return arrays.doubles(own[name], name, {size});
  };
  const auto numbers = [&](const char* name) {
    return arrays.exact(own[name], name, type, {n}).data;
  };
  auto* counts = arrays.integers<std::int64_t>(own["counts"], "counts", 2);
  double* weight = doubles("weight", 2);
  state_ = {.phi_master = doubles("phi_master", n),
            .b = doubles("b", n),
            .g = doubles("g", n),
            .rho = doubles("rho", n),
            .phi = numbers("phi"),
            .rates = numbers("rate"),
            .n_tasks = counts,
            .n_skipped = counts + 1,
            .weight_high = weight,
            .weight_low = weight + 1,
            .limit = doubles("limit", 1),
            .n = n,
            .type = type,
            .parameters = parameters,
            .tensors = {}};
  if (parameters.average_task)
    state_.tensors = {arrays.integers<std::int64_t>(own["tensors"], "tensors", 2 * (n_tensors + 1)),
                      n_tensors, n_pieces};
  initialization_ = own["phi"];
  for (const auto& [name, array] : own) kept_.push_back(py::reinterpret_borrow<py::object>(array));
}

void PyMetaState::read(Arrays& arrays, const py::sequence& names, const py::sequence& into,
                       const Copy& copy) {
  struct Own {
    std::string_view name;
    const void* data;
    Type type;
    std::int64_t n;
  };
  const Own own[] = {{"phi_master", state_.phi_master, Type::kFloat64, state_.n},
                     {"phi", state_.phi, state_.type, state_.n},
                     {"b", state_.b, Type::kFloat64, state_.n},
                     {"g", state_.g, Type::kFloat64, state_.n},
                     {"rate", state_.rates, state_.type, state_.n},
                     {"rho", state_.rho, Type::kFloat64, state_.n},
                     {"weight", state_.weight_high, Type::kFloat64, 2},
                     {"limit", state_.limit, Type::kFloat64, 1}};
  struct Part {
    void* to;
    const void* from;
    std::size_t size;
  };
  Part parts[std::size(own) + 1];
  std::size_t n_parts = 0;
  bool is_of_all = false;  // coordinates
  for (std::size_t i = 0; i < py::len(names) && n_parts < std::size(parts); ++i) {
    const auto name = names[i].cast<std::string_view>();
    if (name == "counts") {
      parts[n_parts++] = {arrays.integers<std::int64_t>(into[i], "counts", 2), state_.n_tasks,
                          2 * sizeof(std::int64_t)};
      continue;
    }
    is_of_all = true;
    const Own* found = std::find_if(std::begin(own), std::end(own),
                                    [&](const Own& known) { return known.name == name; });
    const Array to = arrays.one(into[i], "into", Access::kExact);
    if (found == std::end(own) || to.type != found->type || to.n_dimensions != 1 ||
        to.size() > found->n)
      refuse(arrays.function(), to.quoted(), "fit the learner's", to.shape_text());
    parts[n_parts++] = {to.data, found->data,
                        static_cast<std::size_t>(to.size() * size_of(to.type))};
  }
  const py::gil_scoped_release release;
  const std::lock_guard held(lock_);
  if (is_of_all && settle_) settle_();
  for (std::size_t i = 0; i < n_parts; ++i) copy(parts[i].to, parts[i].from, parts[i].size);
}

void PyMetaState::start(Arrays& arrays, py::handle learning_rate, py::handle rates,
                        const Copy& copy) {
  const double first = parameter("learning_rate", learning_rate, 0, false);
  const void* from = arrays.exact(rates, "rates", state_.type, {state_.n}).data;
  const py::gil_scoped_release release;
  const std::lock_guard held(lock_);
  state_.parameters.learning_rate = first;
  copy(state_.rates, from, static_cast<std::size_t>(state_.n * size_of(state_.type)));
}

}  // namespace aruba_fast::python
