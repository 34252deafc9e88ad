// Rounds of whole tasks, and the online loop over rounds.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ops_meta.h"
#include "parallel.h"
#include "state_lock.h"

namespace aruba_fast {

// Rows of task t are starts[t]..stops[t] of x [n_rows, n_features] and y [n_rows]; order names the
// tasks, null: all of them. The loss of a row counts row_weights[row] times.
struct TaskTable {
  const void *x, *y;
  const std::int64_t *starts, *stops, *order;
  std::int64_t n_tasks, n_rows, n_features;
  Type type;               // of y, and of what is computed; of x too, unless it is narrower
  Widening widening = {};  // of x, or of the values of sparse rows
  SparseRows rows = {};    // of sparse tasks, whose x is null
  const double* row_weights = nullptr;  // [n_rows]; null: all one

  // How much a task counts where tasks are weighed by their rows.
  double weight_of(std::int64_t task) const;
};

struct TaskOptions {
  Loss loss;
  std::int64_t n_outputs, batch_size, n_epochs;
  double radius;  // 0: unbounded
};

// The within-task rule and its parameters: an array of one for every coordinate, or a number.
struct TaskRuleArguments {
  TaskRule rule;
  const void* arrays[kMostParameters];  // null: the number below
  double numbers[kMostParameters];
};

// The names of the first n rules, for a sentence.
std::string task_rule_names(int n);
// Refuse a name that is none.
Loss loss_named(const char* function, std::string_view name);
TaskRule rule_named(const char* function, std::string_view name);

struct TaskOutputs {
  void *theta_hat, *grad_sq, *theta_bar;  // null: not wanted; without theta_hat, no steps
  double* loss;
};

// Checks that are about values: rows in range, labels in the loss's domain, phi inside the ball.
void require_rows(const char* function, const TaskTable& table);
void require_labels(const char* function, const Array& y, Loss loss, std::int64_t n_classes);
[[noreturn]] void refuse_label(const char* function, Loss loss, std::int64_t n_classes,
                               double label, std::int64_t row);
void require_in_ball(const char* function, const Array& phi, double radius);

// The threads' memory for rounds of tasks; made once, run many times.
class TaskEngine {
 public:
  TaskEngine(const TaskTable& table, const TaskOptions& options, Watch& watch);
  // Runs tasks order[first..first + n_tasks); phi_stride 0: all start from the same phi. Outputs
  // begin with the first of them.
  void run(const TaskRuleArguments& rule, const void* phi, std::int64_t phi_stride,
           std::int64_t first, std::int64_t n_tasks, const TaskOutputs& outputs);

 private:
  void spread(const TaskRuleArguments& rule);
  void run_some(const TaskRuleArguments& rule, const void* phi, std::int64_t phi_stride,
                std::int64_t first, std::int64_t n_tasks, const TaskOutputs& outputs);
  int threads_for(std::int64_t first, std::int64_t n_tasks) const;
  void reserve(int n_threads, std::int64_t n_numbers);

  TaskTable table_;
  TaskOptions options_;
  Watch& watch_;
  std::int64_t stride_, n_, scratch_bytes_ = 0;
  int max_threads_, most_slots_;
  bool is_long_ = false;
  // Not zeroed: what is not used is never touched.
  std::unique_ptr<char[]> parameters_[kMostParameters];
  std::vector<std::unique_ptr<char[]>> scratch_;  // of each thread that a round had use for
};

struct MetaTraining {
  std::int64_t round_size;
  bool weigh_by_rows;
  // Of the tasks seen, this round's included; empty or without a result: the running mean.
  std::function<std::optional<double>(std::int64_t)> meta_step;
  std::function<void(std::int64_t, std::int64_t)>
      progress;  // empty, or (tasks done, tasks in all), a few times a second
  double* loss;
  std::uint8_t* skipped;
  StateLock* lock = nullptr;  // held while the state changes
  // Set, under the lock, to what brings arrays up to date that are read meanwhile.
  std::function<void()>* settle = nullptr;
  // How far tasks go under the proximal rule, at the learner's rates; zero: they take steps.
  double proximal = 0;
  // Of all passes together, and before this one: phi's steps fall from one to nothing over them,
  // unless `meta_step` chooses them. Zero: the learner's own steps.
  std::int64_t n_visits = 0, n_visited = 0;

  // Of the round that begins with task `first`; seen() tells the tasks seen, and is asked only
  // where somebody wants to know. Nothing: the learner's own step.
  template <class Seen>
  std::optional<double> step_of(std::int64_t first, Seen seen) const {
    if (meta_step) return meta_step(seen());
    if (n_visits == 0) return std::nullopt;
    return 1 - static_cast<double>(n_visited + first) / static_cast<double>(n_visits);
  }

  std::unique_lock<StateLock> held() const {
    return lock ? std::unique_lock(*lock) : std::unique_lock<StateLock>();
  }
};

// What the host does when a round is over: it looks whether somebody wants the end, and reports.
class AfterRound {
 public:
  AfterRound(const MetaTraining& training, Watch& watch, std::int64_t n_tasks)
      : training_(training), watch_(watch), n_tasks_(n_tasks) {}
  // `moved` coordinates, up to task `end`. Throws Interrupted.
  void operator()(std::int64_t moved, std::int64_t end);

 private:
  // What a round takes at least, in coordinates that are moved.
  static constexpr std::int64_t kRoundWork = 1024;

  const MetaTraining& training_;
  Watch& watch_;
  const std::int64_t n_tasks_;
  std::chrono::steady_clock::time_point reported_ = std::chrono::steady_clock::now();
};

// One pass over the table's order, a meta-update after every round. Throws Interrupted between
// rounds when `watch` says so.
void meta_train(const TaskTable& table, const TaskOptions& options, MetaState& state,
                const MetaTraining& training, Watch& watch);

}  // namespace aruba_fast
