// The step kernels on the emulated device against those of the CPU: equal bits for every rule,
// type, size, alignment and form of an array.
#include "arrays.h"
#include "cpp/ops_step.h"
#include "cuda_runtime.h"
#include "small.h"
#include "steps.h"

namespace {

using namespace aruba_fast;
using namespace aruba_fast::test;

// How far each array lies beyond a 16-byte boundary, in elements.
struct Offsets {
  std::size_t theta, grad, rates, state;
};

// One array, [n_rows, d]: rates for every coordinate, for every column, or one for all.
template <class T, class G, class F = T>
class Case {
 public:
  Case(std::int64_t n_rows, std::int64_t d, bool shared, const Offsets& at, std::uint64_t seed)
      : n_rows_(n_rows), d_(d), shared_(shared), at_(at) {
    Numbers numbers(seed);
    const std::int64_t n = n_rows * d;
    theta_ = numbers.wild_vector<T>(n);
    grad_ = numbers.gradients<G>(n);
    rates_ = numbers.gradients<F>(shared ? d : n, 1.5);
    state_ = numbers.wild_vector<T>(n, 1.5);
  }

  void check(StepRule rule, bool with_rates, bool with_state) {
    std::vector<T> theta = theta_, state = state_;
    run(rule, with_rates, with_state, theta.data(), grad_.data(), rates_.data(), state.data(),
        step);
    DeviceArray<T> on_theta(theta_, at_.theta), on_state(state_, at_.state);
    DeviceArray<G> on_grad(grad_, at_.grad);
    DeviceArray<F> on_rates(rates_, at_.rates);
    run(rule, with_rates, with_state, on_theta.data(), on_grad.data(), on_rates.data(),
        on_state.data(), on_device);
    const std::string what = "rule " + std::to_string(static_cast<int>(rule)) + " " +
                             name_of(kType<G>) + " " + name_of(kType<F>) + " " +
                             std::to_string(n_rows_) + "x" + std::to_string(d_) + " rates " +
                             std::to_string(with_rates) + " state " + std::to_string(with_state) +
                             " offsets " + std::to_string(at_.theta) + std::to_string(at_.grad);
    expect_same(on_theta.values(), theta, "theta, " + what);
    expect_same(on_state.values(), state, "state, " + what);
  }

 private:
  template <class Step>
  void run(StepRule rule, bool with_rates, bool with_state, T* theta, const G* grad, const F* rates,
           T* state, Step call) const {
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
  std::vector<T> theta_, state_;
  std::vector<G> grad_;
  std::vector<F> rates_;
};

template <class T, class G, class F = T>
void test_flat() {
  std::uint64_t seed = 0;
  for (const std::int64_t n : sizes()) {
    for (std::size_t offset = 0; offset < 4; ++offset) {
      const Offsets all[] = {{offset, offset, offset, offset},
                             {offset, (offset + 1) % 4, 0, (3 - offset) % 4}};
      for (const Offsets& at : all) {
        Case<T, G, F> data(1, n, false, at, ++seed);
        cuda_on_cpu::set_order(static_cast<unsigned>(seed % 4));
        for (const StepRule rule : kRules) {
          if (!reads<T, F>(rule)) continue;
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

template <class T, class G, class F = T>
void test_shared_rates() {
  std::uint64_t seed = 100;
  for (const std::int64_t d : {1, 2, 3, 4, 5, 8, 33, 128, 601})
    for (std::size_t offset = 0; offset < 4; ++offset)
      for (const StepRule rule : kRules)
        if (reads<T, F>(rule))
          Case<T, G, F>(7, d, true, {offset, 0, (offset * 3) % 4, offset}, ++seed)
              .check(rule, true, true);
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

void test_errors() {
  std::vector<float> a(8);
  const Array theta = view("theta", a.data(), {8}), grad = view("grad", a.data() + 4, {4}),
              overlap = view("grad", a.data(), {8});
  const auto call = [&](const Array& gradient) {
    on_device({"step", StepRule::kOgd, {&theta, 1}, {&gradient, 1}, {}, {}, {0.1}});
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
  expect_throw<ValueError>(
      "must not overlap", [&] { on_device({"step", StepRule::kOgd, many, grads, {}, {}, {0.1}}); });
  cuda_on_cpu::set_devices(0, cudaErrorInsufficientDriver);
  expect_throw<CudaError>("driver version is insufficient", [&] { call(good); });
  cuda_on_cpu::set_devices(1);
}

}  // namespace

int main() {
  return report("step", [] {
    test_flat<float, float>();
    test_flat<double, double>();
    test_flat<float, BFloat16>();
    test_flat<float, Float16>();
    test_flat<float, float, BFloat16>();
    test_flat<float, BFloat16, BFloat16>();
    test_flat<float, Float16, BFloat16>();
    test_shared_rates<float, float>();
    test_shared_rates<double, double>();
    test_shared_rates<float, BFloat16>();
    test_shared_rates<float, float, BFloat16>();
    test_shared_rates<float, Float16, BFloat16>();
    test_stream();
    test_errors();
  });
}
