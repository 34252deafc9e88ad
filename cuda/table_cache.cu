// Tables of arrays in device memory, kept so that a training loop copies its table once.
#include "table_cache.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <mutex>
#include <utility>

#include "launch.cuh"

namespace aruba_fast::cuda {

struct Entry {
  int device = 0;
  std::size_t capacity = 0;         // in numbers
  std::int64_t* data = nullptr;     // on the device
  std::int64_t* staging = nullptr;  // pinned: what the device was told, or will be
  std::size_t size = 0;
  bool is_copied = false;  // the device has been seen to have it
  Mark copied;
  std::vector<std::pair<unsigned long long, Mark>> used;  // on every stream that used it, the last
  std::uint64_t turn = 0;                                 // of its last use
  bool captured = false;

  Entry() = default;
  ~Entry() {
    cudaFree(data);
    cudaFreeHost(staging);
  }
  Entry(const Entry&) = delete;
  Entry& operator=(const Entry&) = delete;

  bool is_idle() const {
    return std::all_of(used.begin(), used.end(),
                       [](const auto& use) { return use.second.has_passed(); });
  }

  void use_on(const Stream& stream) {
    // A number of its own: another stream may have got the handle of one that is gone.
    unsigned long long id = 0;
    if (!captured) check(cudaStreamGetId(handle_of(stream), &id), "cudaStreamGetId");
    auto at =
        std::find_if(used.begin(), used.end(), [&](const auto& use) { return use.first == id; });
    if (at == used.end()) at = used.insert(at, {id, Mark()});
    at->second.set(stream);
  }
};

namespace {

// A step, a few parts of a model, a few models, beside what graphs have. Beyond this an entry is
// taken from the table that was not used for longest, if the device is done with it.
constexpr std::size_t kEntries = 32;

class TableCache {
 public:
  std::mutex mutex;

  Entry* find(const Stream& stream, const std::vector<std::int64_t>& table) {
    const RelaxedCapture relaxed;
    ++turn_;
    const bool capturing = is_capturing(stream);
    take_back();
    Entry* entry = capturing ? nullptr : known(stream, table);
    if (!entry) {
      entry = idle(stream, table.size(), capturing);
      if (!entry) entry = make(stream, table.size());
      fill(*entry, stream, table, capturing);
    }
    entry->turn = turn_;
    return entry;
  }

 private:
  // From graphs that are gone.
  void take_back() {
    for (const auto& entry : entries_) {
      if (!entry->captured || !entry->is_idle()) continue;
      entry->captured = false;
      entry->size = 0;
      entry->used.clear();
    }
  }

  Entry* known(const Stream& stream, const std::vector<std::int64_t>& table) {
    const std::size_t bytes = table.size() * sizeof(std::int64_t);
    for (const auto& entry : entries_) {
      if (entry->captured || entry->device != stream.device || entry->size != table.size() ||
          std::memcmp(entry->staging, table.data(), bytes) != 0)
        continue;
      // The copy may be under way on another stream, or on one of the same name that is gone.
      if (!entry->is_copied) entry->is_copied = entry->copied.has_passed();
      if (!entry->is_copied) entry->copied.await(stream);
      return entry.get();
    }
    return nullptr;
  }

  // An entry that holds nothing; else, where there are enough, that of the oldest table, if it is
  // large enough and the device has done with it.
  Entry* idle(const Stream& stream, std::size_t size, bool capturing) {
    const auto n_captured = static_cast<std::size_t>(std::count_if(
        entries_.begin(), entries_.end(), [](const auto& entry) { return entry->captured; }));
    const bool full = !capturing && entries_.size() - n_captured >= kEntries;
    Entry* oldest = nullptr;
    for (const auto& entry : entries_) {
      if (entry->captured || entry->device != stream.device || entry->capacity < size) continue;
      if (entry->size == 0 && entry->is_idle()) return entry.get();
      if (full && (!oldest || entry->turn < oldest->turn) && entry->is_idle()) oldest = entry.get();
    }
    return oldest;
  }

  Entry* make(const Stream& stream, std::size_t size) {
    auto entry = std::make_unique<Entry>();
    entry->device = stream.device;
    entry->capacity = 512;
    while (entry->capacity < size) entry->capacity *= 2;
    const std::size_t bytes = entry->capacity * sizeof(std::int64_t);
    void* memory = nullptr;
    check(cudaMalloc(&memory, bytes), "cudaMalloc");
    entry->data = static_cast<std::int64_t*>(memory);
    check(cudaMallocHost(&memory, bytes), "cudaMallocHost");
    entry->staging = static_cast<std::int64_t*>(memory);
    entries_.push_back(std::move(entry));
    return entries_.back().get();
  }

  void fill(Entry& entry, const Stream& stream, const std::vector<std::int64_t>& table,
            bool capturing) {
    const std::size_t bytes = table.size() * sizeof(std::int64_t);
    entry.size = 0;  // nothing, should the copy fail
    entry.used.clear();
    std::memcpy(entry.staging, table.data(), bytes);
    check(cudaMemcpyAsync(entry.data, entry.staging, bytes, cudaMemcpyHostToDevice,
                          handle_of(stream)),
          "cudaMemcpyAsync");
    entry.captured = capturing;
    // From here on it is somebody's, whatever fails.
    entry.use_on(stream);
    if (!capturing) entry.copied.set(stream);
    entry.is_copied = false;
    entry.size = table.size();
  }

  std::vector<std::unique_ptr<Entry>> entries_;
  std::uint64_t turn_ = 0;
};

// Never destroyed: the driver may be gone by then.
TableCache& cache() {
  static TableCache& the_cache = *new TableCache;
  return the_cache;
}

}  // namespace

TableUse::TableUse(const Stream& stream, const std::vector<std::int64_t>& table) : stream_(stream) {
  // Held until the use is recorded, so that nobody takes the entry in between.
  cache().mutex.lock();
  try {
    entry_ = cache().find(stream, table);
  } catch (...) {
    cache().mutex.unlock();
    throw;
  }
}

TableUse::~TableUse() {
  try {
    if (!entry_->captured) entry_->use_on(stream_);
  } catch (const CudaError&) {
    // The launch that it was for has failed too, or nothing of this device works any more.
  }
  cache().mutex.unlock();
}

const std::int64_t* TableUse::data() const { return entry_->data; }

}  // namespace aruba_fast::cuda
