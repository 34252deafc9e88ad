// The lock of a learner's memory: held while its arrays change, or are copied.
#pragma once

#include <atomic>

namespace aruba_fast {

// Held for as long as one update takes, by code that waits for nothing but its own threads: neither
// for Python nor for another of these. Hence fork waits until none is held: the child's learners
// are whole, and their locks free. Where a child is made without fork's handlers nothing of this
// holds.
class StateLock {
 public:
  StateLock();
  ~StateLock();
  StateLock(const StateLock&) = delete;
  StateLock& operator=(const StateLock&) = delete;
  void lock();
  void unlock();

 private:
  std::atomic<bool> held_{false};
};

}  // namespace aruba_fast
