// Threads: how many, and the two ways that work is spread over them.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>

namespace aruba_fast {

// What a parallel region may use now: set_n_threads, else ARUBA_NUM_THREADS, else OpenMP's limit,
// within the container's CPU quota; one in a forked child, where the parent's threads do not exist.
int n_threads();
void set_n_threads(int n);  // 0: back to the default
bool has_openmp();

// body(i) for i in 0..n, spread over the threads if there is `parallel` reason to. body must not
// throw.
void for_each(std::int64_t n, bool parallel, const std::function<void(std::int64_t)>& body);

// Lets the caller of a long computation ask for its end: `interrupted` is called every 50 ms or so,
// on the calling thread.
class Watch {
 public:
  explicit Watch(std::function<bool()> interrupted) : interrupted_(std::move(interrupted)) {}
  static void poll(void* watch) { static_cast<Watch*>(watch)->poll(); }
  void poll();
  void ask();
  bool stop = false;

 private:
  std::function<bool()> interrupted_;
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
  unsigned polls_ = 0;
};

// body(thread) once on each of up to n threads. The calling thread is thread 0; done with its own
// share, it goes on watching.
void on_threads(int n, const std::function<void(int)>& body, Watch& watch);

}  // namespace aruba_fast
