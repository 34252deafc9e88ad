// The public steps on arrays in device memory.
#include "cpp/api_step.h"

#include "aruba_fast/cuda.h"
#include "ops_step.h"

namespace aruba_fast::cuda {
namespace {

auto on(const Stream& stream) {
  return [&stream](const StepArguments& arguments) { step(arguments, stream); };
}

}  // namespace

#define ARUBA_FOR(T)                                                                       \
  void step(std::span<T> theta, std::span<const T> grad, std::span<const T> learning_rate, \
            std::span<T> grad_sq, const Stream& stream) {                                  \
    const Array rates = array_of("learning_rate", learning_rate);                          \
    step_by(theta, grad, &rates, 0, grad_sq, on(stream));                                  \
  }                                                                                        \
  void step(std::span<T> theta, std::span<const T> grad, double learning_rate,             \
            std::span<T> grad_sq, const Stream& stream) {                                  \
    step_by(theta, grad, nullptr, learning_rate, grad_sq, on(stream));                     \
  }
ARUBA_FOR(float)
ARUBA_FOR(double)
#undef ARUBA_FOR

}  // namespace aruba_fast::cuda
