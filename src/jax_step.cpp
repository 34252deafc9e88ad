// Steps within a task for XLA: all leaves of a tree are one sweep.
#include "jax_buffers.h"

namespace aruba_fast::python {
namespace {

// What a step writes, and what an update has beside it.
struct Moved {
  const char *theta, *rest;
  char *update, *rest_after;
};

// Where the kernel starts from: theta and what it was last rounded off by.
template <class T>
void before(const Moved& moved, std::int64_t begin, std::int64_t end) {
  const T *theta = reinterpret_cast<const T*>(moved.theta),
          *rest = reinterpret_cast<const T*>(moved.rest);
  T* at = reinterpret_cast<T*>(moved.update);
  for (std::int64_t j = begin; j < end; ++j) at[j] = theta[j] + rest[j];
}

// What has to be added to theta, and how far the sum is from where the kernel is.
template <class T>
void after(const Moved& moved, std::int64_t begin, std::int64_t end) {
  const T* theta = reinterpret_cast<const T*>(moved.theta);
  T *update = reinterpret_cast<T*>(moved.update), *rest = reinterpret_cast<T*>(moved.rest_after);
  for (std::int64_t j = begin; j < end; ++j) {
    const T at = update[j], move = at - theta[j];
    update[j] = move;
    rest[j] = at - (theta[j] + move);
  }
}

Gradient kind_of(const JaxBuffer& grad) {
  switch (grad.type_of_numbers()) {
    case Type::kFloat64:
      return kDouble;
    case Type::kBFloat16:
      return kFloatFromBFloat16;
    case Type::kFloat16:
      return kFloatFromFloat16;
    case Type::kFloat32:
      break;
  }
  return kFloat;
}

// A leaf: gradient, state and theta of the whole batch; the first parameter of the rule, of a row
// or one number, that entries may share; with `moves` the rest.
struct Leaf {
  const JaxBuffer &grad, &state, &theta, &first;
  const JaxBuffer* rest;
  // Where the kernel works, and the next state and rest.
  const JaxBuffer &at, &state_after;
  const JaxBuffer* rest_after;
};

class Sweep {
 public:
  // `coef`: the second parameter of the rule, a number that entries may share; null: it has none.
  void add(const Leaf& leaf, const JaxBuffer* coef) {
    leaf.state_after.start_from(leaf.state);
    if (!leaf.rest) leaf.at.start_from(leaf.theta);
    const std::int64_t n = leaf.theta.n(), n_entries = leaf.theta.n_entries(),
                       n_first = leaf.first.n_entries(), n_coef = coef ? coef->n_entries() : 1;
    const bool is_row = has_row(leaf);
    // All entries at once, where they share what there is to share or it is as long as they are.
    if (n_coef == 1 && (n_first == 1 || (is_row && n_first == n_entries))) {
      piece(leaf, coef, 0, n_entries * n, n_first == 1 ? n : n_entries * n);
    } else {
      for (std::int64_t entry = 0; entry < n_entries; ++entry) piece(leaf, coef, entry, n, n);
    }
  }
  void run(StepRule rule) {
    if (moved_.empty()) return core().run_steps(rule, plan_, nullptr);
    const auto is_double = [&](std::size_t i) { return plan_.pieces[i].theta_bytes == 8; };
    const StepVisits visits = {[&](std::size_t i, std::int64_t begin, std::int64_t end) {
                                 is_double(i) ? before<double>(moved_[i], begin, end)
                                              : before<float>(moved_[i], begin, end);
                               },
                               [&](std::size_t i, std::int64_t begin, std::int64_t end) {
                                 is_double(i) ? after<double>(moved_[i], begin, end)
                                              : after<float>(moved_[i], begin, end);
                               }};
    core().run_steps(rule, plan_, &visits);
  }

 private:
  // Whether the first parameter is one for each coordinate, not a number.
  static bool has_row(const Leaf& leaf) {
    return leaf.first.n() == leaf.theta.n() &&
           (leaf.theta.n() > 1 || leaf.first.n_entries() == leaf.theta.n_entries());
  }
  void piece(const Leaf& leaf, const JaxBuffer* coef, std::int64_t entry, std::int64_t size,
             std::int64_t row) {
    if (size == 0) return;
    const auto bytes = [&](const JaxBuffer& buffer) { return entry * buffer.n_bytes(); };
    const bool is_row = has_row(leaf);
    StepPiece piece = {.call = {.theta = leaf.at.data + bytes(leaf.at),
                                .state = leaf.state_after.data + bytes(leaf.state_after),
                                .grad = leaf.grad.data + bytes(leaf.grad),
                                .first = is_row ? leaf.first.at(entry, leaf.theta) : nullptr,
                                .parameters = {},
                                .n_rows = 1,
                                .n = is_row ? row : size},
                       .kind = kind_of(leaf.grad),
                       .first = plan_.n,
                       .theta_bytes = size_of(leaf.theta.type_of_numbers()),
                       .grad_bytes = size_of(leaf.grad.type_of_numbers()),
                       .first_bytes = size_of(leaf.theta.type_of_numbers())};
    if (!is_row) piece.call.parameters[0] = leaf.first.number(leaf.first.row(entry, leaf.theta));
    if (coef) piece.call.parameters[1] = coef->number(coef->row(entry, leaf.theta));
    plan_.pieces.push_back(piece);
    plan_.n += size;
    if (leaf.rest)
      moved_.push_back({leaf.theta.data + bytes(leaf.theta), leaf.rest->data + bytes(*leaf.rest),
                        leaf.at.data + bytes(leaf.at),
                        leaf.rest_after->data + bytes(*leaf.rest_after)});
  }

  StepPlan plan_;
  std::vector<Moved> moved_;
};

// Arguments: grad, state, theta, with `moves` rest, and the first parameter, of each leaf; then, of
// ARUBA++, its coefficient. Results: with `moves` update, state and rest, else theta and state, of
// each leaf.
ffi::Error step(ffi::RemainingArgs args, ffi::RemainingRets rets, bool aruba, bool moves) {
  return guarded([&] {
    const std::vector<JaxBuffer> given = all(args), made = all(rets);
    const std::size_t n_given = moves ? 5 : 4, n_made = moves ? 3 : 2;
    const JaxBuffer* coef = aruba ? &given.back() : nullptr;
    Sweep sweep;
    for (std::size_t i = 0; i < made.size() / n_made; ++i) {
      const JaxBuffer *in = &given[i * n_given], *out = &made[i * n_made];
      sweep.add({.grad = in[0],
                 .state = in[1],
                 .theta = in[2],
                 .first = in[n_given - 1],
                 .rest = moves ? &in[3] : nullptr,
                 .at = out[0],
                 .state_after = out[1],
                 .rest_after = moves ? &out[2] : nullptr},
                coef);
    }
    sweep.run(aruba ? StepRule::kArubaInPlace : StepRule::kOgd);
  });
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(
    aruba_fast_jax_step, step,
    ffi::Ffi::Bind().RemainingArgs().RemainingRets().Attr<bool>("aruba").Attr<bool>("moves"));

}  // namespace aruba_fast::python
