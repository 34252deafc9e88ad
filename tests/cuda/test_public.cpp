// The public steps on the emulated device against those of the CPU: equal bits.
#include "arrays.h"
#include "aruba_fast/cuda.h"
#include "aruba_fast/step.h"
#include "cuda_runtime.h"
#include "steps.h"

namespace {

using namespace aruba_fast;
using namespace aruba_fast::test;

template <class T>
void test_steps() {
  for (const std::int64_t n : {1, 7, 1000}) {
    Numbers numbers(static_cast<std::uint64_t>(n));
    const std::vector<T> grad = numbers.wild_vector<T>(n), rates = numbers.wild_vector<T>(n, 1.5);
    for (const bool with_rates : {false, true}) {
      std::vector<T> theta = numbers.wild_vector<T>(n), grad_sq = numbers.wild_vector<T>(n, 1.5);
      const DeviceArray<T> on_theta(theta), on_grad_sq(grad_sq), on_grad(grad), on_rates(rates);
      const auto size = static_cast<std::size_t>(n);
      const std::span<T> at(on_theta.data(), size), sums(on_grad_sq.data(), size);
      const std::span<const T> slope(on_grad.data(), size), each(on_rates.data(), size);
      if (with_rates) {
        step(theta, grad, rates, grad_sq);
        cuda::step(at, slope, each, sums);
      } else {
        step(theta, grad, 0.3, grad_sq);
        cuda::step(at, slope, 0.3, sums, kStream);
      }
      cuda::synchronize({});
      expect_same(on_theta.values(), theta, "theta");
      expect_same(on_grad_sq.values(), grad_sq, "grad_sq");
    }
  }
}

void test_errors() {
  std::vector<float> theta(8), grad(4);
  expect_throw<ValueError>("step: `grad` must have the shape of `theta`: got (4,), expected (8,)",
                           [&] { cuda::step(theta, grad, 0.5); });
  expect_throw<ValueError>("step: `learning_rate` must not be negative",
                           [&] { cuda::step(theta, theta, -1.0); });
}

}  // namespace

int main() {
  return report("public", [] {
    test_steps<float>();
    test_steps<double>();
    test_errors();
  });
}
