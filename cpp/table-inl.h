// The table of kernels of one instruction set; isa_*.cpp include this and nothing else.
#pragma once

#include "bound-inl.h"
#include "eg-inl.h"
#include "elementwise-inl.h"
#include "hindsight-inl.h"
#include "kernels.h"
#include "meta-inl.h"
#include "reduce-inl.h"
#include "tasks-inl.h"

#define ARUBA_STRING_OF(x) #x
#define ARUBA_STRING(x) ARUBA_STRING_OF(x)

namespace aruba_fast::ARUBA_ISA {

// The kernels of one rule, in the order of enum Gradient; and of whole tasks, by type.
#define ARUBA_STEPS(Rule)                                                             \
  {step<Rule, float, float>, step<Rule, double, double>, step<Rule, float, BFloat16>, \
   step<Rule, float, Float16>},
#define ARUBA_BOUND(Bound) bound<Bound>,
#define ARUBA_TASKS(Rule) {run_tasks<float, Rule>, run_tasks<double, Rule>},

extern const Kernels kTable;
const Kernels kTable = {
    ARUBA_STRING(ARUBA_ISA),
    ARUBA_REGISTER_BYTES,
    {ARUBA_STEP_RULES(ARUBA_STEPS)},
    {reduce<float>, reduce<double>},
    merge,
    {meta<float>, meta<double>},
    {meta_is_sound<float>, meta_is_sound<double>},
    finite,
    {ARUBA_TASK_RULES(ARUBA_TASKS){run_eg_tasks<float>, run_eg_tasks<double>}},
    {hindsight<float>, hindsight<double>},
    hindsight_numbers,
    {ARUBA_BOUNDS(ARUBA_BOUND)},
};

}  // namespace aruba_fast::ARUBA_ISA
