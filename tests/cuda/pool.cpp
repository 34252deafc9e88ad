// A pool of memory as CuPy's: every stream takes again what was given back on it, in its own order.
// What is free is filled with nans, and so is what is new.
#include "pool.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "streams.h"

namespace cuda_on_cpu {
namespace {

constexpr int kPoison = 0xff;  // nan as a number, -1 as an offset
constexpr std::size_t kUnit = 512;
constexpr std::uint64_t kNobody = ~std::uint64_t{0};

struct Block {
  unsigned char* bytes;
  std::size_t capacity, size;
  Handle stream;
  std::uint64_t owner;         // in the order of the program
  std::uint64_t owner_by_now;  // in the order of the stream
};

// Blocks are never given back to the system: what uses them too late is found, not a crash.
std::map<const unsigned char*, Block>& blocks() {
  static auto& all = *new std::map<const unsigned char*, Block>;
  return all;
}
std::uint64_t n_owners = 0;

std::map<std::pair<Handle, std::size_t>, std::vector<Block*>>& free_blocks() {
  static auto& all = *new std::map<std::pair<Handle, std::size_t>, std::vector<Block*>>;
  return all;
}

// Of the lists of blocks; a block itself is its owner's.
std::mutex mutex;

Block* block_of(const void* memory) {
  const std::lock_guard<std::mutex> lock(mutex);
  const auto* byte = static_cast<const unsigned char*>(memory);
  auto at = blocks().upper_bound(byte);
  if (at == blocks().begin()) return nullptr;
  Block& block = std::prev(at)->second;
  return byte < block.bytes + block.capacity ? &block : nullptr;
}

bool is_poisoned(const Block& block, std::size_t first) {
  return std::all_of(block.bytes + first, block.bytes + block.capacity,
                     [](unsigned char byte) { return byte == kPoison; });
}

// One with a new owner.
Block& free_block(std::size_t capacity, Handle stream) {
  const std::lock_guard<std::mutex> lock(mutex);
  std::vector<Block*>& known = free_blocks()[{stream, capacity}];
  if (!known.empty()) {
    Block& last = *known.back();
    known.pop_back();
    last.owner = ++n_owners;
    return last;
  }
  auto* bytes = static_cast<unsigned char*>(std::aligned_alloc(kUnit, capacity));
  std::memset(bytes, kPoison, capacity);
  return blocks()[bytes] = {bytes, capacity, 0, stream, ++n_owners, kNobody};
}

}  // namespace

std::uint64_t owner_of(const void* memory) {
  const Block* block = block_of(memory);
  return block ? block->owner : 0;
}

const char* misuse(const void* memory, std::uint64_t owner) {
  const std::uint64_t now = block_of(memory)->owner_by_now;
  if (owner == kNobody || now == kNobody) return "that was freed, or is not yet there";
  return now == owner ? nullptr : "that has another owner";
}

void* take(std::size_t n_bytes, Handle stream) {
  Block& block =
      free_block(std::max<std::size_t>((n_bytes + kUnit - 1) / kUnit, 1) * kUnit, stream);
  block.size = n_bytes;
  enqueue_beside_graph(stream, [&block, owner = block.owner] {
    if (!is_poisoned(block, 0)) add_fault("memory was written after it was freed");
    std::memset(block.bytes, kPoison, block.capacity);
    block.owner_by_now = owner;
  });
  return block.bytes;
}

void give_back(void* memory) {
  Block& block = *block_of(memory);
  block.owner = kNobody;
  enqueue_beside_graph(block.stream, [&block, size = block.size] {
    if (!is_poisoned(block, size)) add_fault("something was written beyond its memory");
    std::memset(block.bytes, kPoison, block.capacity);
    block.owner_by_now = kNobody;
  });
  const std::lock_guard<std::mutex> lock(mutex);  // now another thread may take it
  free_blocks()[{block.stream, block.capacity}].push_back(&block);
}

}  // namespace cuda_on_cpu
