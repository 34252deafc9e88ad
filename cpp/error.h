// The exceptions that cross the boundary to the caller, and nothing else does.
#pragma once

#include <stdexcept>

namespace aruba_fast {

// A wrong shape or value.
struct ValueError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A wrong type, kind of device, or an array that cannot be used in place.
struct TypeError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The CUDA driver or runtime refused, or is not there.
struct CudaError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The caller asked to stop; what was finished stands.
struct Interrupted : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace aruba_fast
