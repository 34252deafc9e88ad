// The public steps on arrays, and what a program can ask of the library.
#include "api_step.h"

#include "aruba_fast/step.h"
#include "aruba_fast/system.h"
#include "kernels.h"

namespace aruba_fast {
namespace {

void on_host(const StepArguments& arguments) { step(arguments); }

}  // namespace

#define ARUBA_FOR(T)                                                                       \
  void step(std::span<T> theta, std::span<const T> grad, std::span<const T> learning_rate, \
            std::span<T> grad_sq) {                                                        \
    const Array rates = array_of("learning_rate", learning_rate);                          \
    step_by(theta, grad, &rates, 0, grad_sq, on_host);                                     \
  }                                                                                        \
  void step(std::span<T> theta, std::span<const T> grad, double learning_rate,             \
            std::span<T> grad_sq) {                                                        \
    step_by(theta, grad, nullptr, learning_rate, grad_sq, on_host);                        \
  }
ARUBA_FOR(float)
ARUBA_FOR(double)
#undef ARUBA_FOR

const char* version() { return ARUBA_VERSION; }
const char* instruction_set() { return kernels().name; }

}  // namespace aruba_fast
