// Steps of the leaves of a tree for a compiled program of JAX.
#include <algorithm>

#include "jax_step-inl.cuh"
#include "ops_jax.h"

namespace aruba_fast::cuda {
namespace {

template <class T>
unsigned blocks_of(std::int64_t n) {
  // Whatever the alignment of the first.
  return static_cast<unsigned>(divide_up(n + kVector<T> - 1, kVector<T> * kStepThreads));
}

template <class Rule, class T, class G, bool kMoves>
class Launches {
 public:
  explicit Launches(const Stream& stream) : stream_(stream) {}

  void add(const StepLeaf& leaf) {
    // As many entries at a time as a grid has room for.
    const unsigned blocks = blocks_of<T>(leaf.n);
    const std::int64_t most = kMostBlocks / blocks;
    for (std::int64_t entry = 0; entry < leaf.n_entries; entry += most)
      add(leaf, blocks, entry, std::min(most, leaf.n_entries - entry));
  }
  void flush() {
    if (table_.n > 0)
      launch(stream_, {n_blocks_, kStepThreads}, step_leaves<Rule, T, G, kMoves>, table_);
    table_.n = 0;
    n_blocks_ = 0;
  }

 private:
  static constexpr std::int64_t kMostBlocks = 0x7fffffff;

  void add(const StepLeaf& leaf, unsigned blocks, std::int64_t entry, std::int64_t n_entries) {
    const std::int64_t own = n_entries * blocks, begin = entry * leaf.n;
    if (table_.n == kLeavesAtOnce || n_blocks_ + own > kMostBlocks) flush();
    const auto address = [](const void* memory, std::int64_t offset, std::size_t size) {
      return memory
                 ? reinterpret_cast<std::int64_t>(memory) + offset * static_cast<std::int64_t>(size)
                 : 0;
    };
    table_.leaves[table_.n++] = {
        .grad = address(leaf.grad, begin, sizeof(G)),
        .state = address(leaf.state, begin, sizeof(T)),
        .theta = address(leaf.theta, begin, sizeof(T)),
        .rest = address(leaf.rest, begin, sizeof(T)),
        .first = address(leaf.first, entry * leaf.first_stride, sizeof(T)),
        .coef = address(leaf.coef, entry * leaf.coef_stride, leaf.coef_is_double ? 8 : 4),
        .at = address(leaf.at, begin, sizeof(T)),
        .state_after = address(leaf.state_after, begin, sizeof(T)),
        .rest_after = address(leaf.rest_after, begin, sizeof(T)),
        .n = leaf.n,
        .row = leaf.row,
        .first_stride = leaf.first_stride,
        .coef_stride = leaf.coef_stride,
        .first_block = static_cast<unsigned>(n_blocks_),
        .blocks_of_entry = blocks,
        .coef_is_double = leaf.coef_is_double};
    n_blocks_ += own;
  }

  const Stream& stream_;
  TableOfLeaves table_ = {};
  std::int64_t n_blocks_ = 0;
};

template <class Rule, bool kMoves, class T, class G>
void step_types(std::span<const StepLeaf> leaves, Type theta, Type grad, const Stream& stream) {
  Launches<Rule, T, G, kMoves> launches(stream);
  for (const StepLeaf& leaf : leaves)
    if (leaf.theta_type == theta && leaf.grad_type == grad && leaf.n > 0) launches.add(leaf);
  launches.flush();
}

template <class Rule, bool kMoves>
void step_all(std::span<const StepLeaf> leaves, const Stream& stream) {
  using enum Type;
  step_types<Rule, kMoves, float, float>(leaves, kFloat32, kFloat32, stream);
  step_types<Rule, kMoves, double, double>(leaves, kFloat64, kFloat64, stream);
  step_types<Rule, kMoves, float, BFloat16>(leaves, kFloat32, kBFloat16, stream);
  step_types<Rule, kMoves, float, Float16>(leaves, kFloat32, kFloat16, stream);
}

}  // namespace

void step_leaves(bool aruba, bool moves, std::span<const StepLeaf> leaves, const Stream& stream) {
  const DeviceGuard guard(stream);
  if (aruba) (moves ? step_all<ArubaInPlace, true> : step_all<ArubaInPlace, false>)(leaves, stream);
  else (moves ? step_all<Ogd, true> : step_all<Ogd, false>)(leaves, stream);
}

}  // namespace aruba_fast::cuda
