// What one instruction set adds to the table of kernels, a type of numbers at a time, so that each
// can be an object of its own and none takes long to compile.
#pragma once

#include "bound-inl.h"
#include "condense-inl.h"
#include "eg-inl.h"
#include "elementwise-inl.h"
#include "hindsight-inl.h"
#include "kernels.h"
#include "meta-inl.h"
#include "pairs-inl.h"
#include "proximal-inl.h"
#include "proximal-update-inl.h"
#include "spread-inl.h"
#include "squares-inl.h"
#include "tasks-inl.h"

namespace aruba_fast::ARUBA_ISA {

template <class T, class G, class Rule>
void add_step(Kernels& table, StepRule rule, Gradient gradient) {
  auto& by_rates = table.step[static_cast<int>(rule)][gradient];
  by_rates[0] = step<Rule, T, G, T>;
  if constexpr (sizeof(T) == sizeof(float) && Rule::kParameters[0].takes != Takes::kNumber)
    by_rates[1] = step<Rule, T, G, BFloat16>;
}

template <class T, class Rule>
void add_steps(Kernels& table, StepRule rule) {
  if constexpr (sizeof(T) == sizeof(double)) {
    add_step<double, double, Rule>(table, rule, kDouble);
  } else {
    add_step<float, float, Rule>(table, rule, kFloat);
    add_step<float, BFloat16, Rule>(table, rule, kFloatFromBFloat16);
    add_step<float, Float16, Rule>(table, rule, kFloatFromFloat16);
  }
}

// In a file of its own, isa_sparse.cpp, to be compiled beside the others.
template <class T>
void add_sparse_kernels(Kernels& table);

template <class T>
void add_kernels(Kernels& table) {
  constexpr bool is_double = sizeof(T) == sizeof(double);
#define ARUBA_ADD(Rule) add_steps<T, Rule>(table, StepRule::k##Rule);
  ARUBA_STEP_RULES(ARUBA_ADD)
#undef ARUBA_ADD
#define ARUBA_ADD(Rule) \
  table.tasks[static_cast<int>(TaskRule::k##Rule)][is_double] = run_tasks<T, Rule>;
  ARUBA_TASK_RULES(ARUBA_ADD)
#undef ARUBA_ADD
  table.tasks[static_cast<int>(TaskRule::kExponentiatedGradient)][is_double] = run_eg_tasks<T>;
  add_sparse_kernels<T>(table);
  table.reduce[is_double] = reduce<T>;
  table.spread[is_double] = spread<T>;
  table.meta[is_double] = meta<T>;
  table.meta_is_sound[is_double] = meta_is_sound<T>;
  table.rates[is_double] = rates<T>;
  if constexpr (is_double) {
    // What is computed in float64 whatever the arrays hold.
    table.merge = merge;
    table.sum = sum;
    table.widen_pairs = widen_pairs;
    table.narrow_to_pairs = narrow_to_pairs;
    table.narrow_sums = narrow_sums;
    table.narrow_ratios = narrow_ratios;
    table.hindsight[0] = hindsight<float>;
    table.hindsight[1] = hindsight<double>;
    table.hindsight_numbers = hindsight_numbers;
    table.condense[0] = condense<float>;
    table.condense[1] = condense<double>;
    table.condense_numbers = condense_numbers;
    table.squares = squares;
    table.squares_numbers = squares_numbers;
    table.proximal[0] = proximal<float>;
    table.proximal[1] = proximal<double>;
    table.proximal_numbers = proximal_numbers;
    table.proximal_update = proximal_update;
#define ARUBA_ADD(Bound) table.bound[static_cast<int>(BoundRule::k##Bound)] = bound<Bound>;
    ARUBA_BOUNDS(ARUBA_ADD)
#undef ARUBA_ADD
  } else {
    table.register_bytes = ARUBA_REGISTER_BYTES;
    table.finite = finite;
  }
}

}  // namespace aruba_fast::ARUBA_ISA
