// The step functions on arrays in host memory: what steps.py stands on; and what step_plan.py does.
#include "bindings.h"
#include "planned_step.h"
#include "step_arguments.h"

namespace aruba_fast::python {
namespace {

void run(const Arrays& arrays, const StepArguments& arguments) {
  thread_local StepPlan plan;
  plan_step(arguments, plan);
  run_plan(arguments.rule, plan);
  arrays.written();
}

// What a plan holds may hold the plan: the garbage collector has to see it.
void collect(PyHeapTypeObject* heap_type) {
  PyTypeObject& type = heap_type->ht_type;
  type.tp_flags |= Py_TPFLAGS_HAVE_GC;
  type.tp_traverse = [](PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(self));
    int stop = 0;
    if (py::detail::is_holder_constructed(self))
      py::cast<PlannedStep&>(py::handle(self)).visit([&](const py::object& object) {
        if (stop == 0 && object) stop = visit(object.ptr(), arg);
      });
    return stop;
  };
  type.tp_clear = [](PyObject* self) {
    if (py::detail::is_holder_constructed(self))
      py::cast<PlannedStep&>(py::handle(self)).visit([](py::object& object) {
        const py::object last = std::move(object);
      });
    return 0;
  };
}

}  // namespace

void bind_step(py::module_& module) {
  bind_step_rules<Arrays>(module, run);
  module.def(
      "step_rules",
      [] {
        py::dict n_parameters;
        for (const StepRuleFacts& facts : kStepFacts)
          n_parameters[facts.function] = facts.parameters.size();
        return n_parameters;
      },
      "The names of the step functions, and how many parameters their rules have.");
  module.def("is_number", &is_number, py::arg("object"), "Whether a rule takes it for a number.");
  py::class_<PlannedStep>(module, "StepPlan", py::custom_type_setup(collect),
                          "A step of arrays in host memory that stay.")
      .def(py::init([](const std::string& function, py::handle theta, py::handle grad,
                       py::handle grad_type, py::handle state, const py::tuple& parameters,
                       bool is_private) {
             return std::make_unique<PlannedStep>(step_rule_named(function), theta, grad, grad_type,
                                                  state, parameters, is_private);
           }),
           py::arg("function"), py::arg("theta"), py::arg("grad"), py::arg("grad_type"),
           py::arg("state"), py::arg("parameters"), py::arg("is_private"))
      .def("step", &PlannedStep::step, py::arg("grad"), py::arg("parameters"),
           "Does one step; None: with what the plan has.");
}

}  // namespace aruba_fast::python
