// What one instruction set adds to the table of kernels, a type of numbers at a time, so that each
// can be an object of its own and none takes long to compile.
#pragma once

#include "bound-inl.h"
#include "eg-inl.h"
#include "elementwise-inl.h"
#include "hindsight-inl.h"
#include "kernels.h"
#include "meta-inl.h"
#include "reduce-inl.h"
#include "tasks-inl.h"

namespace aruba_fast::ARUBA_ISA {

template <class T, class Rule>
void add_steps(Kernels& table, StepRule rule) {
  if constexpr (sizeof(T) == sizeof(double)) {
    table.step[rule][kDouble] = step<Rule, double, double>;
  } else {
    table.step[rule][kFloat] = step<Rule, float, float>;
    table.step[rule][kFloatFromBFloat16] = step<Rule, float, BFloat16>;
    table.step[rule][kFloatFromFloat16] = step<Rule, float, Float16>;
  }
}

template <class T>
void add_kernels(Kernels& table) {
  constexpr bool is_double = sizeof(T) == sizeof(double);
  add_steps<T, Ogd>(table, kOgdStep);
  add_steps<T, AdaGrad>(table, kAdaGradStep);
  add_steps<T, ArubaInPlace>(table, kArubaStep);
  table.reduce[is_double] = reduce<T>;
  table.meta[is_double] = meta<T>;
  table.meta_is_sound[is_double] = meta_is_sound<T>;
  table.tasks[kOgdTask][is_double] = run_tasks<T, Ogd>;
  table.tasks[kAdaGradTask][is_double] = run_tasks<T, AdaGrad>;
  table.tasks[kArubaTask][is_double] = run_tasks<T, ArubaPlusPlus>;
  table.tasks[kEgTask][is_double] = run_eg_tasks<T>;
  if constexpr (is_double) {
    // What is computed in float64 whatever the arrays hold.
    table.merge = merge;
    table.hindsight[0] = hindsight<float>;
    table.hindsight[1] = hindsight<double>;
    table.hindsight_numbers = hindsight_numbers;
    table.bound[kPreconditionedBound] = bound<PreconditionedBound>;
    table.bound[kEgBound] = bound<EgBound>;
    table.bound[kAdaGradBound] = bound<AdaGradBound>;
    table.bound[kArubaBound] = bound<ArubaBound>;
  } else {
    table.register_bytes = ARUBA_REGISTER_BYTES;
    table.finite = finite;
  }
}

}  // namespace aruba_fast::ARUBA_ISA
