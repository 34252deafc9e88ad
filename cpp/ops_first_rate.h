// The first learning rate of a linear model, from the rows of its tasks.
#pragma once

#include <optional>

#include "ops_tasks.h"

namespace aruba_fast {

// Of dense tasks that start from phi, a number of their type; for the proximal rule or for steps.
// Rows that are not finite are left out; nothing where no row has any length.
std::optional<double> first_rate(const TaskTable& table, Loss loss, const void* phi, bool proximal);

}  // namespace aruba_fast
