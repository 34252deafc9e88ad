// Rounds of whole tasks in device memory, and the online loop over rounds.
#pragma once

#include <cstddef>

#include "cpp/ops_tasks.h"
#include "ops_meta.h"

namespace aruba_fast::cuda {

// Tasks first..first + n_tasks of a table's order, from phi: what TaskEngine::run is told. Every
// pointer is device memory, the offsets and the order too.
struct TaskRound {
  const TaskTable& table;
  const TaskOptions& options;
  TaskRuleArguments rule;
  bool one_for_all = false;  // the array of the rule's first parameter is one number
  const void* phi;
  std::int64_t phi_stride, first, n_tasks;
  TaskOutputs outputs;
};

// Memory that run_tasks may scribble on for rounds of up to n_tasks tasks by that rule; 16-byte
// aligned; may be zero.
std::size_t run_tasks_workspace_bytes(const TaskTable& table, const TaskOptions& options,
                                      TaskRule rule, std::int64_t n_tasks);

void run_tasks(const TaskRound& round, void* workspace, const Stream& stream);

// As aruba_fast::require_labels, for labels in device memory. Synchronizes; `workspace` is 8 bytes.
void require_labels(const char* function, const Array& y, Loss loss, std::int64_t n_classes,
                    void* workspace, const Stream& stream);

std::size_t meta_train_workspace_bytes(const TaskTable& table, const TaskOptions& options,
                                       const MetaState& state, std::int64_t round_size);

// As aruba_fast::meta_train with everything in device memory, training.loss and training.skipped
// too. Rounds are enqueued one after another. The device is waited for only where `progress` or a
// `meta_step` function asks for it, and several times a second to see whether `watch` says stop;
// then, and at the end, nothing is waited for. phi is not tested against the ball of the radius.
void meta_train(const TaskTable& table, const TaskOptions& options, const MetaState& state,
                const MetaTraining& training, Watch& watch, void* workspace, const Stream& stream);

}  // namespace aruba_fast::cuda
