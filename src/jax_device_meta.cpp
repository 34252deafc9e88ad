// The sums of a round and the meta-update for XLA, on arrays in device memory.
#include "jax_device.h"

namespace aruba_fast::python {
namespace {

// Of an entry of a batch.
class Entry {
 public:
  Entry(std::int64_t number, const JaxBuffer& whole) : number_(number), whole_(whole) {}

  char* at(const JaxBuffer& buffer) const { return buffer.at(number_, whole_); }
  cuda::Wide wide(const JaxBuffer& high, const JaxBuffer* low = nullptr) const {
    return {at(high), low ? at(*low) : nullptr, high.is_double()};
  }
  cuda::Counts counts(const JaxBuffer& n_tasks, const JaxBuffer& n_skipped) const {
    return {at(n_tasks), at(n_skipped), n_tasks.type == ffi::S64};
  }
  // The leaves of a TaskStatistics.
  cuda::JaxSums sums(const JaxBuffer* of) const {
    return {.columns = {wide(of[0], &of[1]), wide(of[2], &of[3]), wide(of[4], &of[5])},
            .weight = wide(of[6], &of[7]),
            .counts = counts(of[8], of[9])};
  }

 private:
  std::int64_t number_;
  const JaxBuffer& whole_;
};

// The leaves of a MetaState, in JAX's order; of float64 alone, masters have no low part.
cuda::JaxState state_of(const Entry& entry, const std::vector<JaxBuffer>& leaves) {
  const JaxBuffer* next = leaves.data();
  const bool has_low = leaves.size() > 10;
  const auto master = [&] {
    const JaxBuffer* high = next++;
    return entry.wide(*high, has_low ? next++ : nullptr);
  };
  cuda::JaxState state{};
  state.b = master();
  state.g = master();
  state.n = next[-1].n();
  state.phi = master();
  state.rates = entry.at(next[0]);
  state.n_rates = next[0].n();
  state.type = next[0].type_of_numbers();
  state.rho = entry.wide(next[1]);
  state.weight = entry.wide(next[2], &next[3]);
  state.counts = entry.counts(next[4], next[5]);
  state.limit = entry.wide(next[6]);
  return state;
}

}  // namespace

ffi::Error sum_on_device(void* handle, std::int32_t device, ffi::RemainingArgs args,
                         ffi::RemainingRets rets) {
  return guarded([&] {
    const std::vector<JaxBuffer> in = all(args), out = all(rets);
    const CudaEntries& entries = cuda_entries();
    const cuda::Stream stream = {device, handle};
    for (std::int64_t number = 0; number < out[0].n_entries(); ++number) {
      const Entry entry(number, out[0]);
      const bool is_limited = in.size() > 4;
      const cuda::JaxTasks tasks = {.theta_hat = entry.at(in[1]),
                                    .grad_sq = entry.at(in[2]),
                                    .phi = entry.at(in[0]),
                                    .rates = is_limited ? entry.at(in[4]) : nullptr,
                                    .weights = entry.wide(in[3]),
                                    .limit = is_limited ? entry.wide(in[5]) : cuda::Wide{},
                                    .is_limited = is_limited,
                                    .n_tasks = in[3].n(),
                                    .n = in[0].n(),
                                    .type = in[0].type_of_numbers()};
      entries.sum_tasks(tasks, entry.sums(out.data()), out.back().data, stream);
    }
  });
}

// As jax_meta.cpp, with the table of tensors as the last argument and a workspace as the last
// result.
ffi::Error learn_on_device(void* handle, std::int32_t device, ffi::RemainingArgs args,
                           ffi::RemainingRets rets, bool of_tasks, double learning_rate,
                           double zeta, double p, double decay, double max_learning_rate,
                           bool isotropic, bool average_task, bool tight, double most_b,
                           double most_g, double least, ffi::Span<const std::int64_t> table) {
  return guarded([&] {
    const std::vector<JaxBuffer> in = all(args);
    std::vector<JaxBuffer> out = all(rets);
    void* const workspace = out.back().data;
    out.pop_back();
    const CudaEntries& entries = cuda_entries();
    const cuda::Stream stream = {device, handle};
    for (std::size_t i = 0; i < out.size(); ++i)
      if (in[i].data != out[i].data)
        entries.copy(out[i].data, in[i].data,
                     static_cast<std::size_t>(out[i].n_entries() * out[i].n_bytes()), stream);
    const JaxBuffer *round = &in[out.size()], *there = &in.back();
    const std::size_t n_round = of_tasks ? 3 : 10;
    const JaxBuffer* step = in.size() > out.size() + n_round + 1 ? round + n_round : nullptr;
    const Tensors of_host(table.begin(), static_cast<std::int64_t>(table.size()) / 2 - 1);
    for (std::int64_t number = 0; number < out[0].n_entries(); ++number) {
      const Entry entry(number, out[0]);
      cuda::JaxState state = state_of(entry, out);
      state.parameters = {.learning_rate = learning_rate,
                          .zeta = zeta,
                          .p = p,
                          .decay = decay,
                          .max_learning_rate = max_learning_rate,
                          .isotropic = isotropic,
                          .average_task = average_task,
                          .tight = tight};
      state.tensors =
          Tensors(reinterpret_cast<const std::int64_t*>(there->data), of_host.n, of_host.n_pieces);
      state.most_b = most_b;
      state.most_g = most_g;
      state.least = least;
      const cuda::Wide chosen = step ? entry.wide(step[0], &step[1]) : cuda::Wide{};
      if (!of_tasks) {
        entries.learn_sums(state, entry.sums(round), chosen, workspace, stream);
        continue;
      }
      const cuda::JaxTasks tasks = {.theta_hat = entry.at(round[0]),
                                    .grad_sq = entry.at(round[1]),
                                    .phi = nullptr,
                                    .rates = nullptr,
                                    .weights = entry.wide(round[2]),
                                    .limit = {},
                                    .is_limited = false,
                                    .n_tasks = round[2].n(),
                                    .n = state.n,
                                    .type = state.type};
      entries.learn_tasks(state, tasks, chosen, workspace, stream);
    }
  });
}

void bind_workspaces(pybind11::module_& module) {
  module.def(
      "sum_bytes",
      [](std::int64_t n_tasks, std::int64_t n) {
        return cuda_entries().sum_tasks_bytes(n_tasks, n);
      },
      pybind11::arg("n_tasks"), pybind11::arg("n"));
  module.def(
      "learn_bytes",
      [](std::int64_t n, std::int64_t n_rates, bool rates_are_double, bool is_double,
         bool average_task, std::int64_t n_tensors, std::int64_t n_pieces, std::int64_t n_tasks) {
        cuda::JaxState state{};
        state.b.is_double = state.g.is_double = state.phi.is_double = is_double;
        state.n = n;
        state.n_rates = n_rates;
        state.type = rates_are_double ? Type::kFloat64 : Type::kFloat32;
        state.parameters.average_task = average_task;
        state.tensors = Tensors(nullptr, n_tensors, n_pieces);
        return cuda_entries().learn_bytes(state, n_tasks);
      },
      pybind11::kw_only(), pybind11::arg("n"), pybind11::arg("n_rates"),
      pybind11::arg("rates_are_double"), pybind11::arg("is_double"), pybind11::arg("average_task"),
      pybind11::arg("n_tensors"), pybind11::arg("n_pieces"), pybind11::arg("n_tasks"));
}

}  // namespace aruba_fast::python
