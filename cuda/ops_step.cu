// The step rules on arrays and lists of arrays in device memory.
#include "ops_step.h"

#include <algorithm>
#include <cstring>

#include "elementwise-inl.cuh"
#include "table_cache.h"

namespace aruba_fast::cuda {
namespace {

// Blocks that cover n coordinates, whatever the alignment of the first.
std::int64_t n_blocks(std::int64_t n, std::int64_t item) {
  const std::int64_t vector = 16 / item;
  return divide_up(n + vector - 1, vector * kStepThreads);
}

template <class Rule, class T, class G, class F>
Steps<Rule, T, G, F> steps_of(const StepCall& call, std::int64_t n) {
  Steps<Rule, T, G, F> steps{.theta = static_cast<T*>(call.theta),
                             .state = static_cast<T*>(call.state),
                             .grad = static_cast<const G*>(call.grad),
                             .first = static_cast<const F*>(call.first),
                             .numbers = {},
                             .n = n,
                             .row = call.n};
  std::copy_n(call.parameters, kParametersOf<Rule>, steps.numbers);
  return steps;
}

template <class Rule, class T, class G, class F>
void step_one_array(const StepCall& call, std::int64_t n, const Stream& stream) {
  launch(stream, {n_blocks(n, sizeof(T)), kStepThreads}, step_array<Rule, T, G, F>,
         steps_of<Rule, T, G, F>(call, n));
}

StepTables::Table table_of(const StepPlan& plan, Gradient kind, bool has_narrow_first) {
  StepTables::Table made{.kind = kind,
                         .has_narrow_first = has_narrow_first,
                         .pieces = {},
                         .numbers = {},
                         .owners = 0,
                         .n_blocks = 0};
  for (std::size_t i = 0; i < plan.pieces.size(); ++i)
    if (plan.pieces[i].kind == kind && plan.pieces[i].has_narrow_first() == has_narrow_first)
      made.pieces.push_back(i);
  const std::size_t n_arrays = made.pieces.size();
  std::vector<std::int64_t>& table = made.numbers;
  table.resize(kTableColumns * n_arrays);
  std::vector<std::int32_t> owners;
  for (std::size_t a = 0; a < n_arrays; ++a) {
    const std::size_t piece = made.pieces[a];
    const StepCall& call = plan.pieces[piece].call;
    const auto set = [&](TableColumn column, std::int64_t value) {
      table[static_cast<std::size_t>(column) * n_arrays + a] = value;
    };
    set(kTheta, reinterpret_cast<std::int64_t>(call.theta));
    set(kState, reinterpret_cast<std::int64_t>(call.state));
    set(kGrad, reinterpret_cast<std::int64_t>(call.grad));
    set(kFirst, reinterpret_cast<std::int64_t>(call.first));
    set(kSize, plan.size(piece));
    set(kRow, call.n);
    set(kFirstBlock, static_cast<std::int64_t>(owners.size()));
    owners.resize(owners.size() + static_cast<std::size_t>(
                                      n_blocks(plan.size(piece), plan.pieces[piece].theta_bytes)),
                  static_cast<std::int32_t>(a));
  }
  made.n_blocks = static_cast<std::int64_t>(owners.size());
  made.owners = table.size();
  owners.resize((owners.size() + 1) / 2 * 2);
  table.resize(made.owners + owners.size() / 2);
  std::memcpy(table.data() + made.owners, owners.data(), owners.size() * sizeof(std::int32_t));
  return made;
}

template <class Rule, class T, class G, class F>
void step_arrays_of(const StepTables::Table& table, const StepPlan& plan, const Stream& stream) {
  const TableUse use(stream, table.numbers);
  launch(stream, {table.n_blocks, kStepThreads}, step_arrays<Rule, T, G, F>,
         steps_of<Rule, T, G, F>(plan.pieces[table.pieces[0]].call, 0), use.data(),
         reinterpret_cast<const std::int32_t*>(use.data() + table.owners),
         static_cast<std::int64_t>(table.pieces.size()));
}

// Calls body with a number of the type of theta, one of the gradients' and one of the rates'.
template <class Rule, class Body>
void by_types(Gradient kind, bool has_narrow_first, Body body) {
  const auto with = [&](auto theta, auto grad) {
    if constexpr (sizeof(theta) == sizeof(float) && Rule::kParameters[0].takes != Takes::kNumber) {
      if (has_narrow_first) return body(theta, grad, BFloat16{});
    }
    body(theta, grad, theta);
  };
  switch (kind) {
    case kFloat:
      return with(float{}, float{});
    case kDouble:
      return with(double{}, double{});
    case kFloatFromBFloat16:
      return with(float{}, BFloat16{});
    case kFloatFromFloat16:
      return with(float{}, Float16{});
    case kGradients:
      break;
  }
}

template <class Rule>
void step_all(const StepPlan& plan, StepTables& tables, const Stream& stream) {
  if (plan.pieces.size() == 1) {
    const StepPiece& piece = plan.pieces[0];
    return by_types<Rule>(piece.kind, piece.has_narrow_first(),
                          [&](auto theta, auto grad, auto first) {
                            step_one_array<Rule, decltype(theta), decltype(grad), decltype(first)>(
                                piece.call, plan.n, stream);
                          });
  }
  // One launch for each combination of types that there is.
  for (const StepTables::Table& table : tables.of(plan))
    by_types<Rule>(table.kind, table.has_narrow_first, [&](auto theta, auto grad, auto first) {
      step_arrays_of<Rule, decltype(theta), decltype(grad), decltype(first)>(table, plan, stream);
    });
}

}  // namespace

const std::vector<StepTables::Table>& StepTables::of(const StepPlan& plan) {
  if (!tables_.empty()) return tables_;
  bool present[kGradients][2] = {};
  for (const StepPiece& piece : plan.pieces) present[piece.kind][piece.has_narrow_first()] = true;
  for (int kind = 0; kind < kGradients; ++kind)
    for (const bool narrow : {false, true})
      if (present[kind][narrow])
        tables_.push_back(table_of(plan, static_cast<Gradient>(kind), narrow));
  return tables_;
}

void StepTables::take_gradients(const StepPlan& plan) {
  for (Table& table : tables_)
    for (std::size_t a = 0; a < table.pieces.size(); ++a)
      table.numbers[kGrad * table.pieces.size() + a] =
          reinterpret_cast<std::int64_t>(plan.pieces[table.pieces[a]].call.grad);
}

void step(const StepArguments& arguments, const Stream& stream) {
  StepTables tables;
  step(arguments.rule, plan_step(arguments), tables, stream);
}

void step(StepRule rule, const StepPlan& plan, StepTables& tables, const Stream& stream) {
  const DeviceGuard guard(stream);
  switch (rule) {
#define ARUBA_CASE(Rule)  \
  case StepRule::k##Rule: \
    return step_all<Rule>(plan, tables, stream);
    ARUBA_STEP_RULES(ARUBA_CASE)
#undef ARUBA_CASE
  }
}

}  // namespace aruba_fast::cuda
