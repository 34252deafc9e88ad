// The exceptions that the library throws, beside those of the standard library for lack of memory.
#pragma once

#include <stdexcept>

#include "export.h"

namespace aruba_fast {

/// A wrong shape or value. The message is one sentence: the function that was called, the argument,
/// its rule, and what was given instead. Nothing has been changed.
///
/// Example:
///   const std::vector<float> phi;
///   try {
///     aruba_fast::MetaLearner<float> learner(phi);
///   } catch (const aruba_fast::ValueError& error) {
///     check(std::string(error.what()) ==
///           "MetaLearner: `phi` must not be empty: got (0,), expected >= 1 value");
///   }
struct ARUBA_FAST_API ValueError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A wrong type of numbers, or kind of device. The functions of these headers are told their types
/// by the compiler, and do not throw it.
struct ARUBA_FAST_API TypeError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The CUDA driver or runtime refused, or is not there.
struct ARUBA_FAST_API CudaError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The caller asked to stop, by `interrupted`; what was finished stands.
struct ARUBA_FAST_API Interrupted : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace aruba_fast
