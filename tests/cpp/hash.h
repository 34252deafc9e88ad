// What the cases of test_core are made of: numbers, tables of tasks and learners that are the same
// on every machine, and hashes of results. Inputs come of integers and of operations that are
// rounded correctly, for a library's exp or pow may differ in a last digit.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "ops_meta.h"
#include "ops_prior.h"
#include "ops_tasks.h"

namespace aruba_fast::test {

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
  // From 0 to n - 1.
  std::int64_t below(std::int64_t n) {
    return static_cast<std::int64_t>((next() + 1) / 2 * static_cast<double>(n));
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

struct Case {
  Loss loss;
  const char* name;
  std::int64_t n_outputs;
};

inline std::vector<Case> cases() {
  std::vector<Case> all;
  for (const LossFacts& facts : kLossFacts)
    all.push_back({static_cast<Loss>(&facts - kLossFacts), facts.name, facts.has_classes ? 3 : 1});
  return all;
}

// One of the loss's labels for u in [-1, 1).
inline double label_of(const Case& of, double u) {
  if (of.n_outputs > 1) return u < -0.3 ? 0 : u < 0.3 ? 1 : 2;
  for (const double label : {4 * u, u > 0 ? 1.0 : -1.0})
    if (is_label(of.loss, label, 1)) return label;
  return u > 0;
}

// Ragged tasks of 1 to 23 rows with labels for `loss`; the last one has `more` rows.
template <class T>
struct Table {
  Table(std::int64_t n_features, const Case& loss, std::int64_t n_tasks = 41,
        std::int64_t more = 0) {
    std::int64_t n_rows = 0;
    for (std::int64_t task = 0; task < n_tasks; ++task) {
      starts.push_back(n_rows);
      n_rows += 1 + task * task % 23 + (task + 1 == n_tasks ? more : 0);
      stops.push_back(n_rows);
    }
    Numbers numbers(7);
    x = numbers.vector<T>(n_rows * n_features);
    for (std::int64_t i = 0; i < n_rows; ++i)
      y.push_back(static_cast<T>(label_of(loss, numbers.next())));
    table = {x.data(), y.data(), starts.data(), stops.data(), nullptr,
             n_tasks,  n_rows,   n_features,    kType<T>};
  }
  Table(const Table&) = delete;

  // The first number of a task's first row.
  T& first_of(std::int64_t task) {
    return x[static_cast<std::size_t>(starts[static_cast<std::size_t>(task)] * table.n_features)];
  }

  std::vector<T> x, y;
  std::vector<std::int64_t> starts, stops;
  TaskTable table;
};

inline const std::pair<const char*, MetaParameters> kLearners[] = {
    {"a rate each", {0.01, 1.0, 0.4, 0.01, INFINITY, false, false, false}},
    {"isotropic", {0.01, 1.0, 0.4, 0.01, INFINITY, true, false, false}},
    {"average task", {0.01, 1.0, 1.0, 0, INFINITY, false, true, false}},
    {"average task, tight", {0.01, 1.0, 1.0, 0.01, 0.5, false, true, true}},
    {"average task, isotropic", {0.01, 1.0, 1.0, 0, INFINITY, true, true, false}}};

// A learner that has seen nothing, and what its tasks lost.
template <class T>
struct Learner {
  // `sizes`: of the tensors that the parameters are.
  Learner(const MetaParameters& parameters, const std::vector<std::int64_t>& sizes,
          std::int64_t n_tasks)
      : tensors(tensor_table(sizes)),
        loss(static_cast<std::size_t>(n_tasks)),
        skipped(static_cast<std::size_t>(n_tasks)) {
    std::int64_t n = 0;
    for (const std::int64_t size : sizes) n += size;
    const double start = parameters.average_task ? 0 : 1;
    for (auto* part : {&phi_master, &rho}) part->assign(static_cast<std::size_t>(n), 0);
    for (auto* part : {&b, &g}) part->assign(static_cast<std::size_t>(n), start);
    phi.assign(static_cast<std::size_t>(n), T(0));
    rates.assign(static_cast<std::size_t>(n), T(0.01));
    state = {.phi_master = phi_master.data(),
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
             .n = n,
             .type = kType<T>,
             .parameters = parameters,
             .tensors = {tensors.data(), std::ssize(sizes)}};
  }
  Learner(const Learner&) = delete;

  MetaTraining in_rounds_of(std::int64_t n_tasks) {
    return {n_tasks, true, nullptr, nullptr, loss.data(), skipped.data()};
  }
  void add_to(Hash& hash) const {
    for (const auto& values : {phi_master, b, g, rho, weight, loss, limit}) hash.add(values);
    hash.add(phi);
    hash.add(rates);
  }

  std::vector<std::int64_t> tensors, counts = {0, 0};
  std::vector<double> loss, phi_master, b, g, rho, weight = {0, 0}, limit = {INFINITY};
  std::vector<T> phi, rates;
  std::vector<std::uint8_t> skipped;
  MetaState state;
};

// Cases of a file of their own.
void hash_solvers();
void hash_sparse();
void hash_row_weights();

}  // namespace aruba_fast::test
