// Stackful coroutines on one thread, known to the sanitizers. Compiled without ThreadSanitizer's
// instrumentation, also where everything else has it: a switch of fibers is no event of the
// program.
#include "fiber.h"

#include <sys/mman.h>

#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(CUDA_ON_CPU_RACES)
#include <sanitizer/tsan_interface.h>
#endif

#if defined(__x86_64__)
// Saves the registers that a call must preserve, and the stack pointer; goes on on another stack.
// ucontext does the same with a system call for the signal mask, ten times slower.
extern "C" void cuda_on_cpu_switch(void** save, void* to);
asm(R"(
.text
.type cuda_on_cpu_switch, @function
cuda_on_cpu_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size cuda_on_cpu_switch, .-cuda_on_cpu_switch
)");
#endif

namespace cuda_on_cpu {

Fiber::Fiber(std::size_t number) : number_(number) {
  void* memory = mmap(nullptr, kStack, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  stack_ = static_cast<char*>(memory);
  mprotect(stack_, 4096, PROT_NONE);  // an overflow is a segmentation fault
#if defined(CUDA_ON_CPU_RACES)
  race_checker_ = __tsan_create_fiber(0);
#endif
}

Fiber::~Fiber() {
#if defined(CUDA_ON_CPU_RACES)
  __tsan_destroy_fiber(race_checker_);
#endif
  munmap(stack_, kStack);
}

void Fiber::prepare(void (*entry)()) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(stack_ + 4096, kStack - 4096);
#endif
#if defined(__x86_64__)
  // Stacks begin at different lines of a page, or all fibers would share a few sets of the cache.
  void** top = reinterpret_cast<void**>(stack_ + kStack - 64 - number_ % 61 * 192);
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(entry);
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  pointer_ = top;
#else
  getcontext(&context_);
  context_.uc_stack.ss_sp = stack_ + 4096;
  context_.uc_stack.ss_size = kStack - 4096;
  context_.uc_link = nullptr;
  makecontext(&context_, entry, 0);
#endif
}

void Fiber::enter() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&outer_fake_stack_, stack_, kStack);
#endif
#if defined(CUDA_ON_CPU_RACES)
  outer_race_checker_ = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(race_checker_, __tsan_switch_to_fiber_no_sync);
#endif
#if defined(__x86_64__)
  cuda_on_cpu_switch(&outer_pointer_, pointer_);
#else
  swapcontext(&outer_context_, &context_);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(outer_fake_stack_, nullptr, nullptr);
#endif
}

void Fiber::arrived() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &outer_stack_, &outer_size_);
#endif
}

void Fiber::leave([[maybe_unused]] bool last) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(last ? nullptr : &fake_stack_, outer_stack_, outer_size_);
#endif
#if defined(CUDA_ON_CPU_RACES)
  __tsan_switch_to_fiber(outer_race_checker_, __tsan_switch_to_fiber_no_sync);
#endif
#if defined(__x86_64__)
  cuda_on_cpu_switch(&pointer_, outer_pointer_);
#else
  swapcontext(&context_, &outer_context_);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake_stack_, &outer_stack_, &outer_size_);
#endif
}

void release([[maybe_unused]] void* p) {
#if defined(CUDA_ON_CPU_RACES)
  __tsan_release(p);
#endif
}

void acquire([[maybe_unused]] void* p) {
#if defined(CUDA_ON_CPU_RACES)
  __tsan_acquire(p);
#endif
}

}  // namespace cuda_on_cpu
