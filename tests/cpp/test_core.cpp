// Runs every kernel of the core on fixed inputs and prints one hash a case: equal output means
// equal bits, on whatever machine.
//
//   ARUBA_ISA=baseline ./test_core > a; ARUBA_ISA=avx2 ./test_core > b; cmp a b
#include <array>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "ops_meta.h"
#include "ops_prior.h"
#include "ops_step.h"
#include "ops_tasks.h"

namespace {

using namespace aruba_fast;

// FNV-1a over the values; every nan counts as the same one, since processors differ in its sign.
class Hash {
 public:
  template <class T>
  void add(const std::vector<T>& values) {
    for (T value : values) {
      if (value != value) value = static_cast<T>(std::nan(""));
      unsigned char bytes[sizeof(T)];
      std::memcpy(bytes, &value, sizeof(T));
      if (value != value) std::memset(bytes, 0xff, sizeof(T));
      for (const unsigned char byte : bytes) hash_ = (hash_ ^ byte) * 1099511628211ULL;
    }
  }
  void print(const std::string& name) const {
    std::printf("%-48s %016llx\n", name.c_str(), static_cast<unsigned long long>(hash_));
  }

 private:
  std::uint64_t hash_ = 14695981039346656037ULL;
};

// The same numbers in [-1, 1) on every machine.
class Numbers {
 public:
  explicit Numbers(std::uint64_t seed) : state_(seed) {}
  double next() {
    state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
    return static_cast<double>(static_cast<std::int64_t>(state_) >> 11) / 4503599627370496.0;
  }
  template <class T>
  std::vector<T> vector(std::int64_t n, double shift = 0) {
    std::vector<T> values(static_cast<std::size_t>(n));
    for (T& value : values) value = static_cast<T>(next() + shift);
    return values;
  }

 private:
  std::uint64_t state_;
};

template <class T>
constexpr Type kType = sizeof(T) == 8 ? Type::kFloat64 : Type::kFloat32;

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
      step(
          {"test", rule, {&at[0], 1}, {&at[1], 1}, {&at[2], 1}, {&at[3], 1}, {0, 0.25, 0.5, 0.75}});
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
                {&at[2], 1},
                {&at[3], 1},
                {0, 0.25, 0.5, 0.75}});
        }
      }
      hash.add(theta);
      hash.add(state);
      hash.print(std::string(kStepFacts[i].function) + " " + type + " " + std::to_string(n));
    }
  }
}

struct Case {
  Loss loss;
  const char* name;
  std::int64_t n_outputs;
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const LossFacts& facts : kLossFacts)
    all.push_back({static_cast<Loss>(&facts - kLossFacts), facts.name, facts.has_classes ? 3 : 1});
  return all;
}

// One of the loss's labels for u in [-1, 1).
double label_of(const Case& of, double u) {
  if (of.n_outputs > 1) return u < -0.3 ? 0 : u < 0.3 ? 1 : 2;
  for (const double label : {4 * u, u > 0 ? 1.0 : -1.0})
    if (is_label(of.loss, label, 1)) return label;
  return u > 0;
}

// Ragged tasks with labels for `loss`.
template <class T>
struct Table {
  Table(std::int64_t n_features, const Case& loss) {
    std::int64_t n_rows = 0;
    for (std::int64_t task = 0; task < 41; ++task) {
      starts.push_back(n_rows);
      n_rows += 1 + task * task % 23;
      stops.push_back(n_rows);
    }
    Numbers numbers(7);
    x = numbers.vector<T>(n_rows * n_features);
    for (std::int64_t i = 0; i < n_rows; ++i)
      y.push_back(static_cast<T>(label_of(loss, numbers.next())));
    table = {x.data(), y.data(), starts.data(), stops.data(), nullptr,
             41,       n_rows,   n_features,    kType<T>};
  }

  std::vector<T> x, y;
  std::vector<std::int64_t> starts, stops;
  TaskTable table;
};

template <class T>
void test_tasks(const char* type) {
  for (const Case& loss : cases()) {
    for (const std::int64_t d : {1, 5, 8, 13, 16, 24, 32, 37, 64, 130, 1100}) {
      Table<T> data(d, loss);
      const std::int64_t n = d * loss.n_outputs, n_tasks = data.table.n_tasks;
      Numbers numbers(3);
      const std::vector<T> phi = numbers.vector<T>(n), rates = numbers.vector<T>(n, 1.1),
                           seconds = numbers.vector<T>(n, 1.1);
      for (int i = 0; i < kTaskRules; ++i) {
        Hash hash;
        for (const std::int64_t batch : {1, 3}) {
          for (const double radius : {0.0, 1.25 * std::sqrt(static_cast<double>(n))}) {
            std::vector<T> theta_hat(static_cast<std::size_t>(n_tasks * n)),
                grad_sq(theta_hat.size()), theta_bar(theta_hat.size());
            std::vector<double> task_loss(static_cast<std::size_t>(n_tasks));
            Watch watch(nullptr);
            const TaskOptions options{loss.loss, loss.n_outputs, batch, 2, radius};
            TaskRuleArguments arguments{static_cast<TaskRule>(i), {}, {0.25, 0.5, 0.125, 0.75}};
            if (batch == 1) arguments.arrays[0] = rates.data();
            if (arguments.rule == TaskRule::kArubaPlusPlus) arguments.arrays[1] = seconds.data();
            TaskEngine(data.table, options, watch)
                .run(arguments, phi.data(), 0, 0, n_tasks,
                     {theta_hat.data(), grad_sq.data(), radius > 0 ? theta_bar.data() : nullptr,
                      task_loss.data()});
            hash.add(theta_hat);
            hash.add(grad_sq);
            hash.add(theta_bar);
            hash.add(task_loss);
          }
        }
        hash.print(std::string(kTaskRuleFacts[i].name) + " " + loss.name + " " + type + " " +
                   std::to_string(d));
      }
    }
  }
}

const std::pair<const char*, MetaParameters> kLearners[] = {
    {"a rate each", {0.01, 1.0, 0.4, 0.01, INFINITY, false, false, false}},
    {"isotropic", {0.01, 1.0, 0.4, 0.01, INFINITY, true, false, false}},
    {"average task", {0.01, 1.0, 1.0, 0, INFINITY, false, true, false}},
    {"average task, tight", {0.01, 1.0, 1.0, 0.01, 0.5, false, true, true}},
    {"average task, isotropic", {0.01, 1.0, 1.0, 0, INFINITY, true, true, false}}};

template <class T>
void test_meta(const char* type) {
  for (const std::int64_t d : {1, 8, 37, 600}) {
    for (const auto& [name, parameters] : kLearners) {
      Table<T> data(d, cases()[0]);
      const std::size_t n = static_cast<std::size_t>(d);
      const double start = parameters.average_task ? 0 : 1;
      std::vector<double> phi_master(n), b(n, start), g(n, start), rho(n), weight(2), loss(41),
          limit(1, INFINITY);
      std::vector<T> phi(n), rates(n, T(0.01));
      std::vector<std::int64_t> counts(2);
      const std::vector<std::int64_t> table =
          d == 600 ? tensor_table({513, 1, 86}) : tensor_table({d});
      std::vector<std::uint8_t> skipped(41);
      data.x[static_cast<std::size_t>(data.starts[20] * d)] = static_cast<T>(INFINITY);
      data.x[static_cast<std::size_t>(data.starts[30] * d)] *= T(100);  // goes too far
      MetaState state{.phi_master = phi_master.data(),
                      .b = b.data(),
                      .g = g.data(),
                      .rho = rho.data(),
                      .phi = phi.data(),
                      .rates = rates.data(),
                      .n_tasks = &counts[0],
                      .n_skipped = &counts[1],
                      .weight_high = &weight[0],
                      .weight_low = &weight[1],
                      .limit = limit.data(),
                      .n = d,
                      .type = kType<T>,
                      .parameters = parameters,
                      .tensors = {table.data(), std::ssize(table) / 2 - 1}};
      Watch watch(nullptr);
      meta_train(data.table, {Loss::kSquared, 1, 1, 1, 0}, state,
                 {5, true, nullptr, nullptr, loss.data(), skipped.data()}, watch);
      Hash hash;
      for (const auto& values : {phi_master, b, g, rho, weight, loss, limit}) hash.add(values);
      hash.add(phi);
      hash.add(rates);
      hash.print(std::string("meta_train ") + name + " " + type + " " + std::to_string(d) +
                 " skipped " + std::to_string(counts[1]));
    }
  }
}

}  // namespace

int main() {
  test_steps<float>("float32");
  test_steps<double>("float64");
  test_tasks<float>("float32");
  test_tasks<double>("float64");
  test_meta<float>("float32");
  test_meta<double>("float64");
  return 0;
}
