// Threads: how many, and the two ways that work is spread over them.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>

#include "aruba_fast/system.h"

namespace aruba_fast {

// To be called when the library joins a process, or by the first to ask for n_threads: the threads
// of before a fork are gone after it, whoever started them. Throws ValueError where
// ARUBA_NUM_THREADS is no number of threads.
void join_process();
bool has_openmp();

// body(i) for i in 0..n, spread over the threads if there is `parallel` reason to. One of the
// exceptions of a parallel body is thrown when all bodies have ended.
void for_each(std::int64_t n, bool parallel, const std::function<void(std::int64_t)>& body);

// Lets the caller of a long computation ask for its end: `interrupted` is called every 50 ms or so,
// on the calling thread. One without it never ends anything.
class Watch {
 public:
  explicit Watch(std::function<bool()> interrupted = {}) : interrupted_(std::move(interrupted)) {}
  // Some 20 microseconds of work, in coordinates that are moved: a reading of the clock, which
  // costs as much as a short task, is lost in it.
  static constexpr std::int64_t kLook = std::int64_t{1} << 15;
  // `work`: what was done since the last call.
  void poll(std::int64_t work);
  static void poll(void* watch, std::int64_t work) { static_cast<Watch*>(watch)->poll(work); }
  static void poll(void* watch) { poll(watch, kLook); }
  void ask();
  bool stop = false;

 private:
  std::function<bool()> interrupted_;
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
  std::int64_t work_ = 0;
};

// body(thread) once on each of up to n threads. The calling thread is thread 0; done with its own
// share, it goes on watching. One of the exceptions of the bodies is thrown when all have ended.
void on_threads(int n, const std::function<void(int)>& body, Watch& watch);

// What a thread is called with: memory of its own from `memory` on, and, on the calling thread, the
// watch.
template <class Call>
Call own_call(Call call, void* memory, int thread, Watch& watch) {
  const auto aligned = (reinterpret_cast<std::uintptr_t>(memory) + 63) / 64 * 64;
  call.scratch = reinterpret_cast<decltype(call.scratch)>(aligned);
  if (thread == 0) {
    call.poll = Watch::poll;
    call.poll_context = &watch;
  }
  return call;
}

}  // namespace aruba_fast
