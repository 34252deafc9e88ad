// Steps of the leaves of a tree for a compiled program of JAX, whose numbers are on the device: as
// the CPU's, bit for bit.
#include <memory>

#include "arrays.h"
#include "cpp/ops_step.h"
#include "cuda/ops_jax.h"
#include "cuda_runtime.h"

namespace {

using namespace aruba_fast;
using namespace aruba_fast::test;

const cuda::Stream kStream{0, nullptr};

// A leaf of one to three tasks, which share the first parameter, a row or a number, or do not.
template <class T, class G>
class Leaf {
 public:
  Leaf(std::int64_t number, bool moves, Numbers& numbers)
      : n_entries_(1 + number % 3),
        n_(number % 29 == 4 ? 1100 : static_cast<std::int64_t>(numbers.bits() % 70)),
        is_row_(number % 2),
        shares_first_(number % 4 < 2),
        shares_coef_(number % 5 > 0),
        grad_(numbers.gradients<G>(n_ * n_entries_)),
        theta_(numbers.wild_vector<T>(n_ * n_entries_)),
        rest_(scaled(numbers.vector<T>(n_ * n_entries_))),
        state_(numbers.wild_vector<T>(n_ * n_entries_, 1.5)),
        first_(numbers.vector<T>((is_row_ ? n_ : 1) * (shares_first_ ? 1 : n_entries_), 1.5)),
        coef_(numbers.vector<double>(shares_coef_ ? 1 : n_entries_, 1.5)),
        on_grad_(grad_, offset(number)),
        on_theta_(theta_, offset(number + 1)),
        on_rest_(rest_, offset(number + 2)),
        on_state_(state_, offset(number + 3)),
        on_first_(first_, offset(number)),
        update_(theta_, offset(number + 2)),
        on_coef_(coef_) {
    leaf = {.grad = on_grad_.data(),
            .state = on_state_.data(),
            .theta = on_theta_.data(),
            .rest = on_rest_.data(),
            .first = on_first_.data(),
            .coef = on_coef_.data(),
            .at = moves ? update_.data() : on_theta_.data(),
            .state_after = on_state_.data(),
            .rest_after = on_rest_.data(),
            .theta_type = kType<T>,
            .grad_type = kType<G>,
            .coef_is_double = true,
            .n = n_,
            .n_entries = n_entries_,
            .row = is_row_ ? n_ : 0,
            .first_stride = shares_first_ ? 0 : (is_row_ ? n_ : 1),
            .coef_stride = !shares_coef_};
  }

  void check(bool aruba, bool moves, const std::string& what) {
    const std::vector<T> theta = theta_;
    for (std::size_t i = 0; moves && i < theta_.size(); ++i) theta_[i] = theta_[i] + rest_[i];
    for (std::int64_t entry = 0; entry < n_entries_; ++entry) step_entry(aruba, entry);
    for (std::size_t i = 0; moves && i < theta_.size(); ++i) {
      const T at = theta_[i];
      theta_[i] = at - theta[i];
      rest_[i] = at - (theta[i] + theta_[i]);
    }
    expect_same(moves ? update_.values() : on_theta_.values(), theta_, "theta, " + what);
    expect_same(on_state_.values(), state_, "state, " + what);
    expect_same(on_rest_.values(), rest_, "rest, " + what);
  }

  cuda::StepLeaf leaf;

 private:
  static std::size_t offset(std::int64_t number) { return static_cast<std::size_t>(number) % 4; }
  static std::vector<T> scaled(std::vector<T> values) {
    for (T& value : values) value *= T(1e-8);
    return values;
  }
  void step_entry(bool aruba, std::int64_t entry) {
    const std::int64_t at = entry * n_, row = shares_first_ ? 0 : entry;
    const std::vector<T> own =
        is_row_
            ? std::vector<T>(first_.begin() + row * n_, first_.begin() + (row + 1) * n_)
            : std::vector<T>(static_cast<std::size_t>(n_), first_[static_cast<std::size_t>(row)]);
    const Array theta[] = {view("theta", theta_.data() + at, {n_})},
                grad[] = {view("grad", grad_.data() + at, {n_})},
                first[] = {view("first", own.data(), {n_})},
                state[] = {view("state", state_.data() + at, {n_})};
    const double coef = coef_[static_cast<std::size_t>(shares_coef_ ? 0 : entry)];
    step({"test",
          aruba ? StepRule::kArubaInPlace : StepRule::kOgd,
          theta,
          grad,
          first,
          state,
          {0, coef}});
  }

  std::int64_t n_entries_, n_;
  bool is_row_, shares_first_, shares_coef_;
  std::vector<G> grad_;
  std::vector<T> theta_, rest_, state_, first_;
  std::vector<double> coef_;
  DeviceArray<G> on_grad_;
  DeviceArray<T> on_theta_, on_rest_, on_state_, on_first_, update_;
  DeviceArray<double> on_coef_;
};

template <class T, class G>
void test_steps() {
  for (const bool aruba : {false, true}) {
    for (const bool moves : {false, true}) {
      Numbers numbers(11);
      std::vector<std::unique_ptr<Leaf<T, G>>> leaves;
      std::vector<cuda::StepLeaf> table;
      for (std::int64_t i = 0; i < 150; ++i) {
        leaves.push_back(std::make_unique<Leaf<T, G>>(i, moves, numbers));
        table.push_back(leaves.back()->leaf);
      }
      cuda_on_cpu::set_order(aruba + 2 * moves);
      cuda_on_cpu::reset_counts();
      cuda::step_leaves(aruba, moves, table, kStream);
      expect_equal(cuda_on_cpu::counts().launches, std::int64_t{2});
      expect_equal(cuda_on_cpu::counts().copies, std::int64_t{0});
      for (const auto& leaf : leaves)
        leaf->check(aruba, moves, std::to_string(aruba) + " moves " + std::to_string(moves));
    }
  }
}

}  // namespace

int main() {
  return report("jax_step", [] {
    test_steps<float, float>();
    test_steps<double, double>();
    test_steps<float, BFloat16>();
    test_steps<float, Float16>();
  });
}
