// The lock of a learner's memory, and what fork does with all of them.
#include "state_lock.h"

#include <mutex>
#include <unordered_set>

#if defined(_OPENMP)
#include <omp.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace aruba_fast {
namespace {

struct Locks {
  std::mutex mutex;
  std::unordered_set<StateLock*> all;

  Locks();
};

// Never destroyed: learners may outlive it when the process ends.
Locks& locks() {
  static Locks* const locks = new Locks;
  return *locks;
}

Locks::Locks() {
#if defined(_OPENMP)
  // LLVM's runtime has a handler of its own, made when it starts, which takes what an update needs
  // to start its threads. The last handler is the first to run, and ours has to be.
  omp_get_max_threads();
#endif
#if defined(__unix__) || defined(__APPLE__)
  const auto release = [] {
    for (StateLock* lock : locks().all) lock->unlock();
    locks().mutex.unlock();
  };
  pthread_atfork(
      [] {
        locks().mutex.lock();
        for (StateLock* lock : locks().all) lock->lock();
      },
      release, release);
#endif
}

}  // namespace

StateLock::StateLock() {
  const std::lock_guard guard(locks().mutex);
  locks().all.insert(this);
}

StateLock::~StateLock() {
  const std::lock_guard guard(locks().mutex);
  locks().all.erase(this);
}

// Not a std::mutex: ThreadSanitizer allows a thread 64 of those, and fork takes all.
void StateLock::lock() {
  while (held_.exchange(true, std::memory_order_acquire))
    held_.wait(true, std::memory_order_relaxed);
}

void StateLock::unlock() {
  held_.store(false, std::memory_order_release);
  held_.notify_one();
}

}  // namespace aruba_fast
