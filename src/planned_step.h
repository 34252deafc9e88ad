// A step whose arrays stay: they are read and checked once.
#pragma once

#include <atomic>
#include <optional>
#include <span>
#include <vector>

#include "arrays.h"
#include "step_plan.h"

namespace aruba_fast::python {

// Does what the step function would do with the same objects. What it has found is remembered as
// long as all of them are the memory that they were, of NumPy or PyTorch; else they are read anew,
// as are arrays that have to be copied or that another library lends.
//
// Where they live is Place: its Reader is the Arrays that reads them, and of an object
//
//   bool goes_on(Reader&, theta)    whether what is remembered may be asked for: where theta lives
//   void take(const StepPlan&)      gradients of another place are in the plan that it knows
//   void forget()                   the plan is another one
//   void run(Reader&, rule, plan)   the sweep
template <class Place>
class PlannedStep {
 public:
  using Reader = typename Place::Reader;

  // Lists are read now. `grad` may be None: every step is then given its own. `is_private`: what
  // `state` and the rates hold is memory that nobody else has, so that it stays where it is, and no
  // derivative needs to know of it.
  PlannedStep(StepRule rule, py::handle theta, py::handle grad, py::handle grad_type,
              py::handle state, const py::tuple& parameters, bool is_private);
  // None: those of the plan. Other gradients and parameters count for this step alone.
  void step(py::handle grad, py::handle parameters);

  // For the garbage collector, which has cleared what it calls empty.
  template <class Visit>
  void visit(Visit visit) {
    for (py::object* object : {&theta_, &grad_, &first_, &state_, &tensors_}) visit(*object);
  }

 private:
  struct Read {
    std::vector<Array> theta, grad, first, state;
  };
  std::vector<py::handle> parameters(py::handle given) const;
  bool stays(const Reader& arrays) const;
  bool take_gradients(std::span<const Array> grad);
  void take_numbers(const double* numbers);
  // Reads and checks everything; `arrays` holds copies for a run.
  void read_anew(Reader& arrays, py::handle grad, std::span<const py::handle> parameters);
  void remember(const StepArguments& arguments);

  const StepRule rule_;
  const bool is_private_;
  py::object theta_, grad_, grad_type_, state_, first_;
  bool first_is_array_;
  std::vector<double> numbers_;  // of the plan; for an array whatever
  Place place_;
  std::atomic<bool> is_busy_{false};

  // What is remembered.
  bool is_known_ = false;
  Read read_;
  StepPlan plan_;
  std::vector<std::ptrdiff_t> piece_of_;  // by array; -1 for an empty one
  std::optional<Modified> modified_;
  double taken_[kMostParameters] = {};
  py::object tensors_;  // of PyTorch, which are modified
};

}  // namespace aruba_fast::python
