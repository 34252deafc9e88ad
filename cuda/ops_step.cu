// The step rules on arrays and lists of arrays in device memory.
#include "ops_step.h"

#include <algorithm>
#include <cstring>

#include "cpp/step_plan.h"
#include "elementwise-inl.cuh"
#include "table_cache.h"

namespace aruba_fast::cuda {
namespace {

// Blocks that cover n coordinates, whatever the alignment of the first.
std::int64_t n_blocks(std::int64_t n, std::int64_t item) {
  const std::int64_t vector = 16 / item;
  return divide_up(n + vector - 1, vector * kStepThreads);
}

template <class Rule, class T, class G>
Steps<Rule, T, G> steps_of(const StepCall& call, std::int64_t n) {
  Steps<Rule, T, G> steps{.theta = static_cast<T*>(call.theta),
                          .state = static_cast<T*>(call.state),
                          .grad = static_cast<const G*>(call.grad),
                          .first = static_cast<const T*>(call.first),
                          .numbers = {},
                          .n = n,
                          .row = call.n};
  std::copy_n(call.parameters, kParametersOf<Rule>, steps.numbers);
  return steps;
}

template <class Rule, class T, class G>
void step_one_array(const StepCall& call, std::int64_t n, const Stream& stream) {
  launch(stream, {n_blocks(n, sizeof(T)), kStepThreads}, step_array<Rule, T, G>,
         steps_of<Rule, T, G>(call, n));
}

template <class Rule, class T, class G>
void step_many_arrays(const StepPlan& plan, Gradient kind, const Stream& stream) {
  std::vector<std::size_t> chosen;
  for (std::size_t i = 0; i < plan.pieces.size(); ++i)
    if (plan.pieces[i].kind == kind) chosen.push_back(i);
  const std::size_t n_arrays = chosen.size();
  std::vector<std::int64_t> table(kTableColumns * n_arrays);
  std::vector<std::int32_t> owners;
  for (std::size_t a = 0; a < n_arrays; ++a) {
    const StepCall& call = plan.pieces[chosen[a]].call;
    const auto set = [&](TableColumn column, std::int64_t value) {
      table[static_cast<std::size_t>(column) * n_arrays + a] = value;
    };
    set(kTheta, reinterpret_cast<std::int64_t>(call.theta));
    set(kState, reinterpret_cast<std::int64_t>(call.state));
    set(kGrad, reinterpret_cast<std::int64_t>(call.grad));
    set(kFirst, reinterpret_cast<std::int64_t>(call.first));
    set(kSize, plan.size(chosen[a]));
    set(kRow, call.n);
    set(kFirstBlock, static_cast<std::int64_t>(owners.size()));
    owners.resize(
        owners.size() + static_cast<std::size_t>(n_blocks(plan.size(chosen[a]), sizeof(T))),
        static_cast<std::int32_t>(a));
  }
  const auto blocks = static_cast<std::int64_t>(owners.size());
  const std::size_t n_numbers = table.size();
  owners.resize((owners.size() + 1) / 2 * 2);
  table.resize(n_numbers + owners.size() / 2);
  std::memcpy(table.data() + n_numbers, owners.data(), owners.size() * sizeof(std::int32_t));
  const TableUse use(stream, table);
  launch(stream, {blocks, kStepThreads}, step_arrays<Rule, T, G>,
         steps_of<Rule, T, G>(plan.pieces[chosen[0]].call, 0), use.data(),
         reinterpret_cast<const std::int32_t*>(use.data() + n_numbers),
         static_cast<std::int64_t>(n_arrays));
}

template <class Rule, class T, class G>
void step_kind(const StepPlan& plan, Gradient kind, const Stream& stream) {
  if (plan.pieces.size() == 1) step_one_array<Rule, T, G>(plan.pieces[0].call, plan.n, stream);
  else step_many_arrays<Rule, T, G>(plan, kind, stream);
}

// One launch for each kind of array that there is.
template <class Rule>
void step_all(const StepPlan& plan, const Stream& stream) {
  bool present[kGradients] = {};
  for (const StepPiece& piece : plan.pieces) present[piece.kind] = true;
  if (present[kFloat]) step_kind<Rule, float, float>(plan, kFloat, stream);
  if (present[kDouble]) step_kind<Rule, double, double>(plan, kDouble, stream);
  if (present[kFloatFromBFloat16])
    step_kind<Rule, float, BFloat16>(plan, kFloatFromBFloat16, stream);
  if (present[kFloatFromFloat16]) step_kind<Rule, float, Float16>(plan, kFloatFromFloat16, stream);
}

}  // namespace

void step(const StepArguments& arguments, const Stream& stream) {
  const StepPlan plan = plan_step(arguments);
  const DeviceGuard guard(stream);
  switch (arguments.rule) {
#define ARUBA_CASE(Rule)  \
  case StepRule::k##Rule: \
    return step_all<Rule>(plan, stream);
    ARUBA_STEP_RULES(ARUBA_CASE)
#undef ARUBA_CASE
  }
}

}  // namespace aruba_fast::cuda
