// The updates within a task, one coordinate at a time: the one list of rules.
//
//   preconditioned OGD   s <- s + grad^2;  theta <- theta - eta grad
//   AdaGrad              s <- s + grad^2;  theta <- theta - eta0 grad / sqrt(s + delta)
//   ARUBA++              eta = sqrt(b / g'), g' <- g' + c grad^2;  theta <- theta - eta grad
//   Adam, beta1 = 0      v <- beta2 v + (1 - beta2) grad^2,  w <- beta2 w + 1 - beta2;
//                        theta <- theta - eta grad / (sqrt(v / w) + eps)
//   exponentiated grad.  z <- z - eta grad;  z <- z - log sum e^z;  theta = e^z
//
// A rule is a struct: its name, its State and its Parameters, and the step, which moves theta and
// the state of one coordinate and returns the rate that it used. Loops, kernels, checks and
// bindings are made of the lists at the end; only exponentiated gradient, whose coordinates are not
// independent, has loops of its own.
#pragma once

#include <span>

#include "rule.h"
#include "sums.h"

namespace aruba_fast {

// What a rule is told, beside the gradient: one number, or one for each coordinate. The first one
// is zero where there is no coordinate, so that nothing moves, and all others are one.
enum class Takes { kNumber, kArray, kEither };
struct Parameter {
  const char* name;
  Takes takes;
  bool may_be_zero;  // else positive
};

constexpr int kMostParameters = 4, kMostStates = 3;

template <class Rule>
constexpr int kParametersOf = static_cast<int>(sizeof(Rule::kParameters) / sizeof(Parameter));
template <class Rule>
constexpr int kStatesOf = static_cast<int>(sizeof(Rule::kStates) / sizeof(const char*));

// A coordinate's numbers, in the order of the rule's names for them.
template <class Rule, class V>
using State = V[kStatesOf<Rule>];
template <class Rule, class V>
using Parameters = V[kParametersOf<Rule>];

// Of a whole task the first state is the sum of squared gradients, which starts at zero like every
// other: it is the task's statistics.
struct Ogd {
  static constexpr const char *kName = "ogd", *kFunction = "step";
  static constexpr Parameter kParameters[] = {{"learning_rate", Takes::kEither, true}};
  static constexpr const char* kStates[] = {"grad_sq"};
  static constexpr bool kStateIsOptional = true, kSquaresAreFree = true, kRateIsGiven = true;
  template <class V>
  ARUBA_RULE static V step(V& theta, State<Ogd, V>& state, V grad,
                           const Parameters<Ogd, V>& parameters) {
    auto& [grad_sq] = state;
    const auto& [learning_rate] = parameters;
    grad_sq = fma(grad, grad, grad_sq);
    theta = fma(-learning_rate, grad, theta);
    return learning_rate;
  }
};

struct AdaGrad {
  static constexpr const char *kName = "adagrad", *kFunction = "adagrad_step";
  static constexpr Parameter kParameters[] = {{"learning_rate", Takes::kNumber, true},
                                              {"delta", Takes::kNumber, false}};
  static constexpr const char* kStates[] = {"grad_sq"};
  static constexpr bool kStateIsOptional = false, kSquaresAreFree = false, kRateIsGiven = false;
  template <class V>
  ARUBA_RULE static V step(V& theta, State<AdaGrad, V>& state, V grad,
                           const Parameters<AdaGrad, V>& parameters) {
    auto& [grad_sq] = state;
    const auto& [learning_rate, delta] = parameters;
    grad_sq = fma(grad, grad, grad_sq);
    const V eta = learning_rate / sqrt(grad_sq + delta);
    theta = fma(-eta, grad, theta);
    return eta;
  }
};

// ARUBA++ on the caller's own copy g' of g.
struct ArubaInPlace {
  static constexpr const char* kFunction = "aruba_step";
  static constexpr Parameter kParameters[] = {{"b", Takes::kArray, true},
                                              {"coef", Takes::kNumber, true}};
  static constexpr const char* kStates[] = {"g"};
  static constexpr bool kStateIsOptional = false;
  template <class V>
  ARUBA_RULE static V step(V& theta, State<ArubaInPlace, V>& state, V grad,
                           const Parameters<ArubaInPlace, V>& parameters) {
    auto& [g] = state;
    const auto& [b, coef] = parameters;
    const V eta = sqrt(b) / sqrt(g);
    g = fma(coef, grad * grad, g);
    theta = fma(-eta, grad, theta);
    return eta;
  }
};

// ARUBA++ for a whole task: sqrt(b / (g + c s)) = rate / sqrt(1 + refinement s) with rate =
// sqrt(b / g), refinement = c / g. The first step has s = 0 and so the meta-learned rate to the
// bit; b and g never leave float64, whatever theta is.
struct ArubaPlusPlus {
  static constexpr const char* kName = "aruba++";
  static constexpr Parameter kParameters[] = {{"rate", Takes::kEither, true},
                                              {"coef / g", Takes::kEither, true}};
  static constexpr const char* kStates[] = {"grad_sq"};
  static constexpr bool kSquaresAreFree = false, kRateIsGiven = false;
  template <class V>
  ARUBA_RULE static V step(V& theta, State<ArubaPlusPlus, V>& state, V grad,
                           const Parameters<ArubaPlusPlus, V>& parameters) {
    auto& [grad_sq] = state;
    const auto& [rate, refinement] = parameters;
    const V eta = rate / sqrt(fma(refinement, grad_sq, V(Number<V>(1))));
    grad_sq = fma(grad, grad, grad_sq);
    theta = fma(-eta, grad, theta);
    return eta;
  }
};

// Adam without momentum, in arrays; forget is 1 - beta2. 1 / w, w = 1 - beta2^t, corrects the mean
// of the squares for its start at zero, and after t steps is the same for all.
struct AdamInPlace {
  static constexpr const char* kFunction = "adam_step";
  static constexpr Parameter kParameters[] = {{"learning_rate", Takes::kEither, true},
                                              {"eps", Takes::kNumber, false},
                                              {"forget", Takes::kNumber, false},
                                              {"per_weight", Takes::kNumber, false}};
  static constexpr const char* kStates[] = {"mean_sq"};
  static constexpr bool kStateIsOptional = false;
  template <class V>
  ARUBA_RULE static V step(V& theta, State<AdamInPlace, V>& state, V grad,
                           const Parameters<AdamInPlace, V>& parameters) {
    auto& [mean_sq] = state;
    const auto& [learning_rate, eps, forget, per_weight] = parameters;
    mean_sq = fma(forget, fma(grad, grad, -mean_sq), mean_sq);
    const V eta = learning_rate / (sqrt(mean_sq * per_weight) + eps);
    theta = fma(-eta, grad, theta);
    return eta;
  }
};

// The same for a whole task, which counts w itself.
struct Adam {
  static constexpr const char* kName = "adam";
  static constexpr Parameter kParameters[] = {{"learning_rate", Takes::kEither, true},
                                              {"eps", Takes::kNumber, false},
                                              {"forget", Takes::kNumber, false}};
  static constexpr const char* kStates[] = {"grad_sq", "mean_sq", "weight"};
  static constexpr bool kSquaresAreFree = true, kRateIsGiven = false;
  template <class V>
  ARUBA_RULE static V step(V& theta, State<Adam, V>& state, V grad,
                           const Parameters<Adam, V>& parameters) {
    auto& [grad_sq, mean_sq, weight] = state;
    const auto& [learning_rate, eps, forget] = parameters;
    const V one = V(Number<V>(1));
    grad_sq = fma(grad, grad, grad_sq);
    weight = fma(forget, one - weight, weight);
    V in_place[] = {mean_sq};
    const V eta =
        AdamInPlace::step(theta, in_place, grad, {learning_rate, eps, forget, one / weight});
    mean_sq = in_place[0];
    return eta;
  }
  // n steps without a gradient, of which `waited` had no other: theta stays.
  template <class V>
  ARUBA_RULE static void wait(State<Adam, V>& state, const State<Adam, V>& waited, std::int64_t n,
                              const Parameters<Adam, V>& parameters) {
    auto& [grad_sq, mean_sq, weight] = state;
    static_cast<void>(grad_sq);
    for (; n > 0 && mean_sq > V(Number<V>(0)); --n) mean_sq = fma(parameters[2], -mean_sq, mean_sq);
    weight = waited[2];
  }
};

// A log-weight of exponentiated gradient, before the weights are scaled to a sum of one.
struct ExponentiatedGradient {
  static constexpr const char* kName = "eg";
  static constexpr Parameter kParameters[] = {{"learning_rate", Takes::kNumber, true}};
  static constexpr const char* kStates[] = {"z"};
  static constexpr bool kRateIsGiven = true;
  template <class V>
  ARUBA_RULE static void step(V& log_weight, V grad, V rate) {
    log_weight = fma(-rate, grad, log_weight);
  }
};

// The rules that step arrays, whose one state is an array beside theta; those of whole tasks; and
// those of whole tasks in the host's memory.
#define ARUBA_STEP_RULES(X) X(Ogd) X(AdaGrad) X(ArubaInPlace) X(AdamInPlace)
#define ARUBA_TASK_RULES(X) X(Ogd) X(AdaGrad) X(ArubaPlusPlus) X(Adam)
#define ARUBA_HOST_TASK_RULES(X) ARUBA_TASK_RULES(X) X(ExponentiatedGradient)

#define ARUBA_ENUMERATOR(Rule) k##Rule,
#define ARUBA_ONE_MORE(Rule) +1
enum class StepRule { ARUBA_STEP_RULES(ARUBA_ENUMERATOR) };
enum class TaskRule { ARUBA_HOST_TASK_RULES(ARUBA_ENUMERATOR) };
constexpr int kStepRules = 0 ARUBA_STEP_RULES(ARUBA_ONE_MORE),
              kTaskRules = 0 ARUBA_TASK_RULES(ARUBA_ONE_MORE),
              kHostTaskRules = 0 ARUBA_HOST_TASK_RULES(ARUBA_ONE_MORE);

// What the host has to know of a rule: the same as the struct says, for a rule chosen at run time.
struct TaskRuleFacts {
  const char* name;
  std::span<const Parameter> parameters;
  int n_states;
  bool rate_is_given;  // the step is by the first parameter itself
};
#define ARUBA_TASK_FACTS(Rule) \
  {Rule::kName, Rule::kParameters, kStatesOf<Rule>, Rule::kRateIsGiven},
struct StepRuleFacts {
  const char* function;
  std::span<const Parameter> parameters;
  const char* state;
  bool state_is_optional;
};
#define ARUBA_STEP_FACTS(Rule) \
  {Rule::kFunction, Rule::kParameters, Rule::kStates[0], Rule::kStateIsOptional},
inline constexpr TaskRuleFacts kTaskRuleFacts[] = {ARUBA_HOST_TASK_RULES(ARUBA_TASK_FACTS)};
inline constexpr StepRuleFacts kStepFacts[] = {ARUBA_STEP_RULES(ARUBA_STEP_FACTS)};
constexpr const TaskRuleFacts& facts_of(TaskRule rule) {
  return kTaskRuleFacts[static_cast<int>(rule)];
}
constexpr const StepRuleFacts& facts_of(StepRule rule) {
  return kStepFacts[static_cast<int>(rule)];
}

// Sums of a task are made of so many terms at a time, added one by one in the task's type (of 256
// terms of float32 a sum is off by at most 4e-6), and the compensated sum of those: a float32 sum
// of ones would stop at 2^24. Squares, which every round of every task adds, are left alone for
// longer.
constexpr std::int64_t kTermsTogether = 256, kSquaresTogether = std::int64_t(1) << 15;

// The losses of a mini-batch: so many terms at a time, and their mean.
template <class T>
struct BatchLoss {
  T sum = T(0);
  Twofold<T> sums = {T(0), T(0)};
  std::int64_t rows = 0;

  ARUBA_RULE void add(T loss) {
    sum = sum + loss;
    ++rows;
  }
  // Whether the gradients' sums, and this one, are to be gathered.
  ARUBA_RULE bool is_part() const { return rows % kTermsTogether == 0; }
  ARUBA_RULE bool is_long() const { return rows > kTermsTogether; }
  ARUBA_RULE void gather() {
    aruba_fast::add(sums, sum);
    sum = T(0);
  }
  ARUBA_RULE T per_row() const { return T(1) / static_cast<T>(rows); }
  // The mean; the next mini-batch begins.
  ARUBA_RULE T close() {
    if (is_long()) {
      gather();
      sum = sums.value();
    }
    const T mean = sum * per_row();
    *this = BatchLoss();
    return mean;
  }
};

// Whether a task's squares go to the sum of such sums after a round. Rules that take their rates
// from the whole sum keep it whole.
template <class Rule>
ARUBA_RULE bool gathers_squares(std::int64_t n_rounds, std::int64_t batch_size) {
  return Rule::kSquaresAreFree && batch_size <= kTermsTogether && n_rounds % kSquaresTogether == 0;
}

}  // namespace aruba_fast
