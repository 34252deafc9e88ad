// Tables of arrays in device memory, kept so that a training loop copies its table once.
#include "table_cache.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <mutex>

#include "launch.cuh"

namespace aruba_fast::cuda {

struct Entry {
  int device;
  std::size_t capacity;   // in numbers
  std::int64_t* data;     // on the device
  std::int64_t* staging;  // pinned: what the device was told, or will be
  std::size_t size;
  bool is_copied;  // the device has been seen to have it
  cudaEvent_t copied, used;
  std::uint64_t turn;  // of its last use
  bool captured;
};

namespace {

// A step, a few parts of a model, a few models. Beyond this an entry is taken from the table that
// was not used for longest, if the device is done with it.
constexpr std::size_t kEntries = 32;

// Allocations are allowed while somebody captures a graph: they are not part of it.
class RelaxedCapture {
 public:
  RelaxedCapture() { cudaThreadExchangeStreamCaptureMode(&mode_); }
  ~RelaxedCapture() { cudaThreadExchangeStreamCaptureMode(&mode_); }
  RelaxedCapture(const RelaxedCapture&) = delete;
  RelaxedCapture& operator=(const RelaxedCapture&) = delete;

 private:
  cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;
};

bool is_capturing(const Stream& stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  check(cudaStreamIsCapturing(handle_of(stream), &status), "cudaStreamIsCapturing");
  return status != cudaStreamCaptureStatusNone;
}

bool is_done(cudaEvent_t event) {
  if (cudaEventQuery(event) == cudaSuccess) return true;
  cudaGetLastError();  // that it is not is no error
  return false;
}

class TableCache {
 public:
  std::mutex mutex;

  Entry* find(const Stream& stream, const std::vector<std::int64_t>& table) {
    const RelaxedCapture relaxed;
    ++turn_;
    const bool capturing = is_capturing(stream);
    Entry* entry = capturing ? nullptr : known(stream, table);
    if (!entry) {
      entry = capturing ? nullptr : idle(stream, table.size());
      if (!entry) entry = make(stream, table.size());
      fill(*entry, stream, table, capturing);
    }
    entry->turn = turn_;
    return entry;
  }

 private:
  Entry* known(const Stream& stream, const std::vector<std::int64_t>& table) {
    const std::size_t bytes = table.size() * sizeof(std::int64_t);
    for (const auto& entry : entries_) {
      if (entry->captured || entry->device != stream.device || entry->size != table.size() ||
          std::memcmp(entry->staging, table.data(), bytes) != 0)
        continue;
      // The copy may be under way on another stream, or on one of the same name that is gone.
      if (!entry->is_copied) entry->is_copied = is_done(entry->copied);
      if (!entry->is_copied)
        check(cudaStreamWaitEvent(handle_of(stream), entry->copied, 0), "cudaStreamWaitEvent");
      return entry.get();
    }
    return nullptr;
  }

  // The entry of the oldest table, if it is large enough and the device has done with it.
  Entry* idle(const Stream& stream, std::size_t size) {
    if (entries_.size() < kEntries) return nullptr;
    Entry* oldest = nullptr;
    for (const auto& entry : entries_) {
      const bool fits = !entry->captured && entry->device == stream.device &&
                        entry->capacity >= size && (!oldest || entry->turn < oldest->turn);
      if (fits && is_done(entry->used)) oldest = entry.get();
    }
    return oldest;
  }

  Entry* make(const Stream& stream, std::size_t size) {
    auto entry = std::make_unique<Entry>();
    entry->device = stream.device;
    entry->capacity = 512;
    while (entry->capacity < size) entry->capacity *= 2;
    const std::size_t bytes = entry->capacity * sizeof(std::int64_t);
    void *data = nullptr, *staging = nullptr;
    check(cudaMalloc(&data, bytes), "cudaMalloc");
    if (const cudaError_t error = cudaMallocHost(&staging, bytes)) {
      cudaFree(data);
      check(error, "cudaMallocHost");
    }
    entry->data = static_cast<std::int64_t*>(data);
    entry->staging = static_cast<std::int64_t*>(staging);
    check(cudaEventCreateWithFlags(&entry->copied, cudaEventDisableTiming), "cudaEventCreate");
    check(cudaEventCreateWithFlags(&entry->used, cudaEventDisableTiming), "cudaEventCreate");
    entries_.push_back(std::move(entry));
    return entries_.back().get();
  }

  void fill(Entry& entry, const Stream& stream, const std::vector<std::int64_t>& table,
            bool capturing) {
    const std::size_t bytes = table.size() * sizeof(std::int64_t);
    entry.size = 0;  // nothing, should the copy fail
    std::memcpy(entry.staging, table.data(), bytes);
    check(cudaMemcpyAsync(entry.data, entry.staging, bytes, cudaMemcpyHostToDevice,
                          handle_of(stream)),
          "cudaMemcpyAsync");
    entry.captured = capturing;
    if (!capturing) check(cudaEventRecord(entry.copied, handle_of(stream)), "cudaEventRecord");
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
  if (!entry_->captured) cudaEventRecord(entry_->used, handle_of(stream_));
  cache().mutex.unlock();
}

const std::int64_t* TableUse::data() const { return entry_->data; }

}  // namespace aruba_fast::cuda
