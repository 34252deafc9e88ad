// Stackful coroutines on one thread, known to the sanitizers.
#pragma once

#include <cstddef>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace cuda_on_cpu {

// One of many fibers that the thread's own stack, the scheduler, starts and goes back to.
class Fiber {
 public:
  explicit Fiber(std::size_t number);
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Readies the fiber to run `entry` from the beginning; entry ends with leave(true).
  void prepare(void (*entry)());
  // From the scheduler into the fiber, until it leaves.
  void enter();
  // From the fiber back to the scheduler; `last`: not to come back.
  void leave(bool last = false);
  // The first thing on the fiber's own stack.
  void arrived();

 private:
  static constexpr std::size_t kStack = std::size_t{256} << 10;  // ASan's frames are large

  char* stack_;
  std::size_t number_;
  void* fake_stack_ = nullptr;
  void* race_checker_ = nullptr;
  // The scheduler, as this fiber found it.
  void* outer_fake_stack_ = nullptr;
  void* outer_race_checker_ = nullptr;
  const void* outer_stack_ = nullptr;
  std::size_t outer_size_ = 0;
#if defined(__x86_64__)
  void* pointer_ = nullptr;
  void* outer_pointer_ = nullptr;
#else
  ucontext_t context_, outer_context_;
#endif
};

// What happened before `release(p)` is seen after `acquire(p)`; without ThreadSanitizer nothing.
void release(void* p);
void acquire(void* p);

}  // namespace cuda_on_cpu
