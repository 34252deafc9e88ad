// Objects that outlive their call, because a device is not done with their memory.
#include "held.h"

#include <mutex>
#include <utility>

namespace aruba_fast::python {
namespace {

struct Held {
  cuda::Mark until;
  std::vector<pybind11::object> objects;
};

// Never destroyed: the interpreter and the driver may be gone by then.
struct AllHeld {
  std::mutex mutex;
  std::vector<Held> held;
};
AllHeld& all() {
  static AllHeld& the_held = *new AllHeld;
  return the_held;
}

}  // namespace

void hold(const cuda::Stream& stream, std::vector<pybind11::object> objects) {
  if (objects.empty()) return;
  Held held;
  held.until.set(stream);
  held.objects = std::move(objects);
  const std::lock_guard<std::mutex> lock(all().mutex);
  all().held.push_back(std::move(held));
}

void let_go() {
  std::vector<Held> done, rest;
  {
    const std::lock_guard<std::mutex> lock(all().mutex);
    std::vector<Held>& held = all().held;
    // The first ones pass first, nearly, and asking for an event costs most of a microsecond.
    constexpr int kMostAsked = 4;
    int n_waiting = 0;
    for (Held& each : held) {
      const bool is_done = n_waiting < kMostAsked && each.until.has_passed();
      n_waiting += !is_done && !each.until.is_captured();
      (is_done ? done : rest).push_back(std::move(each));
    }
    held.swap(rest);
  }
  // Their destructors may call here again.
}

}  // namespace aruba_fast::python
