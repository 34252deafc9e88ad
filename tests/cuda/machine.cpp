// The machine that runs a grid: threads as fibers, barriers, warp collectives, and their checks.
// Compiled without ThreadSanitizer's instrumentation, as fiber.cpp.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <numeric>

#include "cuda_runtime.h"
#include "machine.h"

thread_local uint3 threadIdx, blockIdx;
thread_local dim3 blockDim, gridDim;

namespace cuda_on_cpu {
namespace {

unsigned first_order() {
  const char* text = std::getenv("CUDA_ON_CPU_ORDER");
  return text ? static_cast<unsigned>(std::atoi(text)) : 0;
}
thread_local unsigned order = first_order();

// Neighbouring blocks have fibers of their own where races are looked for: what one fiber does is
// in order, whatever block it plays.
#if defined(CUDA_ON_CPU_RACES)
constexpr int kPools = 2;
#else
constexpr int kPools = 1;
#endif

thread_local Machine machine;

}  // namespace

std::string Machine::place(const Thread& thread) const {
  const auto text = [](uint3 i) {
    return "(" + std::to_string(i.x) + "," + std::to_string(i.y) + "," + std::to_string(i.z) + ")";
  };
  const char* file = std::strrchr(thread.at.file_name(), '/');
  return "block " + text(blockIdx) + " thread " + text(thread.index) + " at " +
         (file ? file + 1 : thread.at.file_name()) + ":" + std::to_string(thread.at.line());
}

template <class Index>
void Machine::arrange(std::vector<Index>& numbers) {
  if (order == 1) std::reverse(numbers.begin(), numbers.end());
  if (order > 1) std::shuffle(numbers.begin(), numbers.end(), random_);
}

void Machine::run(dim3 grid, dim3 block, std::size_t shared_bytes,
                  const std::function<void()>& body) {
  if (running()) throw Fault("a kernel launched a kernel");
  gridDim = grid;
  blockDim = block;
  body_ = &body;
  n_threads_ = static_cast<int>(block.x * block.y * block.z);
  random_.seed(order);
  while (pool_.size() < static_cast<std::size_t>(kPools * n_threads_))
    pool_.push_back(std::make_unique<Thread>(pool_.size()));
  warps_.resize(static_cast<std::size_t>(n_threads_ + 31) / 32);
  // Room for all now: a fiber that moved these would be seen by ThreadSanitizer.
  queue_.reserve(pool_.size());
  batch_.reserve(pool_.size());
  const std::int64_t n_blocks = std::int64_t{grid.x} * grid.y * grid.z;
  std::vector<std::int64_t> blocks(static_cast<std::size_t>(n_blocks));
  std::iota(blocks.begin(), blocks.end(), 0);
  arrange(blocks);
  // Every block has shared memory of its own, or one block's use would look like a race with the
  // next one's.
  std::vector<std::unique_ptr<unsigned char[]>> shared(blocks.size());
  for (auto& memory : shared) {
    memory.reset(new unsigned char[shared_bytes]);
    std::memset(memory.get(), 0xff, shared_bytes);
  }
  release(&launch_begins_);
  for (const std::int64_t i : blocks) {
    blockIdx = {static_cast<unsigned>(i % grid.x), static_cast<unsigned>(i / grid.x % grid.y),
                static_cast<unsigned>(i / grid.x / grid.y)};
    shared_ = shared[static_cast<std::size_t>(i)].get();
    first_ = first_ == 0 ? (kPools - 1) * n_threads_ : 0;
    run_block();
    if (!fault_.empty()) break;
  }
  acquire(&launch_ends_);
  if (fault_.empty()) return;
  const std::string fault = fault_;
  fault_.clear();
  throw Fault(fault);
}

void Machine::run_block() {
  start_threads();
  while (!queue_.empty() && fault_.empty()) go_on();
  if (fault_.empty() && n_alive_ > 0) {
    for (int i = 0; i < n_threads_ && fault_.empty(); ++i) {
      const Thread& thread = at(i);
      if (thread.state != State::kDone)
        fault_ =
            std::string(thread.state == State::kAtBarrier ? "__syncthreads" : "a warp collective") +
            " that not every thread reaches: " + place(thread);
    }
  }
  if (n_alive_ > 0) unwind();
  current_ = nullptr;
}

void Machine::start_threads() {
  n_alive_ = n_threads_;
  n_waiting_ = 0;
  queue_.clear();
  for (Warp& warp : warps_) warp = {0, 0, 0};
  for (int i = 0; i < n_threads_; ++i) {
    Thread& thread = at(i);
    const unsigned n = static_cast<unsigned>(i);
    thread.index = {n % blockDim.x, n / blockDim.x % blockDim.y, n / (blockDim.x * blockDim.y)};
    thread.lane = i % 32;
    thread.warp = i / 32;
    thread.at = {};
    thread.fiber.prepare(entry);
    warps_[static_cast<std::size_t>(thread.warp)].live |= 1U << thread.lane;
    thread.state = State::kReady;
    queue_.push_back(i);
  }
}

// Everybody who is ready goes on, in the order asked for.
void Machine::go_on() {
  batch_.swap(queue_);
  queue_.clear();
  arrange(batch_);
  for (const int i : batch_) {
    switch_to(at(i));
    if (!fault_.empty()) return;
  }
}

void Machine::switch_to(Thread& thread) {
  current_ = &thread;
  threadIdx = thread.index;
  thread.fiber.enter();
}

// Threads in the middle of a kernel that failed elsewhere: their destructors run.
void Machine::unwind() {
  aborting_ = true;
  for (int i = 0; i < n_threads_; ++i) {
    Thread& thread = at(i);
    const bool started = thread.at.line() != 0;
    if (thread.state != State::kDone && started) switch_to(thread);
  }
  aborting_ = false;
}

void Machine::entry() {
  Machine& at = machine;
  Thread& thread = *at.current_;
  thread.fiber.arrived();
  acquire(&at.launch_begins_);
  try {
    (*at.body_)();
  } catch (const std::exception& error) {
    if (at.fault_.empty()) at.fault_ = error.what();
  }
  release(&at.launch_ends_);
  thread.state = State::kDone;
  at.warps_[static_cast<std::size_t>(thread.warp)].live &= ~(1U << thread.lane);
  --at.n_alive_;
  if (at.n_alive_ > 0 && at.n_waiting_ == at.n_alive_ && !at.aborting_) at.open_barrier();
  thread.fiber.leave(true);
  std::abort();
}

void Machine::wait() {
  current_->fiber.leave();
  if (aborting_) throw Fault("unwound");
}

void Machine::open_barrier() {
  n_waiting_ = 0;
  turn_ = 1 - turn_;
  for (int i = 0; i < n_threads_; ++i) {
    Thread& thread = at(i);
    if (thread.state != State::kAtBarrier) continue;
    thread.state = State::kReady;
    queue_.push_back(i);
  }
}

void Machine::barrier(std::source_location at) {
  Thread& self = *current_;
  self.at = at;
  if (n_waiting_ > 0 && barrier_at_.line() != at.line())
    throw Fault("a __syncthreads that threads reach at different lines: " + place(self) +
                ", others wait at line " + std::to_string(barrier_at_.line()));
  barrier_at_ = at;
  self.state = State::kAtBarrier;
  char* order_of_memory = &barrier_order_[turn_];
  release(order_of_memory);
  if (++n_waiting_ == n_alive_) open_barrier();
  wait();
  acquire(order_of_memory);
}

std::uint64_t Machine::collective(Collective kind, unsigned mask, std::uint64_t value, int source,
                                  std::source_location at) {
  Thread& self = *current_;
  Warp& warp = warps_[static_cast<std::size_t>(self.warp)];
  self.at = at;
  self.kind = kind;
  self.mask = mask;
  self.value = value;
  self.source = source;
  if (!(mask >> self.lane & 1U))
    throw Fault("a warp collective whose mask leaves out the caller: " + place(self));
  if (mask & ~warp.live)
    throw Fault("a warp collective whose mask names lanes that are gone: " + place(self));
  self.state = State::kInCollective;
  warp.arrived |= 1U << self.lane;
  if (kind == Collective::kSyncWarp) release(&warp.memory_order);
  if ((warp.arrived & mask) == mask) complete(self);
  wait();
  if (kind == Collective::kSyncWarp) acquire(&warp.memory_order);
  return self.result;
}

// All lanes of the mask are there.
void Machine::complete(Thread& last) {
  Warp& warp = warps_[static_cast<std::size_t>(last.warp)];
  const auto in_lane = [&](int lane) -> Thread& { return at(32 * last.warp + lane); };
  std::uint64_t ballot = 0;
  for (int lane = 0; lane < 32; ++lane) {
    if (!(last.mask >> lane & 1U)) continue;
    const Thread& thread = in_lane(lane);
    if (thread.mask != last.mask || thread.kind != last.kind || thread.at.line() != last.at.line())
      throw Fault("a warp collective that lanes reach at different places: " + place(last) +
                  " and " + place(thread));
    if (last.kind == Collective::kShuffle && !(last.mask >> thread.source & 1U))
      throw Fault("a shuffle from a lane that its mask leaves out: " + place(thread));
    if (thread.value != 0) ballot |= std::uint64_t{1} << lane;
  }
  for (int lane = 0; lane < 32; ++lane) {
    if (!(last.mask >> lane & 1U)) continue;
    Thread& thread = in_lane(lane);
    thread.result = last.kind == Collective::kShuffle ? in_lane(thread.source).value : ballot;
    thread.state = State::kReady;
    queue_.push_back(32 * last.warp + lane);
  }
  warp.arrived &= ~last.mask;
}

void set_order(unsigned number) { order = number; }

void run(dim3 grid, dim3 block, std::size_t shared_bytes, const std::function<void()>& body) {
  machine.run(grid, block, shared_bytes, body);
}
unsigned char* shared_memory() { return machine.shared(); }
void barrier(std::source_location at) { machine.barrier(at); }
std::uint64_t collective(Collective kind, unsigned mask, std::uint64_t value, int source,
                         std::source_location at) {
  return machine.collective(kind, mask, value, source, at);
}
int lane() { return machine.lane(); }

}  // namespace cuda_on_cpu
