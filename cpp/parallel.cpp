// Threads by OpenMP, or one thread where the compiler has none.
#include "parallel.h"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <mutex>
#include <string>
#include <string_view>

#include "aruba_fast/error.h"

#if defined(_OPENMP)
#include <omp.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace aruba_fast {
namespace {

std::atomic<int> requested{0};
std::atomic<bool> forked{false};

// CPUs that the container may use (control groups v2, then v1), rounded up; a large number without
// a limit.
int container_cpus() {
  double quota = -1, period = 100000;
  if (std::ifstream v2("/sys/fs/cgroup/cpu.max"); v2) {
    std::string limit;
    v2 >> limit >> period;
    if (limit != "max") quota = std::atof(limit.c_str());
  } else if (std::ifstream v1("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"); v1) {
    v1 >> quota;
    std::ifstream("/sys/fs/cgroup/cpu/cpu.cfs_period_us") >> period;
  }
  return quota > 0 && period > 0 ? std::max(1, static_cast<int>(quota / period + 0.999)) : 1 << 20;
}

// Forked and never executed anew: an OpenMP runtime that was in use before has lost its threads,
// and a region of more than one would wait for them. Source: PF_FORKNOEXEC of Linux, proc(5).
bool is_forked_without_exec() {
  constexpr unsigned kForkNoExec = 0x40;
  std::ifstream file("/proc/self/stat");
  std::string text;
  std::getline(file, text);
  // The seventh field after the name, which is in parentheses and may hold anything.
  std::string_view rest = text;
  rest.remove_prefix(std::min(rest.rfind(')') + 1, rest.size()));
  for (int field = 0; field < 6; ++field)
    rest.remove_prefix(std::min(rest.find(' ', 1), rest.size()));
  if (rest.empty()) return false;
  unsigned flags = 0;
  std::from_chars(rest.data() + 1, rest.data() + rest.size(), flags);
  return (flags & kForkNoExec) != 0;
}

// What ARUBA_NUM_THREADS says; 0 where it says nothing.
int environment_threads() {
  static const int asked = [] {
    const char* variable = std::getenv("ARUBA_NUM_THREADS");
    std::string_view text = variable ? variable : "";
    while (text.starts_with(' ')) text.remove_prefix(1);
    while (text.ends_with(' ')) text.remove_suffix(1);
    if (text.empty()) return 0;
    int n = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
    if (error != std::errc() || end != text.data() + text.size() || n < 1 || n > kMostThreads)
      throw ValueError("ARUBA_NUM_THREADS must be a whole number from 1 to " +
                       std::to_string(kMostThreads) + ", or not be set: got '" + variable + "'");
    return n;
  }();
  return asked;
}

void watch_for_forks() {
#if defined(__unix__) || defined(__APPLE__)
  static const int watched = pthread_atfork(nullptr, nullptr, [] { forked = true; });
  static_cast<void>(watched);
#endif
}

// Runs body on each thread of a region; what one of them throws is thrown where the region ends,
// for an exception that leaves a region ends the process.
class Caught {
 public:
  template <class Body>
  void run(Body body) {
    try {
      body();
    } catch (...) {
      if (!taken_.exchange(true)) first_ = std::current_exception();
    }
  }
  void rethrow() const {
    if (first_) std::rethrow_exception(first_);
  }

 private:
  std::atomic<bool> taken_{false};
  std::exception_ptr first_;
};

}  // namespace

bool has_openmp() {
#if defined(_OPENMP)
  return true;
#else
  return false;
#endif
}

void join_process() {
  watch_for_forks();
  environment_threads();
}

int n_threads() {
  if (forked || !has_openmp()) return 1;
  if (const int n = requested) return n;
  watch_for_forks();
  if (const int n = environment_threads()) return n;
#if defined(_OPENMP)
  static const int limit = is_forked_without_exec() ? 1 : container_cpus();
  return std::min(limit, omp_get_max_threads());
#else
  return 1;
#endif
}

void set_n_threads(int n) {
  if (n < 0 || n > kMostThreads)
    throw ValueError("set_n_threads: `n` must be a number of threads: got " + std::to_string(n) +
                     ", expected 1 to " + std::to_string(kMostThreads) + ", or 0 for the default");
  watch_for_forks();
  requested = n;
}

void for_each(std::int64_t n, bool parallel, const std::function<void(std::int64_t)>& body) {
  const int threads = static_cast<int>(std::min<std::int64_t>(n, parallel ? n_threads() : 1));
  if (threads <= 1) {
    for (std::int64_t i = 0; i < n; ++i) body(i);
    return;
  }
#if defined(_OPENMP)
  Caught caught;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
  for (std::int64_t i = 0; i < n; ++i) caught.run([&] { body(i); });
  caught.rethrow();
#endif
}

void Watch::ask() {
  last_ = std::chrono::steady_clock::now();
  if (interrupted_ && interrupted_()) __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
}

void Watch::poll(std::int64_t work) {
  work_ += work;
  if (work_ < kLook) return;
  work_ = 0;
  if (std::chrono::steady_clock::now() - last_ > std::chrono::milliseconds(50)) ask();
}

void on_threads(int n, const std::function<void(int)>& body, Watch& watch) {
  if (n <= 1) return body(0);
#if defined(_OPENMP)
  std::mutex mutex;
  std::condition_variable one_finished;
  int n_finished = 0;
  Caught caught;
#pragma omp parallel num_threads(n)
  {
    const int thread = omp_get_thread_num();
    caught.run([&] { body(thread); });
    std::unique_lock<std::mutex> lock(mutex);
    ++n_finished;
    if (thread != 0) {
      one_finished.notify_one();
    } else {
      while (n_finished < omp_get_num_threads()) {
        if (one_finished.wait_for(lock, std::chrono::milliseconds(50)) == std::cv_status::timeout) {
          lock.unlock();
          watch.ask();
          lock.lock();
        }
      }
    }
  }
  caught.rethrow();
#endif
}

}  // namespace aruba_fast
