// run_tasks as meta_train needs it: a single rate may lie in device memory.
#pragma once

#include "ops_tasks.h"

namespace aruba_fast::cuda {

// rate_step 0: rule.rates is one number, the rate of every coordinate; 1: as run_tasks.
void run_tasks_with(const TaskTable& table, const TaskOptions& options,
                    const TaskRuleArguments& rule, std::int64_t rate_step, const void* phi,
                    std::int64_t phi_stride, std::int64_t first, std::int64_t n_tasks,
                    const TaskOutputs& outputs, void* workspace, const Stream& stream);

}  // namespace aruba_fast::cuda
