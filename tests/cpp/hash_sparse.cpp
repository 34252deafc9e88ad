// Tasks with rows in CSR form: runs of every rule, evaluation, and the online loop.
#include <string>
#include <utility>
#include <vector>

#include "hash.h"
#include "ops_sparse.h"

namespace aruba_fast::test {
namespace {

// Ragged tasks, one of them without an entry and one longer than terms are summed one by one; the
// columns of a row come in any order, some twice.
template <class T>
struct SparseTable {
  static constexpr std::int64_t kTasks = 17, kEmpty = 4, kLong = 9, kMostEntries = 7;

  SparseTable(std::int64_t n_features, const Case& loss) {
    Numbers numbers(11);
    std::vector<std::int64_t> begins = {0}, columns;
    for (std::int64_t task = 0; task < kTasks; ++task) {
      starts.push_back(std::ssize(y));
      const std::int64_t n_rows = task == kLong ? kTermsTogether + 44 : 1 + task * task % 11;
      for (std::int64_t row = 0; row < n_rows; ++row) {
        const std::int64_t n_entries = task == kEmpty ? 0 : numbers.below(kMostEntries + 1);
        for (std::int64_t i = 0; i < n_entries; ++i) {
          columns.push_back(numbers.below(n_features));
          values.push_back(static_cast<T>(numbers.next()));
        }
        begins.push_back(std::ssize(columns));
        y.push_back(static_cast<T>(label_of(loss, numbers.next())));
      }
      stops.push_back(std::ssize(y));
    }
    index = read_csr("test", begins.data(), std::ssize(y), columns.data(), std::ssize(columns),
                     n_features);
    values.resize(static_cast<std::size_t>(make_canonical("test", index, values.data())));
    table = {.x = nullptr,
             .y = y.data(),
             .starts = starts.data(),
             .stops = stops.data(),
             .order = nullptr,
             .n_tasks = kTasks,
             .n_rows = std::ssize(y),
             .n_features = n_features,
             .type = kType<T>,
             .rows = {index.begins.data(), index.columns.data(), values.data()}};
  }
  SparseTable(const SparseTable&) = delete;

  // The first value of a task.
  T& first_of(std::size_t task) {
    return values[static_cast<std::size_t>(index.begins[static_cast<std::size_t>(starts[task])])];
  }

  CsrIndex index;
  std::vector<T> values, y;
  std::vector<std::int64_t> starts, stops;
  TaskTable table;
};

// Sizes of which the last has several segments.
constexpr std::int64_t kFeatures[] = {1, 6, 40, 700};

template <class T>
void test_runs(const char* type) {
  for (const Case& loss : cases()) {
    for (const std::int64_t d : kFeatures) {
      const SparseTable<T> data(d, loss);
      const std::int64_t n = d * loss.n_outputs, n_tasks = data.table.n_tasks;
      Numbers numbers(3);
      const std::vector<T> phi = numbers.vector<T>(n_tasks * n);
      std::vector<T> rates = numbers.vector<T>(n, 1.1);
      for (T& rate : rates) rate /= 8;
      std::vector<double> task_loss(data.starts.size());
      const auto name = [&](const char* what) {
        return std::string("sparse ") + what + " " + loss.name + " " + type + " " +
               std::to_string(d);
      };
      for (int i = 0; i < kTaskRules; ++i) {
        Hash hash;
        for (const auto& [batch, epochs] : {std::pair{1, 1}, {3, 2}, {300, 2}}) {
          const bool alone = batch == 1;
          std::vector<T> theta_hat(phi.size()), grad_sq(phi.size()),
              theta_bar(alone ? 0 : phi.size());
          TaskRuleArguments rule{static_cast<TaskRule>(i), {}, {0.25, 0.5, 0.125, 0.75}};
          if (alone) rule.arrays[0] = rates.data();
          Watch watch(nullptr);
          run_sparse_tasks(data.table, {loss.loss, loss.n_outputs, batch, epochs, 0}, rule,
                           phi.data(), alone ? 0 : n,
                           {theta_hat.data(), grad_sq.data(), alone ? nullptr : theta_bar.data(),
                            task_loss.data()},
                           watch);
          for (const auto& values : {theta_hat, grad_sq, theta_bar}) hash.add(values);
          hash.add(task_loss);
          if (!alone) continue;
          const SparseThetas ends = run_sparse_tasks(
              data.table, {loss.loss, loss.n_outputs, 1, 1, 0}, rule, phi.data(), 0, watch);
          hash.add(ends.begins);
          hash.add(ends.columns);
          hash.add(ends.theta_hat);
        }
        hash.print(name(kTaskRuleFacts[i].name));
      }
      Hash hash;
      for (const std::int64_t phi_stride : {std::int64_t{0}, n}) {
        Watch watch(nullptr);
        run_sparse_tasks(data.table, {loss.loss, loss.n_outputs, 1, 1, 0}, {}, phi.data(),
                         phi_stride, {nullptr, nullptr, nullptr, task_loss.data()}, watch);
        hash.add(task_loss);
      }
      std::vector<double> squares(data.y.size()), scores(data.y.size());
      const std::vector<double> start(phi.begin(), phi.begin() + d);
      measure_rows(data.table, start.data(), squares.data(), scores.data());
      hash.add(squares);
      hash.add(scores);
      hash.print(name("evaluate"));
    }
  }
}

template <class T>
void test_training(const char* type) {
  for (const Case& loss : cases()) {
    // The last has columns in two piles.
    for (const std::int64_t d : {40, 700, 5000}) {
      if (d > 700 && loss.loss != Loss::kSquared) continue;
      for (const auto& [name, made] : kLearners) {
        MetaParameters parameters = made;
        parameters.decay = 0;  // which every coordinate would have to be told of
        SparseTable<T> data(d, loss);
        data.first_of(5) = static_cast<T>(INFINITY);
        data.first_of(12) *= T(100);  // goes too far
        const std::int64_t n_tasks = data.table.n_tasks;
        Hash hash;
        std::int64_t n_skipped = 0;
        for (const std::int64_t round_size : {std::int64_t{1}, std::int64_t{7}, n_tasks}) {
          Learner<T> learner(parameters, {d * loss.n_outputs}, n_tasks);
          MetaTraining training = learner.in_rounds_of(round_size);
          training.weigh_by_rows = round_size > 1;
          training.n_visits = round_size == 1 ? 2 * n_tasks : 0;
          Watch watch(nullptr);
          meta_train_sparse(data.table, {loss.loss, loss.n_outputs, 1, 1, 0}, learner.state,
                            training, watch);
          learner.add_to(hash);
          hash.add(learner.skipped);
          n_skipped += learner.counts[1];
        }
        hash.print(std::string("sparse meta_train ") + name + " " + loss.name + " " + type + " " +
                   std::to_string(d) + " skipped " + std::to_string(n_skipped));
      }
    }
  }
}

}  // namespace

void hash_sparse() {
  test_runs<float>("float32");
  test_runs<double>("float64");
  test_training<float>("float32");
  test_training<double>("float64");
}

}  // namespace aruba_fast::test
