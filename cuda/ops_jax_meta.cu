// The sums of a round and the meta-update for a compiled program of JAX.
#include <algorithm>

#include "jax_meta-inl.cuh"

namespace aruba_fast::cuda {
namespace {

// Parts of a workspace, one after another; of none, how long it has to be.
class Parts {
 public:
  // Without a workspace the parts are addresses that nobody looks at.
  explicit Parts(void* workspace)
      : begin_(workspace ? static_cast<unsigned char*>(workspace)
                         : reinterpret_cast<unsigned char*>(16)) {}

  template <class T>
  T* take(std::int64_t n) {
    auto* part = reinterpret_cast<T*>(begin_ + size_);
    size_ += divide_up(n * static_cast<std::int64_t>(sizeof(T)), 16) * 16;
    return part;
  }
  std::size_t size() const { return static_cast<std::size_t>(size_); }

 private:
  unsigned char* begin_;
  std::int64_t size_ = 0;
};

// Sums of a round, which start as nothing.
struct SumsMemory {
  DeviceStatistics sums;
  std::size_t bytes;

  SumsMemory(Parts& parts, std::int64_t n)
      : sums{parts.take<double>(6 * n + 4), nullptr, nullptr},
        bytes(static_cast<std::size_t>(6 * n + 4) * sizeof(double)) {
    sums.weight = sums.sums + 6 * n;
    sums.counts = reinterpret_cast<std::int64_t*>(sums.weight + 2);
  }
  void clear(const Stream& stream) const {
    check(cudaMemsetAsync(sums.sums, 0, bytes, handle_of(stream)), "cudaMemsetAsync");
  }
};

struct TasksMemory {
  SumsMemory sums;
  double *limit, *weights;
  unsigned *far, *flags;  // neighbours
  void* of_round;

  TasksMemory(Parts& parts, std::int64_t n_tasks, std::int64_t n)
      : sums(parts, n),
        limit(parts.take<double>(1)),
        weights(parts.take<double>(n_tasks)),
        far(parts.take<unsigned>(4 + n_tasks)),
        flags(far + 4),
        of_round(
            parts.take<char>(static_cast<std::int64_t>(add_round_workspace_bytes(n_tasks, n)))) {}

  RoundArrays round(const JaxTasks& tasks) const {
    return {.theta_hat = tasks.theta_hat,
            .grad_sq = tasks.grad_sq,
            .phi = tasks.phi,
            .weights = weights,
            .n_tasks = tasks.n_tasks,
            .n = tasks.n,
            .type = tasks.type,
            .rates = tasks.rates,
            .limit = tasks.is_limited ? limit : nullptr};
  }
};

Shape each(std::int64_t n) { return {divide_up(n, kMetaThreads), kMetaThreads}; }

void add_tasks(const JaxTasks& tasks, const TasksMemory& memory, const Stream& stream) {
  launch(stream, each(std::max(tasks.n_tasks, std::int64_t{1})), load_tasks, tasks, memory.weights,
         memory.limit);
  memory.sums.clear(stream);
  add_round(memory.round(tasks), memory.sums.sums, nullptr, memory.of_round, stream);
}

// Again, without the tasks that float32 has no room for, where that is so.
void leave_out_far(const JaxTasks& tasks, const TasksMemory& memory, const Stream& stream) {
  const std::int64_t most_idle_blocks = facts_of_device(stream.device).idle_blocks();
  const Shape columns = each(tasks.n);
  const std::int64_t wide = std::min(columns.n_blocks, most_idle_blocks);
  check(cudaMemsetAsync(memory.far, 0, static_cast<std::size_t>(4 * (4 + tasks.n_tasks)),
                        handle_of(stream)),
        "cudaMemsetAsync");
  launch(stream, columns, find_far_sums, memory.sums.sums.sums, tasks.n, memory.far);
  const Shape rows = {wide, kMetaThreads, 0,
                      std::min(tasks.n_tasks, divide_up(most_idle_blocks, wide))};
  by_type("statistics", "`theta_hat`", tasks.type, [&](auto zero) {
    launch(stream, rows, find_far_tasks<decltype(zero)>, tasks, memory.weights, memory.far,
           memory.flags);
  });
  launch(stream, each(tasks.n_tasks), refuse_far_tasks, memory.far, memory.flags, tasks.n_tasks,
         memory.weights);
  memory.sums.clear(stream);
  add_round(memory.round(tasks), memory.sums.sums, nullptr, memory.of_round, stream, memory.far);
}

// A learner in the form of the kernels.
struct LearnerMemory {
  LearnerPlaces places;
  MetaState learner;
  void* workspace;

  LearnerMemory(Parts& parts, const JaxState& state) : learner{} {
    const auto column = [&](const Wide& own) {
      return own.is_double ? static_cast<double*>(own.high) : parts.take<double>(state.n);
    };
    places.numbers = parts.take<LearnerNumbers>(1);
    places.b = column(state.b);
    places.g = column(state.g);
    places.master = column(state.phi);
    places.rho = parts.take<double>(state.n);
    const std::int64_t size = state.n * size_of(state.type);
    places.phi = parts.take<char>(size);
    places.rates = state.n_rates == state.n ? state.rates : parts.take<char>(size);
    LearnerNumbers* numbers = places.numbers;
    learner = {.phi_master = places.master,
               .b = places.b,
               .g = places.g,
               .rho = places.rho,
               .phi = places.phi,
               .rates = places.rates,
               .n_tasks = &numbers->counts[0],
               .n_skipped = &numbers->counts[1],
               .weight_high = &numbers->weight[0],
               .weight_low = &numbers->weight[1],
               .limit = &numbers->limit,
               .n = state.n,
               .type = state.type,
               .parameters = state.parameters,
               .tensors = state.tensors};
    workspace = parts.take<char>(static_cast<std::int64_t>(apply_workspace_bytes(learner)));
  }
};

// `sum` brings the sums of the round.
template <class Sum>
void learn_by(const JaxState& state, const LearnerMemory& memory, const Wide& step,
              const Stream& stream, Sum sum) {
  const DeviceGuard guard(stream);
  by_type("apply", "`phi`", state.type, [&](auto zero) {
    using T = decltype(zero);
    launch(stream, each(state.n), load_learner<T>, state, step, memory.places);
    apply(memory.learner, sum(), nullptr, memory.workspace, stream,
          step.high ? &memory.places.numbers->step : nullptr);
    launch(stream, each(state.n), store_learner<T>, state, memory.places);
  });
  launch(stream, {1, 1}, store_numbers, state, memory.places);
}

}  // namespace

std::size_t sum_tasks_bytes(std::int64_t n_tasks, std::int64_t n) {
  Parts parts(nullptr);
  const TasksMemory memory(parts, n_tasks, n);
  return parts.size();
}

void sum_tasks(const JaxTasks& tasks, const JaxSums& into, void* workspace, const Stream& stream) {
  const DeviceGuard guard(stream);
  Parts parts(workspace);
  const TasksMemory memory(parts, tasks.n_tasks, tasks.n);
  add_tasks(tasks, memory, stream);
  if (!into.columns[0].is_double) leave_out_far(tasks, memory, stream);
  launch(stream, each(tasks.n), store_round, memory.sums.sums, tasks.n, into);
}

std::size_t learn_bytes(const JaxState& state, std::int64_t n_tasks) {
  Parts parts(nullptr);
  const LearnerMemory memory(parts, state);
  if (n_tasks >= 0) const TasksMemory of_tasks(parts, n_tasks, state.n);
  else const SumsMemory of_sums(parts, state.n);
  return parts.size();
}

void learn(const JaxState& state, const JaxSums& round, const Wide& step, void* workspace,
           const Stream& stream) {
  Parts parts(workspace);
  const LearnerMemory memory(parts, state);
  const SumsMemory sums(parts, state.n);
  learn_by(state, memory, step, stream, [&] {
    launch(stream, each(state.n), load_round, round, state.n, sums.sums);
    return sums.sums;
  });
}

void learn(const JaxState& state, const JaxTasks& round, const Wide& step, void* workspace,
           const Stream& stream) {
  Parts parts(workspace);
  const LearnerMemory memory(parts, state);
  const TasksMemory of_tasks(parts, round.n_tasks, state.n);
  JaxTasks own = round;
  own.phi = memory.places.phi;
  own.rates = memory.places.rates;
  own.limit = state.limit;
  own.is_limited = state.parameters.average_task;
  learn_by(state, memory, step, stream, [&] {
    add_tasks(own, of_tasks, stream);
    return of_tasks.sums.sums;
  });
}

}  // namespace aruba_fast::cuda
