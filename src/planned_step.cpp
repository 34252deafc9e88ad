// A step whose arrays stay: they are read and checked once.
#include "planned_step.h"

#include <algorithm>

#include "step_arguments.h"
#include "torch_tensors.h"

namespace aruba_fast::python {
namespace {

constexpr const char *kMade = "StepPlan", *kStep = "StepPlan.step";

// A list is the caller's, who may change it.
py::object fixed(py::handle given) {
  PyObject* const object = given.ptr();
  PyObject* result = nullptr;
  if (PyList_Check(object)) result = PyList_AsTuple(object);
  else if (PyTuple_Check(object)) result = PyTuple_GetSlice(object, 0, PyTuple_GET_SIZE(object));
  else return py::reinterpret_borrow<py::object>(given);
  if (!result) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(result);
}

// What `fixed` returned, as long as it stays there.
std::span<PyObject* const> objects_of(const py::object& given) {
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

}  // namespace

void run_plan(StepRule rule, const StepPlan& plan) {
  // Letting other Python threads run costs 0.1 us: not worth it for a call that takes less than 10.
  constexpr std::int64_t kShort = 16384;
  if (plan.n <= kShort) return run_steps(rule, plan);
  const py::gil_scoped_release release;
  run_steps(rule, plan);
}

StepRule step_rule_named(std::string_view function) {
  for (const StepRuleFacts& facts : kStepFacts)
    if (function == facts.function) return static_cast<StepRule>(&facts - kStepFacts);
  throw ValueError("StepPlan: no step is named '" + std::string(function) + "'");
}

PlannedStep::PlannedStep(StepRule rule, py::handle theta, py::handle grad, py::handle grad_type,
                         py::handle state, const py::tuple& parameters, bool is_private)
    : rule_(rule),
      is_private_(is_private),
      theta_(fixed(theta)),
      grad_(fixed(grad)),
      grad_type_(py::reinterpret_borrow<py::object>(grad_type)),
      state_(fixed(state)),
      first_(fixed(parameters[0])),
      tensors_(py::tuple()) {
  const Parameter& first = facts_of(rule).parameters[0];
  first_is_array_ =
      first.takes == Takes::kArray || (first.takes == Takes::kEither && !is_number(first_));
  Arrays arrays(kMade);
  if (grad_.is_none()) {  // what can be checked without them
    arrays.all(theta_, "theta", Access::kModify);
    arrays.read_words_as(grad_type_);
    if (first_is_array_) arrays.all(first_, first.name, Access::kRead);
    if (!state_.is_none()) arrays.all(state_, facts_of(rule).state, Access::kModify);
  }
  const std::vector<py::handle> given = this->parameters(parameters);
  numbers_.resize(given.size());
  if (grad_.is_none()) read_numbers(kMade, rule_, given, first_is_array_, numbers_.data());
  else read_anew(arrays, grad_, given);
  std::copy_n(taken_, grad_.is_none() ? 0 : numbers_.size(), numbers_.begin());
}

std::vector<py::handle> PlannedStep::parameters(py::handle given) const {
  const py::tuple all = py::reinterpret_borrow<py::tuple>(given);
  std::vector<py::handle> result(all.begin(), all.end());
  if (first_is_array_) result[0] = first_;
  return result;
}

void PlannedStep::step(py::handle grad, py::handle given) {
  const Turn turn(is_busy_);
  if (!theta_) throw std::runtime_error("StepPlan.step: the plan is being destroyed");
  const py::object own = grad.is_none() ? grad_ : fixed(grad);
  if (own.is_none())
    refuse<TypeError>(kStep, "`grad`", "be given where the plan was made without", "None",
                      "gradients");
  std::vector<double> numbers = numbers_;
  if (!given.is_none())
    read_numbers(kStep, rule_, parameters(given), first_is_array_, numbers.data());
  Arrays arrays(kStep);
  arrays.read_words_as(grad_type_);
  bool is_known = is_known_ && stays(arrays);
  if (is_known && !arrays.are_still(objects_of(own), read_.grad, Access::kRead)) {
    is_known = take_gradients(arrays.all(own, "grad", Access::kRead));
    if (!arrays.is_direct())  // copies are gone after the step
      for (Array& array : read_.grad) array.data = nullptr;
  }
  if (is_known) {
    take_numbers(numbers.data());
    run_plan(rule_, plan_);
    return count_writes(py::reinterpret_borrow<py::tuple>(tensors_));
  }
  std::vector<py::object> held;
  std::vector<py::handle> of_step;
  for (const double number : numbers) of_step.push_back(held.emplace_back(py::float_(number)));
  if (first_is_array_) of_step[0] = first_;
  Arrays anew(kStep);
  read_anew(anew, own, of_step);
  run_plan(rule_, plan_);
  anew.written();
}

bool PlannedStep::stays(const Arrays& arrays) const {
  if (!arrays.are_still(objects_of(theta_), read_.theta, Access::kModify)) return false;
  if (is_private_) return true;
  return (!first_is_array_ || arrays.are_still(objects_of(first_), read_.first, Access::kRead)) &&
         (state_.is_none() || arrays.are_still(objects_of(state_), read_.state, Access::kModify));
}

bool PlannedStep::take_gradients(std::span<const Array> grad) {
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
  return true;
}

void PlannedStep::take_numbers(const double* numbers) {
  const std::size_t begin = first_is_array_ ? 1 : 0;
  if (std::equal(numbers + begin, numbers + numbers_.size(), taken_ + begin)) return;
  for (const Array& theta : read_.theta)
    require_numbers(kStep, rule_, numbers, first_is_array_, theta.type);
  std::copy(numbers + begin, numbers + numbers_.size(), taken_ + begin);
  for (StepPiece& piece : plan_.pieces) std::copy_n(taken_, numbers_.size(), piece.call.parameters);
}

void PlannedStep::read_anew(Arrays& arrays, py::handle grad,
                            std::span<const py::handle> parameters) {
  is_known_ = false;
  const StepArguments arguments =
      step_arguments(arrays, rule_, theta_, grad, grad_type_, state_, parameters);
  plan_step(arguments, plan_);
  std::copy_n(arguments.parameters, kMostParameters, taken_);
  if (arrays.is_direct()) remember(arguments);
}

void PlannedStep::remember(const StepArguments& arguments) {
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
    const std::span<PyObject* const> objects = objects_of(given);
    for (std::size_t i = 0; i < objects.size(); ++i)
      if (read[i].size() > 0 && !py::isinstance<py::array>(objects[i])) tensors.append(objects[i]);
  };
  add(theta_, read_.theta);
  if (!is_private_ && !state_.is_none()) add(state_, read_.state);
  tensors_ = py::tuple(tensors);
  is_known_ = true;
}

}  // namespace aruba_fast::python
