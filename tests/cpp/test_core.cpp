// Runs every kernel of the core on fixed inputs and prints one hash a case: equal output means
// equal bits, on whatever machine.
//
//   ARUBA_ISA=baseline ./test_core > a; ARUBA_ISA=avx2 ./test_core > b; cmp a b
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "hash.h"
#include "ops_step.h"

namespace aruba_fast::test {
namespace {

Array view(const char* name, void* data, Type type, std::int64_t n) {
  Array array;
  array.name = name;
  array.data = data;
  array.type = type;
  array.n_dimensions = 1;
  array.shape[0] = n;
  return array;
}

template <class T>
void test_steps(const char* type) {
  for (int i = 0; i < kStepRules; ++i) {
    const auto rule = static_cast<StepRule>(i);
    for (const std::int64_t n : {1, 7, 17, 33, 129, 70001}) {
      Numbers numbers(static_cast<std::uint64_t>(n));
      std::vector<T> theta = numbers.vector<T>(n), grad = numbers.vector<T>(n),
                     rates = numbers.vector<T>(n, 1.5), state = numbers.vector<T>(n, 1.5);
      Array at[4] = {
          view("theta", theta.data(), kType<T>, n), view("grad", grad.data(), kType<T>, n),
          view("rates", rates.data(), kType<T>, n), view("state", state.data(), kType<T>, n)};
      const std::array<std::uint16_t, 4> half = {0x3c01, 0x0003, 0xbbff, 0x7bff};
      const bool takes_array = facts_of(rule).parameters[0].takes != Takes::kNumber;
      const std::size_t n_rates = takes_array ? 1 : 0;
      step({"test",
            rule,
            {&at[0], 1},
            {&at[1], 1},
            {&at[2], n_rates},
            {&at[3], 1},
            {0, 0.25, 0.5, 0.75}});
      step({"test", rule, {&at[0], 1}, {&at[1], 1}, {}, {&at[3], 1}, {0.125, 0.5, 0.25, 0.75}});
      Hash hash;
      if constexpr (sizeof(T) == 4) {
        std::vector<std::uint16_t> halves(static_cast<std::size_t>(n));
        for (std::size_t j = 0; j < halves.size(); ++j) halves[j] = half[j % 4];
        for (const Type narrow : {Type::kFloat16, Type::kBFloat16}) {
          const Array grads = view("grad", halves.data(), narrow, n);
          step({"test",
                rule,
                {&at[0], 1},
                {&grads, 1},
                {&at[2], n_rates},
                {&at[3], 1},
                {0, 0.25, 0.5, 0.75}});
        }
        for (std::size_t j = 0; j < halves.size(); ++j) halves[j] = half[j % 2];
        const Array narrow = view("rates", halves.data(), Type::kBFloat16, n);
        if (takes_array)
          step({"test",
                rule,
                {&at[0], 1},
                {&at[1], 1},
                {&narrow, 1},
                {&at[3], 1},
                {0, 0.25, 0.5, 0.75}});
      }
      hash.add(theta);
      hash.add(state);
      hash.print(std::string(kStepFacts[i].function) + " " + type + " " + std::to_string(n));
    }
  }
}

// Adds what a run of all tasks leaves behind.
template <class T>
void add_run(Hash& hash, const Table<T>& data, const TaskOptions& options,
             const TaskRuleArguments& rule, const std::vector<T>& phi, bool has_mean) {
  const std::int64_t n_tasks = data.table.n_tasks;
  std::vector<T> theta_hat(static_cast<std::size_t>(n_tasks) * phi.size()),
      grad_sq(theta_hat.size()), theta_bar(theta_hat.size());
  std::vector<double> task_loss(static_cast<std::size_t>(n_tasks));
  Watch watch(nullptr);
  TaskEngine(data.table, options, watch)
      .run(rule, phi.data(), 0, 0, n_tasks,
           {theta_hat.data(), grad_sq.data(), has_mean ? theta_bar.data() : nullptr,
            task_loss.data()});
  for (const auto& values : {theta_hat, grad_sq, theta_bar}) hash.add(values);
  hash.add(task_loss);
}

template <class T>
void test_tasks(const char* type) {
  for (const Case& loss : cases()) {
    for (const std::int64_t d : {1, 5, 8, 13, 16, 24, 32, 37, 64, 130, 1100}) {
      const Table<T> data(d, loss);
      const std::int64_t n = d * loss.n_outputs;
      Numbers numbers(3);
      const std::vector<T> phi = numbers.vector<T>(n), rates = numbers.vector<T>(n, 1.1),
                           seconds = numbers.vector<T>(n, 1.1);
      for (int i = 0; i < kTaskRules; ++i) {
        Hash hash;
        for (const std::int64_t batch : {1, 3}) {
          for (const double radius : {0.0, 1.25 * std::sqrt(static_cast<double>(n))}) {
            TaskRuleArguments rule{static_cast<TaskRule>(i), {}, {0.25, 0.5, 0.125, 0.75}};
            if (batch == 1) rule.arrays[0] = rates.data();
            if (rule.rule == TaskRule::kArubaPlusPlus) rule.arrays[1] = seconds.data();
            add_run(hash, data, {loss.loss, loss.n_outputs, batch, 2, radius}, rule, phi,
                    radius > 0);
          }
        }
        hash.print(std::string(kTaskRuleFacts[i].name) + " " + loss.name + " " + type + " " +
                   std::to_string(d));
      }
    }
  }
}

// From weights on a simplex: exponentiated gradient, which has loops of its own, and, with a task
// whose sums are sums of sums, every rule.
template <class T>
void test_weights(const char* type) {
  for (const Case& loss : cases()) {
    for (const std::int64_t d : {1, 5, 13, 37, 130}) {
      for (const std::int64_t more : {std::int64_t{0}, kTermsTogether}) {
        const Table<T> data(d, loss, 7, more);
        std::vector<T> phi = Numbers(3).vector<T>(d * loss.n_outputs, 1.5);
        for (T& weight : phi) weight /= static_cast<T>(2 * d);
        for (int i = more > 0 ? 0 : kTaskRules; i < kHostTaskRules; ++i) {
          if (i >= kTaskRules && loss.n_outputs > 1) continue;
          Hash hash;
          for (const std::int64_t batch : {std::int64_t{1}, std::int64_t{3}, kTermsTogether + 1})
            add_run(hash, data, {loss.loss, loss.n_outputs, batch, 2, 0},
                    {static_cast<TaskRule>(i), {}, {0.125, 0.5, 0.125, 0.75}}, phi, true);
          hash.print(std::string(kTaskRuleFacts[i].name) + (more > 0 ? " long " : " ") + loss.name +
                     " " + type + " " + std::to_string(d));
        }
      }
    }
  }
}

template <class T>
void test_meta(const char* type) {
  for (const std::int64_t d : {1, 8, 37, 600}) {
    for (const auto& [name, parameters] : kLearners) {
      for (const bool proximal : {false, true}) {
        if (proximal && d == 600) continue;
        Table<T> data(d, cases()[0]);
        data.first_of(20) = static_cast<T>(INFINITY);
        data.first_of(30) *= T(100);  // goes too far
        Learner<T> learner(
            parameters,
            d == 600 ? std::vector<std::int64_t>{513, 1, 86} : std::vector<std::int64_t>{d},
            data.table.n_tasks);
        Watch watch(nullptr);
        MetaTraining training = learner.in_rounds_of(5);
        training.proximal = proximal ? 1.5 : 0;
        meta_train(data.table, {Loss::kSquared, 1, 1, 1, 0}, learner.state, training, watch);
        Hash hash;
        learner.add_to(hash);
        hash.print(std::string(proximal ? "proximal " : "") + "meta_train " + name + " " + type +
                   " " + std::to_string(d) + " skipped " + std::to_string(learner.counts[1]));
      }
    }
  }
}

// Rounds of few tasks, and of so many that they are summed in chunks.
template <class T>
void test_rounds(const char* type) {
  for (const std::int64_t d : {1, 37, 600}) {
    for (const std::int64_t n_tasks : {3, 300}) {
      for (const auto& [name, parameters] : kLearners) {
        Learner<T> learner(parameters, {d}, 0);
        Hash hash;
        for (const std::uint64_t seed : {1, 2, 3}) {
          Numbers numbers(seed);
          const std::vector<T> theta_hat = numbers.vector<T>(n_tasks * d),
                               grad_sq = numbers.vector<T>(n_tasks * d, 1);
          const std::vector<double> weights = numbers.vector<double>(n_tasks, 1.5);
          learner.state.learn("test",
                              {.theta_hat = theta_hat.data(),
                               .grad_sq = grad_sq.data(),
                               .phi = learner.phi.data(),
                               .weights = weights.data(),
                               .n_tasks = n_tasks,
                               .n = d,
                               .type = kType<T>},
                              nullptr);
          learner.add_to(hash);
        }
        hash.print(std::string("learn ") + name + " " + type + " " + std::to_string(d) + " of " +
                   std::to_string(n_tasks) + " tasks");
      }
    }
  }
}

}  // namespace
}  // namespace aruba_fast::test

int main() {
  using namespace aruba_fast::test;
  test_steps<float>("float32");
  test_steps<double>("float64");
  test_tasks<float>("float32");
  test_tasks<double>("float64");
  test_meta<float>("float32");
  test_meta<double>("float64");
  test_weights<float>("float32");
  test_weights<double>("float64");
  test_rounds<float>("float32");
  test_rounds<double>("float64");
  hash_solvers();
  hash_sparse();
  hash_row_weights();
  return 0;
}
