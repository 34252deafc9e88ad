// Steps on arrays in the memory of a CUDA device: link aruba_fast::cuda, where the library was
// built with ARUBA_CUDA=ON. The examples need a device.
#pragma once

#include <span>
#include <string>

#include "export.h"

namespace aruba_fast::cuda {

/// Where a call is enqueued.
///
/// Example:
///   const aruba_fast::cuda::Stream stream{0, my_cuda_stream};
struct Stream {
  int device = 0;
  void* handle = nullptr;  // a cudaStream_t; null is the legacy default stream
};

/// How many devices can be used now: 0 without a driver or without a device.
///
/// Example:
///   if (aruba_fast::cuda::n_devices() == 0) std::puts(aruba_fast::cuda::problem().c_str());
int n_devices();

/// Why there is no device; empty where there is one.
///
/// Example:
///   std::puts(aruba_fast::cuda::problem().c_str());
std::string problem();

/// The versions of the runtime and the driver, "CUDA runtime 13.0, driver 13.0".
///
/// Example:
///   std::puts(aruba_fast::cuda::versions().c_str());
std::string versions();

/// Waits until the work on a stream is done.
///
/// Args:
///   stream: The stream.
///
/// Throws CudaError where the driver refuses, or the work has failed.
///
/// Example:
///   aruba_fast::cuda::synchronize({});
void synchronize(const Stream& stream);

/// As aruba_fast::step, of arrays in device memory: the same checks and the same bits. One launch;
/// nothing is waited for, and the call can be captured in a graph.
///
/// Args:
///   theta: Parameters, [n]; changed.
///   grad: Gradient of the loss at theta, [n].
///   learning_rate: A number >= 0, or one for each coordinate, [n], in device memory.
///   grad_sq: Sum of squared gradients so far, [n]; changed. Empty where nobody wants it.
///   stream: Where it is enqueued.
///
/// Throws ValueError as aruba_fast::step; CudaError where the driver refuses.
///
/// Example:
///   aruba_fast::cuda::step({theta, n}, {grad, n}, 0.1, {grad_sq, n}, {0, my_cuda_stream});
void step(std::span<float> theta, std::span<const float> grad, std::span<const float> learning_rate,
          std::span<float> grad_sq = {}, const Stream& stream = {});
void step(std::span<double> theta, std::span<const double> grad,
          std::span<const double> learning_rate, std::span<double> grad_sq = {},
          const Stream& stream = {});
void step(std::span<float> theta, std::span<const float> grad, double learning_rate,
          std::span<float> grad_sq = {}, const Stream& stream = {});
void step(std::span<double> theta, std::span<const double> grad, double learning_rate,
          std::span<double> grad_sq = {}, const Stream& stream = {});

}  // namespace aruba_fast::cuda
