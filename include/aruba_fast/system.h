// What was built, what runs, and on how many threads.
#pragma once

#include "export.h"

namespace aruba_fast {

constexpr int kMostThreads = 4096;

/// The version of the library that is linked, such as "0.1.0".
///
/// Example:
///   check(std::string(aruba_fast::version()).find('.') != std::string::npos);
ARUBA_FAST_API const char* version();

/// The instruction set whose kernels run here: "baseline", "avx2", "avx512" or "neon". It is chosen
/// once, by what the processor offers or the environment variable ARUBA_ISA names; the results have
/// the same bits with each.
///
/// Throws ValueError where ARUBA_ISA names none of this processor.
///
/// Example:
///   std::printf("kernels for %s\n", aruba_fast::instruction_set());
ARUBA_FAST_API const char* instruction_set();

/// How many threads a call may use: what `set_n_threads` said, else the environment variable
/// ARUBA_NUM_THREADS, else as many as OpenMP allows, within the container's share of processors.
/// One in a process that was forked, where OpenMP's threads do not exist. The results have the same
/// bits for any number.
///
/// Throws ValueError where ARUBA_NUM_THREADS is no number from 1 to 4096.
///
/// Example:
///   check(aruba_fast::n_threads() >= 1);
ARUBA_FAST_API int n_threads();

/// Sets the number of threads of every later call.
///
/// Args:
///   n: From 1 to 4096; 0 goes back to the default.
///
/// Throws ValueError where `n` is out of range.
///
/// Example:
///   aruba_fast::set_n_threads(2);
///   check(aruba_fast::n_threads() <= 2);
///   aruba_fast::set_n_threads(0);
ARUBA_FAST_API void set_n_threads(int n);

}  // namespace aruba_fast
