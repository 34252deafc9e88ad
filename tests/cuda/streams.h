// Streams whose work is done later than it is enqueued, in an order that a test chooses; graphs
// that are captured from them; and memory whose owners change in the order of its stream.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

namespace cuda_on_cpu {

using Handle = const void*;  // a cudaStream_t; no stream waits for another that no event orders

// When work is done. At once: as it is enqueued. Late: not before somebody waits for it, and then
// no more than that needs. Others first: when somebody waits, whatever other streams can do comes
// before. From kRandom on the number seeds a generator that does some of it at any time.
enum Schedule : unsigned { kAtOnce, kLate, kOthersFirst, kRandom };
void set_schedule(unsigned schedule);

// Waits for all streams.
void finish();

// What work did wrong since the last call, or "": the use of memory that was freed, or that has got
// another owner; writing to it, or beyond it.
std::string take_fault();
void add_fault(const std::string& what);

// `memory`: what the work uses, which has to have the owner of now when it is done.
void enqueue(Handle stream, std::function<void()> work, std::span<const void* const> memory = {});
// As part of the stream, never of a graph.
void enqueue_beside_graph(Handle stream, std::function<void()> work);
void synchronize(Handle stream);

// ---- events ----

struct Graph;
struct Event {
  std::uint64_t recorded = 0, done = 0;  // versions
  std::uint64_t graph = 0;               // the number of that it was recorded into
  Handle stream = nullptr;
};
void record(const std::shared_ptr<Event>& event, Handle stream);
// False: the stream is captured, and the event is not of its graph.
bool wait(Handle stream, const std::shared_ptr<Event>& event);

// ---- graphs ----

void begin_capture(Handle stream);
// Null: a stream has joined the capture and was not joined again.
std::shared_ptr<Graph> end_capture(Handle stream);
void replay(const std::shared_ptr<Graph>& graph, Handle stream);
// The graph that is captured from the stream, or null.
std::shared_ptr<Graph> captured(Handle stream);
bool any_captured();
// `destroy` runs when nobody has the graph any more and no replay is on its way.
void retain(Graph& graph, std::function<void()> destroy);
// True within such a call, where nothing of CUDA may be called.
bool destroying();

// ---- memory, as CuPy's pool has it: every stream its own, given back and taken in its order ----

void* take(std::size_t n_bytes, Handle stream);
void give_back(void* memory);

}  // namespace cuda_on_cpu
