// A step whose arrays stay, wherever that is; and its class in Python.
#pragma once

#include <algorithm>
#include <memory>
#include <string>

#include "planned_step.h"
#include "step_arguments.h"
#include "torch_tensors.h"

namespace aruba_fast::python {
namespace planned {

inline constexpr const char *kMade = "StepPlan", *kStep = "StepPlan.step";

// A list is the caller's, who may change it.
inline py::object fixed(py::handle given) {
  PyObject* const object = given.ptr();
  PyObject* result = nullptr;
  if (PyList_Check(object)) result = PyList_AsTuple(object);
  else if (PyTuple_Check(object)) result = PyTuple_GetSlice(object, 0, PyTuple_GET_SIZE(object));
  else return py::reinterpret_borrow<py::object>(given);
  if (!result) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(result);
}

// What `fixed` returned, as long as it stays there.
inline std::span<PyObject* const> objects_of(const py::object& given) {
  PyObject*& object = const_cast<py::object&>(given).ptr();
  if (!PyTuple_Check(object)) return {&object, 1};
  return {PySequence_Fast_ITEMS(object), static_cast<std::size_t>(PyTuple_GET_SIZE(object))};
}

class Turn {
 public:
  explicit Turn(std::atomic<bool>& is_busy) : is_busy_(is_busy) {
    if (is_busy_.exchange(true))
      throw std::runtime_error(
          "StepPlan.step: a plan must do one step at a time: got a call during another one, "
          "expected it after that, or a plan for each thread");
  }
  ~Turn() { is_busy_ = false; }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  std::atomic<bool>& is_busy_;
};

}  // namespace planned

template <class Place>
PlannedStep<Place>::PlannedStep(StepRule rule, py::handle theta, py::handle grad,
                                py::handle grad_type, py::handle state, const py::tuple& parameters,
                                bool is_private)
    : rule_(rule),
      is_private_(is_private),
      theta_(planned::fixed(theta)),
      grad_(planned::fixed(grad)),
      grad_type_(py::reinterpret_borrow<py::object>(grad_type)),
      state_(planned::fixed(state)),
      first_(planned::fixed(parameters[0])),
      tensors_(py::tuple()) {
  const Parameter& first = facts_of(rule).parameters[0];
  first_is_array_ =
      first.takes == Takes::kArray || (first.takes == Takes::kEither && !is_number(first_));
  Reader arrays(planned::kMade);
  if (grad_.is_none()) {  // what can be checked without them
    arrays.all(theta_, "theta", Access::kModify);
    arrays.read_words_as(grad_type_);
    if (first_is_array_) arrays.all(first_, first.name, Access::kRead);
    if (!state_.is_none()) arrays.all(state_, facts_of(rule).state, Access::kModify);
  }
  const std::vector<py::handle> given = this->parameters(parameters);
  numbers_.resize(given.size());
  if (grad_.is_none()) read_numbers(planned::kMade, rule_, given, first_is_array_, numbers_.data());
  else read_anew(arrays, grad_, given);
  std::copy_n(taken_, grad_.is_none() ? 0 : numbers_.size(), numbers_.begin());
}

template <class Place>
std::vector<py::handle> PlannedStep<Place>::parameters(py::handle given) const {
  const py::tuple all = py::reinterpret_borrow<py::tuple>(given);
  std::vector<py::handle> result(all.begin(), all.end());
  if (first_is_array_) result[0] = first_;
  return result;
}

template <class Place>
void PlannedStep<Place>::step(py::handle grad, py::handle given) {
  const planned::Turn turn(is_busy_);
  if (!theta_) throw std::runtime_error("StepPlan.step: the plan is being destroyed");
  const py::object own = grad.is_none() ? grad_ : planned::fixed(grad);
  if (own.is_none())
    refuse<TypeError>(planned::kStep, "`grad`", "be given where the plan was made without", "None",
                      "gradients");
  std::vector<double> numbers = numbers_;
  if (!given.is_none())
    read_numbers(planned::kStep, rule_, parameters(given), first_is_array_, numbers.data());
  Reader arrays(planned::kStep);
  arrays.read_words_as(grad_type_);
  bool is_known = is_known_ && place_.goes_on(arrays, planned::objects_of(theta_)) && stays(arrays);
  if (is_known && !arrays.are_still(planned::objects_of(own), read_.grad, Access::kRead)) {
    is_known = take_gradients(arrays.all(own, "grad", Access::kRead));
    if (!arrays.is_direct())  // copies are gone after the step
      for (Array& array : read_.grad) array.data = nullptr;
  }
  if (is_known) {
    take_numbers(numbers.data());
    place_.run(arrays, rule_, plan_);
    return count_writes(py::reinterpret_borrow<py::tuple>(tensors_));
  }
  std::vector<py::object> held;
  std::vector<py::handle> of_step;
  for (const double number : numbers) of_step.push_back(held.emplace_back(py::float_(number)));
  if (first_is_array_) of_step[0] = first_;
  Reader anew(planned::kStep);
  read_anew(anew, own, of_step);
  place_.run(anew, rule_, plan_);
  anew.written();
}

template <class Place>
bool PlannedStep<Place>::stays(const Reader& arrays) const {
  if (!arrays.are_still(planned::objects_of(theta_), read_.theta, Access::kModify)) return false;
  if (is_private_) return true;
  return (!first_is_array_ ||
          arrays.are_still(planned::objects_of(first_), read_.first, Access::kRead)) &&
         (state_.is_none() ||
          arrays.are_still(planned::objects_of(state_), read_.state, Access::kModify));
}

template <class Place>
bool PlannedStep<Place>::take_gradients(std::span<const Array> grad) {
  if (grad.size() != read_.grad.size()) return false;
  for (std::size_t i = 0; i < grad.size(); ++i) {
    const Array& before = read_.grad[i];
    if (grad[i].type != before.type || !grad[i].same_shape(before)) return false;
    if (grad[i].data != before.data && modified_->overlaps(grad[i])) return false;
  }
  for (std::size_t i = 0; i < grad.size(); ++i) {
    read_.grad[i].data = grad[i].data;
    if (piece_of_[i] >= 0)
      plan_.pieces[static_cast<std::size_t>(piece_of_[i])].call.grad = grad[i].data;
  }
  place_.take(plan_);
  return true;
}

template <class Place>
void PlannedStep<Place>::take_numbers(const double* numbers) {
  const std::size_t begin = first_is_array_ ? 1 : 0;
  if (std::equal(numbers + begin, numbers + numbers_.size(), taken_ + begin)) return;
  for (const Array& theta : read_.theta)
    require_numbers(planned::kStep, rule_, numbers, first_is_array_, theta.type);
  std::copy(numbers + begin, numbers + numbers_.size(), taken_ + begin);
  for (StepPiece& piece : plan_.pieces) std::copy_n(taken_, numbers_.size(), piece.call.parameters);
}

template <class Place>
void PlannedStep<Place>::read_anew(Reader& arrays, py::handle grad,
                                   std::span<const py::handle> parameters) {
  is_known_ = false;
  const StepArguments arguments =
      step_arguments(arrays, rule_, theta_, grad, grad_type_, state_, parameters);
  plan_step(arguments, plan_);
  place_.forget();
  std::copy_n(arguments.parameters, kMostParameters, taken_);
  if (arrays.is_direct()) remember(arguments);
}

template <class Place>
void PlannedStep<Place>::remember(const StepArguments& arguments) {
  const auto copy = [](std::span<const Array> from, std::vector<Array>& to) {
    to.assign(from.begin(), from.end());
  };
  copy(arguments.theta, read_.theta);
  copy(arguments.grad, read_.grad);
  copy(arguments.first, read_.first);
  copy(arguments.state, read_.state);
  modified_.emplace(arguments);
  piece_of_.clear();
  std::ptrdiff_t n_pieces = 0;
  for (const Array& theta : arguments.theta) piece_of_.push_back(theta.size() ? n_pieces++ : -1);
  py::list tensors;
  const auto add = [&](const py::object& given, std::span<const Array> read) {
    const std::span<PyObject* const> objects = planned::objects_of(given);
    for (std::size_t i = 0; i < objects.size(); ++i)
      if (read[i].size() > 0 && !py::isinstance<py::array>(objects[i])) tensors.append(objects[i]);
  };
  add(theta_, read_.theta);
  if (!is_private_ && !state_.is_none()) add(state_, read_.state);
  tensors_ = py::tuple(tensors);
  is_known_ = true;
}

namespace planned {

// What a plan holds may hold the plan: the garbage collector has to see it.
template <class Place>
void collect(PyHeapTypeObject* heap_type) {
  PyTypeObject& type = heap_type->ht_type;
  type.tp_flags |= Py_TPFLAGS_HAVE_GC;
  type.tp_traverse = [](PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(self));
    int stop = 0;
    if (py::detail::is_holder_constructed(self))
      py::cast<PlannedStep<Place>&>(py::handle(self)).visit([&](const py::object& object) {
        if (stop == 0 && object) stop = visit(object.ptr(), arg);
      });
    return stop;
  };
  type.tp_clear = [](PyObject* self) {
    if (py::detail::is_holder_constructed(self))
      py::cast<PlannedStep<Place>&>(py::handle(self)).visit([](py::object& object) {
        const py::object last = std::move(object);
      });
    return 0;
  };
}

}  // namespace planned

// The class StepPlan of a module.
template <class Place>
void bind_step_plan(py::module_& module, const char* doc) {
  using Plan = PlannedStep<Place>;
  py::class_<Plan>(module, "StepPlan", py::custom_type_setup(planned::collect<Place>), doc)
      .def(py::init([](const std::string& function, py::handle theta, py::handle grad,
                       py::handle grad_type, py::handle state, const py::tuple& parameters,
                       bool is_private) {
             return std::make_unique<Plan>(step_rule_named(function), theta, grad, grad_type, state,
                                           parameters, is_private);
           }),
           py::arg("function"), py::arg("theta"), py::arg("grad"), py::arg("grad_type"),
           py::arg("state"), py::arg("parameters"), py::arg("is_private"))
      .def("step", &Plan::step, py::arg("grad"), py::arg("parameters"),
           "Does one step; None: with what the plan has.");
}

}  // namespace aruba_fast::python
