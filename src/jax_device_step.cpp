// Steps within a task for XLA, on arrays in device memory: one launch for all leaves of a type.
#include "jax_device.h"

namespace aruba_fast::python {
namespace {

// A leaf as jax_step.cpp has it.
class Leaves {
 public:
  explicit Leaves(bool moves) : n_given_(moves ? 5 : 4), n_made_(moves ? 3 : 2) {}

  void add(const JaxBuffer* in, const JaxBuffer* out, const JaxBuffer* coef) {
    const JaxBuffer &grad = in[0], &theta = in[2], &first = in[n_given_ - 1];
    const bool is_row = first.n() == theta.n();
    cuda::StepLeaf leaf = {.grad = grad.data,
                           .state = in[1].data,
                           .theta = theta.data,
                           .rest = n_given_ == 5 ? in[3].data : nullptr,
                           .first = first.data,
                           .coef = coef ? coef->data : nullptr,
                           .at = out[0].data,
                           .state_after = out[1].data,
                           .rest_after = n_made_ == 3 ? out[2].data : nullptr,
                           .theta_type = theta.type_of_numbers(),
                           .grad_type = grad.type_of_numbers(),
                           .coef_is_double = coef && coef->is_double(),
                           .n = theta.n(),
                           .n_entries = theta.n_entries(),
                           .row = is_row ? theta.n() : 0,
                           .first_stride = 0,
                           .coef_stride = 0};
    const std::int64_t n_first = first.n_entries(), n_coef = coef ? coef->n_entries() : 1;
    if (leaf.n == 0 || leaf.n_entries == 0) return;
    // All entries as one, where they share what there is to share or it is as long as they are.
    if (n_coef == 1 && (n_first == 1 || (is_row && n_first == leaf.n_entries))) {
      leaf.n *= leaf.n_entries;
      if (is_row && n_first > 1) leaf.row = leaf.n;
      leaf.n_entries = 1;
      leaves_.push_back(leaf);
      return;
    }
    const auto is_regular = [&](std::int64_t n) { return n == 1 || n == leaf.n_entries; };
    if (is_regular(n_first) && is_regular(n_coef)) {
      leaf.first_stride = n_first > 1 ? first.n() : 0;
      leaf.coef_stride = n_coef > 1;
      leaves_.push_back(leaf);
      return;
    }
    // Some axes of the batch share, others do not.
    for (std::int64_t entry = 0; entry < leaf.n_entries; ++entry) {
      const auto at = [&](const JaxBuffer& buffer) { return buffer.at(entry, theta); };
      cuda::StepLeaf own = leaf;
      own.n_entries = 1;
      own.grad = at(grad);
      own.state = at(in[1]);
      own.theta = at(theta);
      own.first = at(first);
      own.at = at(out[0]);
      own.state_after = at(out[1]);
      if (leaf.rest) own.rest = at(in[3]), own.rest_after = at(out[2]);
      if (coef) own.coef = at(*coef);
      leaves_.push_back(own);
    }
  }
  const std::vector<cuda::StepLeaf>& all() const { return leaves_; }

 private:
  std::size_t n_given_, n_made_;
  std::vector<cuda::StepLeaf> leaves_;
};

}  // namespace

ffi::Error step_on_device(void* handle, std::int32_t device, ffi::RemainingArgs args,
                          ffi::RemainingRets rets, bool aruba, bool moves) {
  return guarded([&] {
    const std::vector<JaxBuffer> given = all(args), made = all(rets);
    const std::size_t n_given = moves ? 5 : 4, n_made = moves ? 3 : 2;
    Leaves leaves(moves);
    for (std::size_t i = 0; i < made.size() / n_made; ++i)
      leaves.add(&given[i * n_given], &made[i * n_made], aruba ? &given.back() : nullptr);
    const CudaEntries& entries = cuda_entries();
    entries.step_leaves(aruba, moves, leaves.all(), {device, handle});
  });
}

}  // namespace aruba_fast::python
