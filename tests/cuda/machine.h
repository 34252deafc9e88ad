// The machine that runs a grid: threads as fibers, barriers, warp collectives, and their checks.
#pragma once

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "cuda_on_cpu.h"
#include "fiber.h"

namespace cuda_on_cpu {

enum class State { kReady, kAtBarrier, kInCollective, kDone };

struct Thread {
  explicit Thread(std::size_t number) : fiber(number) {}

  Fiber fiber;
  uint3 index;
  int lane, warp;
  State state;
  std::source_location at;
  // What it brings to a collective, and takes away.
  Collective kind;
  unsigned mask;
  int source;
  std::uint64_t value, result;
};

struct Warp {
  unsigned live, arrived;
  char memory_order;
};

class Machine {
 public:
  void run(dim3 grid, dim3 block, std::size_t shared_bytes, const std::function<void()>& body);
  void barrier(std::source_location at);
  std::uint64_t collective(Collective kind, unsigned mask, std::uint64_t value, int source,
                           std::source_location at);
  int lane() const { return current_->lane; }
  unsigned char* shared() { return shared_; }
  bool running() const { return current_ != nullptr; }

 private:
  static void entry();
  void run_block();
  void start_threads();
  void go_on();
  void switch_to(Thread& thread);
  void open_barrier();
  void complete(Thread& last);
  void wait();
  void unwind();
  template <class Index>
  void arrange(std::vector<Index>& numbers);
  Thread& at(int i) { return *pool_[static_cast<std::size_t>(first_ + i)]; }
  std::string place(const Thread& thread) const;

  std::vector<std::unique_ptr<Thread>> pool_;
  std::vector<Warp> warps_;
  std::vector<int> queue_, batch_;
  const std::function<void()>* body_ = nullptr;
  Thread* current_ = nullptr;
  unsigned char* shared_ = nullptr;
  int first_ = 0;  // the block's first one in the pool
  int n_threads_ = 0, n_alive_ = 0, n_waiting_ = 0;
  bool aborting_ = false;
  std::string fault_;
  std::source_location barrier_at_;
  std::mt19937 random_;
  // Addresses that stand for an order of memory: barriers take turns, so that a thread that is
  // already at the next one is not seen by those that still leave this one.
  char launch_begins_ = 0, launch_ends_ = 0, barrier_order_[2] = {};
  int turn_ = 0;
};

}  // namespace cuda_on_cpu
