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

// The kernels of one rule, in the order of enum Gradient.
#define ARUBA_STEPS(Rule)                                                             \
  {step<Rule, float, float>, step<Rule, double, double>, step<Rule, float, BFloat16>, \
   step<Rule, float, Float16>}

extern const Kernels kTable;
const Kernels kTable = {
    ARUBA_STRING(ARUBA_ISA),
    ARUBA_REGISTER_BYTES,
    {ARUBA_STEPS(Ogd), ARUBA_STEPS(AdaGrad), ARUBA_STEPS(ArubaInPlace)},
    {reduce<float>, reduce<double>},
    merge,
    {meta<float>, meta<double>},
    {meta_is_sound<float>, meta_is_sound<double>},
    finite,
    {{run_tasks<float, Ogd>, run_tasks<double, Ogd>},
     {run_tasks<float, AdaGrad>, run_tasks<double, AdaGrad>},
     {run_tasks<float, ArubaPlusPlus>, run_tasks<double, ArubaPlusPlus>},
     {run_eg_tasks<float>, run_eg_tasks<double>}},
    {hindsight<float>, hindsight<double>},
    hindsight_numbers,
    {bound<PreconditionedBound>, bound<EgBound>, bound<AdaGradBound>, bound<ArubaBound>},
};

}  // namespace aruba_fast::ARUBA_ISA
