// The step kernels on the emulated device against those of the CPU: equal bits for every rule,
// type, size, alignment and form.
#include "arrays.h"
#include "cpp/ops_step.h"
#include "cuda/ops_step.h"
#include "cuda_runtime.h"
#include "small.h"

namespace {

using namespace aruba_fast;
using namespace aruba_fast::test;

const cuda::Stream kStream{0, nullptr};
std::vector<StepRule> all_rules() {
  std::vector<StepRule> rules;
  for (int i = 0; i < kStepRules; ++i) rules.push_back(static_cast<StepRule>(i));
  return rules;
}
const std::vector<StepRule> kRules = all_rules();

// How far each array lies beyond a 16-byte boundary, in elements.
struct Offsets {
  std::size_t theta, grad, rates, state;
};

template <class T, class G>
std::vector<G> gradients(Numbers& numbers, std::int64_t n) {
  if constexpr (sizeof(G) == 2) return numbers.halves<G>(n);
  else return numbers.wild_vector<G>(n);
}

// One array, [n_rows, d]: rates for every coordinate, for every column, or one for all.
template <class T, class G>
class Case {
 public:
  Case(std::int64_t n_rows, std::int64_t d, bool shared, const Offsets& at, std::uint64_t seed)
      : n_rows_(n_rows), d_(d), shared_(shared), at_(at) {
    Numbers numbers(seed);
    const std::int64_t n = n_rows * d;
    theta_ = numbers.wild_vector<T>(n);
    grad_ = gradients<T, G>(numbers, n);
    rates_ = numbers.wild_vector<T>(shared ? d : n, 1.5);
    state_ = numbers.wild_vector<T>(n, 1.5);
  }

  void check(StepRule rule, bool with_rates, bool with_state) {
    std::vector<T> theta = theta_, state = state_;
    run(rule, with_rates, with_state, theta.data(), grad_.data(), rates_.data(), state.data(),
        [](const StepArguments& arguments) { step(arguments); });
    DeviceArray<T> on_theta(theta_, at_.theta), on_rates(rates_, at_.rates),
        on_state(state_, at_.state);
    DeviceArray<G> on_grad(grad_, at_.grad);
    run(rule, with_rates, with_state, on_theta.data(), on_grad.data(), on_rates.data(),
        on_state.data(), [](const StepArguments& arguments) { cuda::step(arguments, kStream); });
    const std::string what = "rule " + std::to_string(static_cast<int>(rule)) + " " +
                             name_of(kType<G>) + " " + std::to_string(n_rows_) + "x" +
                             std::to_string(d_) + " rates " + std::to_string(with_rates) +
                             " state " + std::to_string(with_state) + " offsets " +
                             std::to_string(at_.theta) + std::to_string(at_.grad);
    expect_same(on_theta.values(), theta, "theta, " + what);
    expect_same(on_state.values(), state, "state, " + what);
  }

 private:
  template <class Step>
  void run(StepRule rule, bool with_rates, bool with_state, T* theta, G* grad, T* rates, T* state,
           Step call) const {
    const auto whole = [&](const char* name, auto* data) {
      return n_rows_ == 1 && !shared_ ? view(name, data, {d_}) : view(name, data, {n_rows_, d_});
    };
    const Array arrays[4] = {whole("theta", theta), whole("grad", grad),
                             shared_ ? view("rates", rates, {d_}) : whole("rates", rates),
                             whole("state", state)};
    StepArguments arguments{"test", rule, {&arrays[0], 1},         {&arrays[1], 1},
                            {},     {},   {0.3, 0.125, 0.25, 0.75}};
    if (with_rates) arguments.first = {&arrays[2], 1};
    if (with_state) arguments.state = {&arrays[3], 1};
    call(arguments);
  }

  std::int64_t n_rows_, d_;
  bool shared_;
  Offsets at_;
  std::vector<T> theta_, rates_, state_;
  std::vector<G> grad_;
};

template <class T, class G>
void test_flat() {
  std::uint64_t seed = 0;
  for (const std::int64_t n : sizes()) {
    for (std::size_t offset = 0; offset < 4; ++offset) {
      const Offsets all[] = {{offset, offset, offset, offset},
                             {offset, (offset + 1) % 4, 0, (3 - offset) % 4}};
      for (const Offsets& at : all) {
        Case<T, G> data(1, n, false, at, ++seed);
        cuda_on_cpu::set_order(static_cast<unsigned>(seed % 4));
        for (const StepRule rule : kRules) {
          data.check(rule, true, true);
          if (facts_of(rule).parameters[0].takes != Takes::kArray) data.check(rule, false, true);
        }
        data.check(StepRule::kOgd, true, false);
        data.check(StepRule::kOgd, false, false);
      }
      if (n > 4097 && kSmall) break;
    }
  }
}

template <class T, class G>
void test_shared_rates() {
  std::uint64_t seed = 100;
  for (const std::int64_t d : {1, 2, 3, 4, 5, 8, 33, 128, 601})
    for (std::size_t offset = 0; offset < 4; ++offset)
      for (const StepRule rule : kRules)
        Case<T, G>(7, d, true, {offset, 0, (offset * 3) % 4, offset}, ++seed)
            .check(rule, true, true);
}

// A list of arrays of every size and alignment, empty ones among them.
template <class T, class G>
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
      const std::vector<T> rates = numbers.wild_vector<T>(n, 1.5);
      const std::vector<G> grad = gradients<T, G>(numbers, n);
      rates_.emplace_back(rates);
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
      run(rule, false, [](const StepArguments& arguments) { step(arguments); });
      cuda_on_cpu::reset_counts();
      run(rule, true, [](const StepArguments& arguments) { cuda::step(arguments, kStream); });
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
  std::vector<DeviceArray<T>> on_theta_, on_state_, rates_;
  std::vector<DeviceArray<G>> grad_;
};

void test_lists() {
  for (unsigned order = 0; order < 3; ++order) {
    cuda_on_cpu::set_order(order);
    List<float, float>(60).check();
    List<double, double>(60).check();
    List<float, BFloat16>(60).check();
    List<float, Float16>(60).check();
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
  const auto device = [](const StepArguments& arguments) { cuda::step(arguments, kStream); };
  List<float, float> first(20, 1), second(20, 2);
  cuda_on_cpu::reset_counts();
  for (int turn = 0; turn < 5; ++turn) {
    first.run(StepRule::kOgd, true, device);
    second.run(StepRule::kAdaGrad, true, device);
  }
  expect_equal(cuda_on_cpu::counts().launches, std::int64_t{10});
  expect_equal(cuda_on_cpu::counts().copies, std::int64_t{2});
  expect_equal(cuda_on_cpu::counts().synchronizations, std::int64_t{0});
  // A graph's table is its own: copied while it is captured, and never found by anybody else.
  cuda_on_cpu::begin_capture(nullptr);
  cuda_on_cpu::reset_counts();
  first.run(StepRule::kOgd, true, device);
  first.run(StepRule::kOgd, true, device);
  expect_equal(cuda_on_cpu::counts().copies, std::int64_t{2});
  const auto graph = cuda_on_cpu::end_capture(nullptr);
  cuda_on_cpu::reset_counts();
  first.run(StepRule::kOgd, true, device);
  expect_equal(cuda_on_cpu::counts().copies, std::int64_t{0});
  // Many tables: those not used for long give way, nothing is allocated for ever.
  for (std::uint64_t seed = 10; seed < 60; ++seed)
    List<float, float>(20, seed).run(StepRule::kOgd, true, device);
  cuda_on_cpu::reset_counts();
  for (std::uint64_t seed = 100; seed < 150; ++seed)
    List<float, float>(20, seed).run(StepRule::kOgd, true, device);
  expect_equal(cuda_on_cpu::counts().copies, std::int64_t{50});
  expect_equal(cuda_on_cpu::counts().allocations, std::int64_t{0});
}

// A table whose copy the device has not been seen to finish: the next use waits for it, once known
// to be there nobody waits.
void test_table_is_waited_for() {
  const auto device = [](const StepArguments& arguments) { cuda::step(arguments, kStream); };
  List<float, float> list(20, 1000);
  list.run(StepRule::kOgd, true, device);
  cuda_on_cpu::reset_counts();
  cuda_on_cpu::fail_next("cudaEventQuery", cudaErrorNotReady);
  list.run(StepRule::kOgd, true, device);
  expect_equal(cuda_on_cpu::counts().waits, std::int64_t{1});
  expect_equal(cuda_on_cpu::counts().copies, std::int64_t{0});
  expect_equal(int{cudaGetLastError()}, int{cudaSuccess});
  cuda_on_cpu::fail_next("cudaEventQuery", cudaErrorNotReady);
  list.run(StepRule::kOgd, true, device);
  list.run(StepRule::kOgd, true, device);
  expect_equal(cuda_on_cpu::counts().waits, std::int64_t{2});
  cuda_on_cpu::fail_next("", cudaSuccess);
}

// The caller's stream is used, on its device, and the device that was current is so again.
void test_stream() {
  cuda_on_cpu::set_devices(2);
  int handle = 0;
  std::vector<float> a(8), b(8);
  const Array theta = view("theta", a.data(), {8}), grad = view("grad", b.data(), {8});
  cuda::step({"step", StepRule::kOgd, {&theta, 1}, {&grad, 1}, {}, {}, {0.1}}, {1, &handle});
  expect_equal(cuda_on_cpu::last_device(), 1);
  expect(cuda_on_cpu::last_stream() == &handle, "the caller's stream");
  int current = 7;
  cudaGetDevice(&current);
  expect_equal(current, 0);
  cuda_on_cpu::reset_counts();
  cuda::wait_for({1, &handle}, nullptr);
  expect_equal(cuda_on_cpu::counts().waits, std::int64_t{1});
  cuda::wait_for({1, &handle}, &handle);
  expect_equal(cuda_on_cpu::counts().waits, std::int64_t{1});
  expect_equal(cuda_on_cpu::counts().synchronizations, std::int64_t{0});
  cuda_on_cpu::set_devices(1);
  expect_equal(cuda::n_devices(), 1);
  expect_equal(cuda::device_of("step", a.data()), 0);
  cuda_on_cpu::set_devices(0, cudaErrorInsufficientDriver);
  expect_equal(cuda::n_devices(), 0);
  expect(cuda::problem().find("install or update the driver") != std::string::npos,
         cuda::problem());
  cuda_on_cpu::set_devices(0);
  expect(cuda::problem().find("no CUDA-capable device") != std::string::npos, cuda::problem());
  cuda_on_cpu::set_devices(1);
  expect(cuda::problem().empty(), "no problem");
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
  cuda::step({"test", StepRule::kOgd, on, grad, {}, {}, {0.1}}, kStream);
  expect_equal(cuda_on_cpu::counts().launches, std::int64_t{2});
  expect_same(on_a.values(), a, "float32 of a mixed list");
  expect_same(on_b.values(), b, "float64 of a mixed list");
}

void test_errors() {
  std::vector<float> a(8);
  const Array theta = view("theta", a.data(), {8}), grad = view("grad", a.data() + 4, {4}),
              overlap = view("grad", a.data(), {8});
  const auto call = [&](const Array& gradient) {
    cuda::step({"step", StepRule::kOgd, {&theta, 1}, {&gradient, 1}, {}, {}, {0.1}}, kStream);
  };
  expect_throw<ValueError>("step: `grad` must have the shape of `theta`: got (4,), expected (8,)",
                           [&] { call(grad); });
  expect_throw<ValueError>("must not overlap", [&] { call(overlap); });
  std::vector<float> b(8);
  const Array good = view("grad", b.data(), {8});
  cuda_on_cpu::fail_next("cudaLaunchKernelEx", cudaErrorMemoryAllocation);
  expect_throw<CudaError>("cudaLaunchKernelEx failed: out of memory (2)", [&] { call(good); });
  call(good);  // the error is not reported twice
  const Array many[2] = {theta, theta};
  const Array grads[2] = {good, good};
  expect_throw<ValueError>("must not overlap", [&] {
    cuda::step({"step", StepRule::kOgd, many, grads, {}, {}, {0.1}}, kStream);
  });
  cuda_on_cpu::set_devices(0, cudaErrorInsufficientDriver);
  expect_throw<CudaError>("driver version is insufficient", [&] { call(good); });
  cuda_on_cpu::set_devices(1);
  cuda_on_cpu::fail_next("cudaMemcpyAsync", cudaErrorIllegalAddress);
  List<float, float> list(5, 77);
  const auto device = [](const StepArguments& arguments) { cuda::step(arguments, kStream); };
  expect_throw<CudaError>("cudaMemcpyAsync failed",
                          [&] { list.run(StepRule::kOgd, true, device); });
  list.check();
}

}  // namespace

int main() {
  return report("step", [] {
    test_flat<float, float>();
    test_flat<double, double>();
    test_flat<float, BFloat16>();
    test_flat<float, Float16>();
    test_shared_rates<float, float>();
    test_shared_rates<double, double>();
    test_shared_rates<float, BFloat16>();
    test_lists();
    test_table_is_kept();
    test_table_is_waited_for();
    test_stream();
    test_mixed_types();
    test_errors();
  });
}
