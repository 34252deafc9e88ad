// Memory with owners: which one it has in the order of the program, and which by the work done.
#pragma once

#include <cstdint>

namespace cuda_on_cpu {

// The owner that memory of the pool has for work that is enqueued now; 0: it is not the pool's.
std::uint64_t owner_of(const void* memory);
// What is wrong with its use by work that was enqueued for this owner, or null.
const char* misuse(const void* memory, std::uint64_t owner);

}  // namespace cuda_on_cpu
