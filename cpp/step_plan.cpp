// The checks of a step, and what is left to compute.
#include "step_plan.h"

#include <algorithm>

namespace aruba_fast {
namespace {

Gradient gradient_kind(const char* function, const Array& theta, const Array& grad) {
  if (grad.type == theta.type) return theta.type == Type::kFloat64 ? kDouble : kFloat;
  if (theta.type == Type::kFloat32 && grad.type == Type::kBFloat16) return kFloatFromBFloat16;
  if (theta.type == Type::kFloat32 && grad.type == Type::kFloat16) return kFloatFromFloat16;
  refuse<TypeError>(function, grad.quoted(), "have the type of " + theta.quoted(),
                    name_of(grad.type),
                    theta.type == Type::kFloat32 ? "float32, bfloat16 or float16" : "float64");
}

void require_parameters(const char* function, const Array& theta) {
  if (theta.type != Type::kFloat32 && theta.type != Type::kFloat64)
    refuse<TypeError>(function, theta.quoted(), "be float32 or float64", name_of(theta.type));
  if (theta.n_dimensions == 0)
    refuse(function, theta.quoted(), "have at least one dimension", "a 0-d array");
}

void require_like(const char* function, const Array& array, const Array& theta) {
  if (array.type != theta.type)
    refuse<TypeError>(function, array.quoted(), "have the type of " + theta.quoted(),
                      name_of(array.type), name_of(theta.type));
  if (!array.same_shape(theta))
    refuse(function, array.quoted(), "have the shape of " + theta.quoted(), array.shape_text(),
           theta.shape_text());
}

// True when the rates are one row that all rows of theta share.
bool require_rates(const char* function, const Array& rates, const Array& theta) {
  const bool may_be_narrow = theta.type == Type::kFloat32;
  if (rates.type != theta.type && !(may_be_narrow && rates.type == Type::kBFloat16))
    refuse<TypeError>(function, rates.quoted(), "have the type of " + theta.quoted(),
                      name_of(rates.type), may_be_narrow ? "float32 or bfloat16" : "float64");
  if (rates.same_shape(theta)) return false;
  const std::int64_t row = theta.shape[theta.n_dimensions - 1];
  if (rates.n_dimensions == 1 && rates.shape[0] == row) return true;
  refuse(function, rates.quoted(),
         "be a number, have the shape of " + theta.quoted() + " or that of its last dimension",
         rates.shape_text(), theta.shape_text() + " or (" + std::to_string(row) + ",)");
}

void require_length(const char* function, const char* name, std::size_t got, std::size_t expected) {
  if (got != expected)
    refuse(function, "`" + std::string(name) + "`", "have as many arrays as `theta`",
           std::to_string(got), std::to_string(expected));
}

struct Interval {
  const char* begin;
  const char* end;
  const Array* array;
  bool written;
};

constexpr std::size_t kLongList = 16;

struct Extent {
  const char* begin;
  std::int64_t n_bytes;
  bool written;
  bool operator==(const Extent&) const = default;
};

// Calls body with every array of the call and whether it is modified, in order, until it says no.
template <class Body>
bool for_all_arrays(const StepArguments& arguments, Body body) {
  const auto each = [&](std::span<const Array> arrays, bool written) {
    for (const Array& array : arrays)
      if (!body(Extent{static_cast<const char*>(array.data), array.n_bytes(), written}))
        return false;
    return true;
  };
  return each(arguments.theta, true) && each(arguments.grad, false) &&
         each(arguments.first, false) && each(arguments.state, true);
}

// The arrays of the last long list that was found disjoint: a training loop passes it every step,
// and comparing beats sorting (4000 arrays: 6 us for 25).
class LastDisjoint {
 public:
  bool is(const StepArguments& arguments) const {
    std::size_t i = 0;
    return for_all_arrays(arguments,
                          [&](const Extent& extent) {
                            return i < extents_.size() && extents_[i++] == extent;
                          }) &&
           i == extents_.size();
  }
  void remember(const StepArguments& arguments) {
    extents_.clear();
    for_all_arrays(arguments, [&](const Extent& extent) {
      extents_.push_back(extent);
      return true;
    });
  }

 private:
  std::vector<Extent> extents_;
};

// No modified array may share memory with any other argument.
void require_disjoint(const StepArguments& arguments) {
  // Kept from call to call: new memory costs more than sorting it (4000 intervals: 10 us).
  thread_local std::vector<Interval> intervals;
  intervals.clear();
  const auto before = [](const Interval& a, const Interval& b) { return a.begin < b.begin; };
  // A list is mostly in the order of its addresses already: merging lists beats sorting them all.
  const auto add = [&](std::span<const Array> arrays, bool written) {
    const auto middle = static_cast<std::ptrdiff_t>(intervals.size());
    for (const Array& array : arrays) {
      const char* begin = static_cast<const char*>(array.data);
      if (array.size() > 0) intervals.push_back({begin, begin + array.n_bytes(), &array, written});
    }
    if (!std::is_sorted(intervals.begin() + middle, intervals.end(), before))
      std::sort(intervals.begin() + middle, intervals.end(), before);
    if (middle > 0 && middle < std::ssize(intervals) &&
        before(intervals[static_cast<std::size_t>(middle)],
               intervals[static_cast<std::size_t>(middle) - 1]))
      std::inplace_merge(intervals.begin(), intervals.begin() + middle, intervals.end(), before);
  };
  add(arguments.theta, true);
  add(arguments.grad, false);
  add(arguments.first, false);
  add(arguments.state, true);
  // `reach`: of the intervals so far, the one that ends last; `written_reach`: the same of the
  // modified ones.
  const Interval *reach = nullptr, *written_reach = nullptr;
  for (const Interval& at : intervals) {
    const Interval* other = at.written ? reach : written_reach;
    if (other && at.begin < other->end) {
      const Interval& modified = at.written ? at : *other;
      const Interval& second = at.written ? *other : at;
      throw ValueError(std::string(arguments.function) + ": " + modified.array->quoted() +
                       " is modified and must not overlap " + second.array->quoted());
    }
    if (!reach || at.end > reach->end) reach = &at;
    if (at.written && (!written_reach || at.end > written_reach->end)) written_reach = &at;
  }
}

StepPiece checked_piece(const StepArguments& arguments, std::size_t i) {
  const char* function = arguments.function;
  const Array &theta = arguments.theta[i], &grad = arguments.grad[i];
  require_parameters(function, theta);
  const Gradient kind = gradient_kind(function, theta, grad);
  if (!grad.same_shape(theta))
    refuse(function, grad.quoted(), "have the shape of " + theta.quoted(), grad.shape_text(),
           theta.shape_text());
  require_numbers(function, arguments.rule, arguments.parameters, !arguments.first.empty(),
                  theta.type);
  const bool shared =
      !arguments.first.empty() && require_rates(function, arguments.first[i], theta);
  if (!arguments.state.empty()) require_like(function, arguments.state[i], theta);
  const std::int64_t row = shared ? theta.shape[theta.n_dimensions - 1] : theta.size();
  StepCall call = {.theta = theta.data,
                   .state = arguments.state.empty() ? nullptr : arguments.state[i].data,
                   .grad = grad.data,
                   .first = arguments.first.empty() ? nullptr : arguments.first[i].data,
                   .parameters = {},
                   .n_rows = 1,
                   .n = row};
  std::copy_n(arguments.parameters, kMostParameters, call.parameters);
  return {.call = call,
          .kind = kind,
          .first = 0,
          .theta_bytes = size_of(theta.type),
          .grad_bytes = size_of(grad.type),
          .first_bytes = size_of(arguments.first.empty() ? theta.type : arguments.first[i].type)};
}

}  // namespace

void require_numbers(const char* function, StepRule rule, const double* numbers,
                     bool first_is_array, Type type) {
  const std::span<const Parameter> named = facts_of(rule).parameters;
  for (std::size_t k = first_is_array ? 1 : 0; k < named.size(); ++k)
    require_within(function, "`" + std::string(named[k].name) + "`", numbers[k], type);
}

Modified::Modified(const StepArguments& arguments) {
  for (const std::span<const Array> arrays : {arguments.theta, arguments.state})
    for (const Array& array : arrays) {
      const char* begin = static_cast<const char*>(array.data);
      if (array.size() > 0) ranges_.push_back({begin, begin + array.n_bytes()});
    }
  std::sort(ranges_.begin(), ranges_.end(),
            [](const Range& a, const Range& b) { return a.begin < b.begin; });
  std::size_t n = 0;
  for (const Range& range : ranges_) {
    if (n > 0 && ranges_[n - 1].end == range.begin) ranges_[n - 1].end = range.end;
    else ranges_[n++] = range;
  }
  ranges_.resize(n);
}

bool Modified::overlaps(const Array& array) const {
  const char* begin = static_cast<const char*>(array.data);
  const auto after =
      std::upper_bound(ranges_.begin(), ranges_.end(), begin,
                       [](const char* at, const Range& range) { return at < range.end; });
  return array.size() > 0 && after != ranges_.end() && after->begin < begin + array.n_bytes();
}

StepPlan plan_step(const StepArguments& arguments) {
  StepPlan plan;
  plan_step(arguments, plan);
  return plan;
}

void plan_step(const StepArguments& arguments, StepPlan& plan) {
  const std::size_t n_arrays = arguments.theta.size();
  require_length(arguments.function, "grad", arguments.grad.size(), n_arrays);
  if (!arguments.first.empty())
    require_length(arguments.function, arguments.first[0].name, arguments.first.size(), n_arrays);
  if (!arguments.state.empty())
    require_length(arguments.function, arguments.state[0].name, arguments.state.size(), n_arrays);
  plan.pieces.clear();
  plan.n = 0;
  plan.pieces.reserve(n_arrays);
  for (std::size_t i = 0; i < n_arrays; ++i) {
    const std::int64_t n = arguments.theta[i].size();
    plan.pieces.push_back(checked_piece(arguments, i));
    plan.pieces.back().first = plan.n;
    plan.n += n;
    if (n == 0) plan.pieces.pop_back();
  }
  thread_local LastDisjoint last_disjoint;
  if (n_arrays < kLongList) {
    require_disjoint(arguments);
  } else if (!last_disjoint.is(arguments)) {
    require_disjoint(arguments);
    last_disjoint.remember(arguments);
  }
}

}  // namespace aruba_fast
