// Streams whose work is done later than it is enqueued, and graphs that are captured from them.
#include "streams.h"

#include <deque>
#include <iterator>
#include <map>
#include <mutex>
#include <random>
#include <utility>
#include <vector>

#include "cuda_on_cpu.h"
#include "pool.h"

namespace cuda_on_cpu {
namespace {

struct Use {
  const void* memory;
  std::uint64_t owner;
};

struct Operation {
  std::function<void()> work;  // none: waits for `event`, or has it happen
  std::vector<Use> uses;
  std::shared_ptr<Event> event;
  std::uint64_t version = 0;
  bool waits = false;

  bool is_blocked() const { return waits && event->done < version; }
};

struct Queue {
  std::deque<Operation> operations;
  std::shared_ptr<Graph> graph;
  bool is_origin = false, is_joined = false;
};

unsigned schedule = kAtOnce;
std::mt19937 generator;
std::string fault;
thread_local bool is_destroying = false, is_running = false;

// Several threads may use the machine where work is done at once: of what they have in common, the
// list of queues and the fault, which are theirs for no longer than they look.
std::mutex mutex;
std::map<Handle, Queue>& queues() {
  static auto& all = *new std::map<Handle, Queue>;
  return all;
}
Queue& queue_of(Handle stream) {
  const std::lock_guard<std::mutex> lock(mutex);
  return queues()[stream];
}

void run(const Operation& operation) {
  for (const Use& use : operation.uses)
    if (const char* wrong = misuse(use.memory, use.owner))
      return add_fault(std::string("work on memory ") + wrong);
  if (!operation.work) {
    if (!operation.waits) operation.event->done = operation.version;
    return;
  }
  const bool before = std::exchange(is_running, true);
  try {
    operation.work();
  } catch (const Fault& found) {
    is_running = before;
    if (schedule == kAtOnce) throw;
    add_fault(found.what());
  }
  is_running = before;
}

void run_first(Queue& queue) {
  const Operation operation = std::move(queue.operations.front());
  queue.operations.pop_front();
  run(operation);
}

// Runs the first operation of a queue, after what that waits for.
void advance(Queue& queue) {
  const Operation& first = queue.operations.front();
  while (first.is_blocked()) {
    Queue* recording = nullptr;
    for (auto& [stream, other] : queues())
      for (const Operation& operation : other.operations)
        if (!operation.waits && operation.event == first.event &&
            operation.version == first.version)
          recording = &other;
    if (!recording) {
      add_fault("a wait for an event that never happens");
      break;
    }
    advance(*recording);
  }
  run_first(queue);
}

bool can_run(const Queue& queue) {
  return !queue.operations.empty() && !queue.operations.front().is_blocked();
}

// Another queue that can do something, or null.
Queue* another(const Queue& than) {
  for (auto& [stream, queue] : queues())
    if (&queue != &than && can_run(queue)) return &queue;
  return nullptr;
}

bool run_any() {
  std::vector<Queue*> able;
  for (auto& [stream, queue] : queues())
    if (can_run(queue)) able.push_back(&queue);
  if (able.empty()) return false;
  run_first(*able[generator() % able.size()]);
  return true;
}

void put(Queue& queue, Operation operation) {
  if (schedule == kAtOnce && queue.operations.empty() && !operation.is_blocked())
    return run(operation);
  queue.operations.push_back(std::move(operation));
  // Python's collector may give memory back in the middle of some work.
  if (schedule >= kRandom && !is_running)
    while (generator() % 2) run_any();
}

}  // namespace

struct Graph {
  std::uint64_t number;
  std::vector<Operation> operations;  // in the order of the program, one of those allowed
  std::vector<std::function<void()>> destroy;

  ~Graph() {
    is_destroying = true;
    for (const auto& each : destroy) each();
    is_destroying = false;
  }
};

void set_schedule(unsigned number) {
  finish();
  schedule = number;
  generator.seed(number);
}

void finish() {
  for (auto& [stream, queue] : queues()) synchronize(stream);
}

std::string take_fault() {
  const std::lock_guard<std::mutex> lock(mutex);
  return std::exchange(fault, "");
}
void add_fault(const std::string& what) {
  const std::lock_guard<std::mutex> lock(mutex);
  if (fault.empty()) fault = what;
}

void enqueue(Handle stream, std::function<void()> work, std::span<const void* const> memory) {
  Operation operation{std::move(work), {}, nullptr};
  for (const void* each : memory)
    if (const std::uint64_t owner = owner_of(each)) operation.uses.push_back({each, owner});
  Queue& queue = queue_of(stream);
  if (!queue.graph) return put(queue, std::move(operation));
  queue.is_joined = false;
  queue.graph->operations.push_back(std::move(operation));
}

void enqueue_beside_graph(Handle stream, std::function<void()> work) {
  Queue& queue = queue_of(stream);
  put(queue, {std::move(work), {}, nullptr});
  if (queue.graph) synchronize(stream);
}

void synchronize(Handle stream) {
  Queue& queue = queue_of(stream);
  while (!queue.operations.empty()) {
    if (schedule == kOthersFirst)
      while (Queue* other = another(queue)) run_first(*other);
    if (schedule < kRandom || !run_any()) advance(queue);
  }
}

void record(const std::shared_ptr<Event>& event, Handle stream) {
  Queue& queue = queue_of(stream);
  event->graph = queue.graph ? queue.graph->number : 0;
  event->stream = stream;
  ++event->recorded;
  if (!queue.graph) put(queue, {{}, {}, event, event->recorded});
}

bool wait(Handle stream, const std::shared_ptr<Event>& event) {
  Queue& queue = queue_of(stream);
  if (event->graph) {
    Queue& from = queue_of(event->stream);
    const bool same = from.graph && from.graph->number == event->graph;
    if (!same || (queue.graph && queue.graph != from.graph)) return false;
    queue.graph = from.graph;
    queue.is_joined = false;
    from.is_joined = true;
    return true;
  }
  if (queue.graph) return event->recorded == 0;
  if (event->recorded > 0) put(queue, {{}, {}, event, event->recorded, true});
  return true;
}

void begin_capture(Handle stream) {
  Queue& queue = queue_of(stream);
  static std::uint64_t n_graphs = 0;
  queue.graph = std::make_shared<Graph>();
  queue.graph->number = ++n_graphs;
  queue.is_origin = true;
}

std::shared_ptr<Graph> end_capture(Handle stream) {
  std::shared_ptr<Graph> graph = queue_of(stream).graph;
  bool whole = true;
  for (auto& [other, queue] : queues()) {
    if (queue.graph != graph) continue;
    whole = whole && (queue.is_origin || queue.is_joined);
    queue.graph = nullptr;
    queue.is_origin = false;
  }
  return whole ? graph : nullptr;
}

void replay(const std::shared_ptr<Graph>& graph, Handle stream) {
  enqueue(stream, [graph] {
    for (const Operation& operation : graph->operations) run(operation);
  });
}

std::shared_ptr<Graph> captured(Handle stream) { return queue_of(stream).graph; }

bool any_captured() {
  const std::lock_guard<std::mutex> lock(mutex);
  for (const auto& [stream, queue] : queues())
    if (queue.graph) return true;
  return false;
}

void retain(Graph& graph, std::function<void()> destroy) {
  graph.destroy.push_back(std::move(destroy));
}

bool destroying() { return is_destroying; }

}  // namespace cuda_on_cpu
