// All of aruba_fast: meta-learns an initialization and a learning rate for every coordinate from
// many related tasks. docs/cpp.md is the guide.
#pragma once

#include "error.h"
#include "learner.h"
#include "step.h"
#include "system.h"
#include "tasks.h"
