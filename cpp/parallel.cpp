// Threads by OpenMP, or one thread where the compiler has none.
#include "parallel.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <string>

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

int environment_threads() {
  const char* text = std::getenv("ARUBA_NUM_THREADS");
  return text ? std::max(0, std::atoi(text)) : 0;
}

void watch_for_forks() {
#if defined(__unix__) || defined(__APPLE__)
  pthread_atfork(nullptr, nullptr, [] { forked = true; });
#endif
}

}  // namespace

bool has_openmp() {
#if defined(_OPENMP)
  return true;
#else
  return false;
#endif
}

int n_threads() {
  static const int limit = (watch_for_forks(), container_cpus());
  static const int from_environment = environment_threads();
  if (forked || !has_openmp()) return 1;
  if (const int n = requested) return n;
  if (from_environment) return from_environment;
#if defined(_OPENMP)
  return std::min(limit, omp_get_max_threads());
#else
  return 1;
#endif
}

void set_n_threads(int n) { requested = n; }

void for_each(std::int64_t n, bool parallel, const std::function<void(std::int64_t)>& body) {
  const int threads = static_cast<int>(std::min<std::int64_t>(n, parallel ? n_threads() : 1));
  if (threads <= 1) {
    for (std::int64_t i = 0; i < n; ++i) body(i);
    return;
  }
#if defined(_OPENMP)
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
  for (std::int64_t i = 0; i < n; ++i) body(i);
#endif
}

void Watch::ask() {
  last_ = std::chrono::steady_clock::now();
  if (interrupted_ && interrupted_()) __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
}

void Watch::poll() {
  // Reading the clock costs as much as a short task: only every 16th time. Polls come at most a
  // millisecond apart.
  if (++polls_ % 16 == 0 &&
      std::chrono::steady_clock::now() - last_ > std::chrono::milliseconds(50))
    ask();
}

void on_threads(int n, const std::function<void(int)>& body, Watch& watch) {
  if (n <= 1) return body(0);
#if defined(_OPENMP)
  std::mutex mutex;
  std::condition_variable one_finished;
  int n_finished = 0;
#pragma omp parallel num_threads(n)
  {
    const int thread = omp_get_thread_num();
    body(thread);
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
#endif
}

}  // namespace aruba_fast
