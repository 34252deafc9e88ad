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
      weights.is_none() ? nullptr : arrays.doubles(weights, "weights", {hat.shape[0]});
  return {hat.data, squares.data, start.data, weight, hat.shape[0], start.size(), hat.type};
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
                               py::handle decay, py::handle isotropic,
                               py::handle max_learning_rate) {
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

const double* optional_meta_step(py::handle meta_step, double& storage) {
  if (meta_step.is_none()) return nullptr;
  storage = number("MetaLearner", "meta_step", meta_step);
  if (!(storage >= 0) || std::isinf(storage))
    refuse("MetaLearner", "`meta_step`", "be finite and not negative",
           py::str(py::float_(storage)));
  return &storage;
}

PyMetaState::PyMetaState(Arrays& arrays, py::handle phi_master, py::handle phi, py::handle b,
                         py::handle g, py::handle rate, py::handle rho, py::handle counts,
                         py::handle weight, const MetaParameters& parameters) {
  const Array master = arrays.one(phi_master, "phi_master", Access::kModify);
  const std::int64_t n = master.size();
  if (master.n_dimensions != 1 || n == 0)
    refuse(arrays.function(), master.quoted(), "be a non-empty vector", master.shape_text());
  const Array initialization = arrays.one(phi, "phi", Access::kModify);
  state_.phi_master = arrays.doubles(phi_master, "phi_master", {n});
  state_.phi = arrays.exact(phi, "phi", initialization.type, {n}).data;
  state_.b = arrays.doubles(b, "b", {n});
  state_.g = arrays.doubles(g, "g", {n});
  state_.rates = arrays.exact(rate, "rate", initialization.type, {n}).data;
  state_.rho = arrays.doubles(rho, "rho", {n});
  state_.n_tasks = arrays.integers<std::int64_t>(counts, "counts", 2);
  state_.n_skipped = state_.n_tasks + 1;
  state_.weight_high = arrays.doubles(weight, "weight", {2});
  state_.weight_low = state_.weight_high + 1;
  state_.n = n;
  state_.type = initialization.type;
  state_.parameters = parameters;
  for (const py::handle array : {phi_master, phi, b, g, rate, rho, counts, weight})
    kept_.push_back(py::reinterpret_borrow<py::object>(array));
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
                     {"weight", state_.weight_high, Type::kFloat64, 2}};
  struct Part {
    void* to;
    const void* from;
    std::size_t size;
  };
  Part parts[std::size(own) + 1];
  std::size_t n_parts = 0;
  for (std::size_t i = 0; i < py::len(names) && n_parts < std::size(parts); ++i) {
    const auto name = names[i].cast<std::string_view>();
    if (name == "counts") {
      parts[n_parts++] = {arrays.integers<std::int64_t>(into[i], "counts", 2), state_.n_tasks,
                          2 * sizeof(std::int64_t)};
      continue;
    }
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
  for (std::size_t i = 0; i < n_parts; ++i) copy(parts[i].to, parts[i].from, parts[i].size);
}

}  // namespace aruba_fast::python
