// The step kernels on lists of arrays, one launch each, and the device's table of such a list: as
// the CPU's, bit for bit.
#include "arrays.h"
#include "cpp/ops_step.h"
#include "cuda_runtime.h"
#include "small.h"
#include "steps.h"

namespace {

using namespace aruba_fast;
using namespace aruba_fast::test;

// A list of arrays of every size and alignment, empty ones among them.
template <class T, class G, class F = T>
class List {
 public:
  explicit List(std::int64_t n_arrays, std::uint64_t seed = 7) {
    Numbers numbers(seed);
    for (std::int64_t i = 0; i < n_arrays; ++i) {
      const std::int64_t n = i % 11 == 3   ? 0
                             : i % 13 == 5 ? 4097
                                           : static_cast<std::int64_t>(numbers.bits() % 700);
      const std::size_t offset = static_cast<std::size_t>(i) % 4;
      theta_.push_back(numbers.wild_vector<T>(n));
      state_.push_back(numbers.wild_vector<T>(n, 1.5));
      on_theta_.emplace_back(theta_.back(), offset);
      on_state_.emplace_back(state_.back(), 3 - offset);
      const std::vector<F> rates = numbers.gradients<F>(n, 1.5);
      const std::vector<G> grad = numbers.gradients<G>(n);
      rates_.emplace_back(rates, offset);
      grad_.emplace_back(grad, offset);
    }
  }

  // `call` steps a list of arrays.
  template <class Step>
  void run(StepRule rule, bool on_device, Step call) {
    std::vector<Array> arrays[4];
    for (std::size_t i = 0; i < theta_.size(); ++i) {
      const auto n = static_cast<std::int64_t>(theta_[i].size());
      const int at = static_cast<int>(i);
      arrays[0].push_back(
          view("theta", on_device ? on_theta_[i].data() : theta_[i].data(), {n}, at));
      arrays[1].push_back(view("grad", grad_[i].data(), {n}, at));
      arrays[2].push_back(view("rates", rates_[i].data(), {n}, at));
      arrays[3].push_back(
          view("state", on_device ? on_state_[i].data() : state_[i].data(), {n}, at));
    }
    call(StepArguments{
        "test", rule, arrays[0], arrays[1], arrays[2], arrays[3], {0, 0.25, 0.5, 0.75}});
  }

  void check() {
    for (const StepRule rule : kRules) {
      if (!reads<T, F>(rule)) continue;
      run(rule, false, step);
      cuda_on_cpu::reset_counts();
      run(rule, true, on_device);
      expect_equal(cuda_on_cpu::counts().launches, std::int64_t{1});
      expect(cuda_on_cpu::counts().copies <= 1, "one copy of the table at most");
      for (std::size_t i = 0; i < theta_.size(); ++i) {
        expect_same(on_theta_[i].values(), theta_[i], "theta of list");
        expect_same(on_state_[i].values(), state_[i], "state of list");
      }
    }
  }

 private:
  std::vector<std::vector<T>> theta_, state_;
  std::vector<DeviceArray<T>> on_theta_, on_state_;
  std::vector<DeviceArray<F>> rates_;
  std::vector<DeviceArray<G>> grad_;
};

void test_lists() {
  for (unsigned order = 0; order < 3; ++order) {
    cuda_on_cpu::set_order(order);
    List<float, float>(60).check();
    List<double, double>(60).check();
    List<float, BFloat16>(60).check();
    List<float, Float16>(60).check();
    List<float, float, BFloat16>(60).check();
    List<float, BFloat16, BFloat16>(60).check();
    List<float, Float16, BFloat16>(60).check();
  }
  List<float, float>(kSmall ? 200 : 1000).check();
  List<float, float>(0).run(StepRule::kOgd, true, [](const StepArguments& arguments) {
    cuda_on_cpu::reset_counts();
    cuda::step(arguments, kStream);
    expect_equal(cuda_on_cpu::counts().launches, std::int64_t{0});
  });
}

// A training loop: the table is copied when it is new, and found again otherwise.
void test_table_is_kept() {
  List<float, float> first(20, 1), second(20, 2);
  cuda_on_cpu::reset_counts();
  for (int turn = 0; turn < 5; ++turn) {
    first.run(StepRule::kOgd, true, on_device);
    second.run(StepRule::kAdaGrad, true, on_device);
  }
  expect_equal(cuda_on_cpu::counts().launches, std::int64_t{10});
  expect_equal(cuda_on_cpu::counts().copies, std::int64_t{2});
  expect_equal(cuda_on_cpu::counts().synchronizations, std::int64_t{0});
  // A graph's table is its own: copied while it is captured, and never found by anybody else.
  cuda_on_cpu::begin_capture(nullptr);
  cuda_on_cpu::reset_counts();
  first.run(StepRule::kOgd, true, on_device);
  first.run(StepRule::kOgd, true, on_device);
  expect_equal(cuda_on_cpu::counts().copies, std::int64_t{2});
  const auto graph = cuda_on_cpu::end_capture(nullptr);
  cuda_on_cpu::reset_counts();
  first.run(StepRule::kOgd, true, on_device);
  expect_equal(cuda_on_cpu::counts().copies, std::int64_t{0});
  // Many tables: those not used for long give way, nothing is allocated for ever.
  for (std::uint64_t seed = 10; seed < 60; ++seed)
    List<float, float>(20, seed).run(StepRule::kOgd, true, on_device);
  cuda_on_cpu::reset_counts();
  for (std::uint64_t seed = 100; seed < 150; ++seed)
    List<float, float>(20, seed).run(StepRule::kOgd, true, on_device);
  expect_equal(cuda_on_cpu::counts().copies, std::int64_t{50});
  expect_equal(cuda_on_cpu::counts().allocations, std::int64_t{0});
}

// A table whose copy the device has not been seen to finish: the next use waits for it, once known
// to be there nobody waits.
void test_table_is_waited_for() {
  List<float, float> list(20, 1000);
  list.run(StepRule::kOgd, true, on_device);
  cuda_on_cpu::reset_counts();
  cuda_on_cpu::fail_next("cudaEventQuery", cudaErrorNotReady);
  list.run(StepRule::kOgd, true, on_device);
  expect_equal(cuda_on_cpu::counts().waits, std::int64_t{1});
  expect_equal(cuda_on_cpu::counts().copies, std::int64_t{0});
  expect_equal(int{cudaGetLastError()}, int{cudaSuccess});
  cuda_on_cpu::fail_next("cudaEventQuery", cudaErrorNotReady);
  list.run(StepRule::kOgd, true, on_device);
  list.run(StepRule::kOgd, true, on_device);
  expect_equal(cuda_on_cpu::counts().waits, std::int64_t{2});
  cuda_on_cpu::fail_next("", cudaSuccess);
}

void test_mixed_types() {
  Numbers numbers(5);
  std::vector<float> a = numbers.vector<float>(100);
  std::vector<double> b = numbers.vector<double>(50);
  const std::vector<float> grad_a = numbers.vector<float>(100);
  const std::vector<double> grad_b = numbers.vector<double>(50);
  DeviceArray<float> on_a(a);
  DeviceArray<double> on_b(b);
  const Array grad[2] = {view("grad", grad_a.data(), {100}, 0),
                         view("grad", grad_b.data(), {50}, 1)};
  const Array theta[2] = {view("theta", a.data(), {100}, 0), view("theta", b.data(), {50}, 1)};
  const Array on[2] = {view("theta", on_a.data(), {100}, 0), view("theta", on_b.data(), {50}, 1)};
  step({"test", StepRule::kOgd, theta, grad, {}, {}, {0.1}});
  cuda_on_cpu::reset_counts();
  on_device({"test", StepRule::kOgd, on, grad, {}, {}, {0.1}});
  expect_equal(cuda_on_cpu::counts().launches, std::int64_t{2});
  expect_same(on_a.values(), a, "float32 of a mixed list");
  expect_same(on_b.values(), b, "float64 of a mixed list");
}

// Rates of both types in one list: a launch for each.
void test_rates_of_both_types() {
  Numbers numbers(6);
  std::vector<float> a = numbers.vector<float>(100), b = numbers.vector<float>(50);
  DeviceArray<float> on_a(a), on_b(b);
  const std::vector<float> grad_a = numbers.vector<float>(100), grad_b = numbers.vector<float>(50);
  const std::vector<BFloat16> rates_a = numbers.halves<BFloat16>(100);
  const std::vector<float> rates_b = numbers.vector<float>(50);
  const Array grad[2] = {view("grad", grad_a.data(), {100}, 0),
                         view("grad", grad_b.data(), {50}, 1)};
  const Array rates[2] = {view("rates", rates_a.data(), {100}, 0),
                          view("rates", rates_b.data(), {50}, 1)};
  const Array theta[2] = {view("theta", a.data(), {100}, 0), view("theta", b.data(), {50}, 1)};
  const Array on[2] = {view("theta", on_a.data(), {100}, 0), view("theta", on_b.data(), {50}, 1)};
  step({"test", StepRule::kOgd, theta, grad, rates, {}, {}});
  cuda_on_cpu::reset_counts();
  on_device({"test", StepRule::kOgd, on, grad, rates, {}, {}});
  expect_equal(cuda_on_cpu::counts().launches, std::int64_t{2});
  expect_same(on_a.values(), a, "bfloat16 rates of a list");
  expect_same(on_b.values(), b, "float32 rates of the same list");
}

// A list is stepped as if nothing had been when the copy of its table has failed.
void test_failed_copy() {
  cuda_on_cpu::fail_next("cudaMemcpyAsync", cudaErrorIllegalAddress);
  List<float, float> list(5, 77);
  expect_throw<CudaError>("cudaMemcpyAsync failed",
                          [&] { list.run(StepRule::kOgd, true, on_device); });
  list.check();
}

}  // namespace

int main() {
  return report("lists", [] {
    test_lists();
    test_table_is_kept();
    test_table_is_waited_for();
    test_mixed_types();
    test_rates_of_both_types();
    test_failed_copy();
  });
}
