// Tasks that are solved and not run in steps: the least loss in hindsight and the bounds on the
// regret against it, the proximal rule and what many tasks say of its parameters.
#include <algorithm>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "hash.h"
#include "ops_hindsight.h"
#include "ops_proximal.h"

namespace aruba_fast::test {
namespace {

// Columns far from zero and of any scale, of which the last nearly repeats the first; and a task
// that is not finite.
template <class T>
void make_hard(Table<T>& data) {
  const auto d = static_cast<std::size_t>(data.table.n_features);
  for (std::size_t row = 0; row < data.x.size(); row += d) {
    T* const x = data.x.data() + row;
    for (std::size_t j = 0; j < d; ++j) x[j] *= j % 2 ? T(0x1p-12) : T(0x1p8);
    x[0] += T(0x1p10);
    if (d > 2) x[d - 1] = x[0] + x[1];
  }
  data.first_of(3) = static_cast<T>(INFINITY);
}

template <class T>
void test_hindsight(const char* type) {
  for (const Case& loss : cases()) {
    for (const std::int64_t d : {1, 5, 13, 30}) {
      for (const bool hard : {false, true}) {
        Table<T> data(d, loss, 12);
        if (hard) make_hard(data);
        const std::size_t n_tasks = data.starts.size(),
                          n = static_cast<std::size_t>(d * loss.n_outputs);
        Hash hash;
        for (const auto& [batch, epochs, radius, regularization] :
             {std::tuple{1, 1, 0.0, 0.0}, {3, 2, 0.75, 0.0}, {1, 1, 0.0, 0.25}, {4, 1, 0.5, 2.0}}) {
          std::vector<double> theta_star(n_tasks * n), least(n_tasks), gap(n_tasks);
          std::vector<std::uint8_t> no_minimizer(n_tasks);
          Watch watch(nullptr);
          best_in_hindsight(
              data.table, {loss.loss, loss.n_outputs, batch, epochs, radius, regularization, 1e-8},
              watch, {theta_star.data(), least.data(), gap.data(), no_minimizer.data()});
          for (const auto& values : {theta_star, least, gap}) hash.add(values);
          hash.add(no_minimizer);
        }
        hash.print(std::string("best_in_hindsight ") + (hard ? "hard " : "") + loss.name + " " +
                   type + " " + std::to_string(d));
      }
    }
  }
}

void test_bounds() {
  constexpr std::int64_t kTasks = 11;
  for (int i = 0; i < kBoundRules; ++i) {
    for (const std::int64_t n : {1, 8, 37, 600}) {
      Numbers numbers(static_cast<std::uint64_t>(n));
      const auto theta_star = numbers.vector<double>(kTasks * n, 1.5),
                 grad_sq = numbers.vector<double>(kTasks * n, 1),
                 phi = numbers.vector<double>(n, 1.5), rates = numbers.vector<double>(n, 1.5),
                 seconds = numbers.vector<double>(n, 1.5),
                 n_rounds = numbers.vector<double>(kTasks, 20);
      Hash hash;
      for (const bool arrays : {false, true}) {
        for (const double diameter : {-1.0, 2.5}) {
          std::vector<double> value(kTasks), d_phi(theta_star.size()),
              d_rate(arrays ? theta_star.size() : kTasks);
          BoundCall call{};
          call.theta_star = theta_star.data();
          call.phi = phi.data();
          call.grad_sq = grad_sq.data();
          call.rates = arrays ? rates.data() : nullptr;
          call.seconds = arrays ? seconds.data() : nullptr;
          call.n_rounds = n_rounds.data();
          call.rate = 0.25;
          call.second = 0.5;
          call.gradient_weight = 0.5;
          call.diameter = diameter;
          call.n = n;
          call.value = value.data();
          call.d_phi = d_phi.data();
          call.d_rate = d_rate.data();
          regret_upper_bound(static_cast<BoundRule>(i), call, kTasks);
          for (const auto& values : {value, d_phi, d_rate}) hash.add(values);
        }
      }
      hash.print(std::string("regret_upper_bound ") + kBoundNames[i] + " " + std::to_string(n));
    }
  }
}

constexpr std::int64_t kDiagonal = 0;

// Rates of which one holds its parameter, or a covariance matrix of at most this rank.
std::vector<double> rates_of(std::int64_t n, std::int64_t rank) {
  Numbers numbers(5);
  const auto size = static_cast<std::size_t>(n);
  if (rank == kDiagonal) {
    std::vector<double> rates = numbers.vector<double>(n, 1);
    if (n > 1) rates[size / 2] = 0;
    return rates;
  }
  std::vector<double> matrix(size * size);
  for (std::int64_t k = 0; k < rank; ++k) {
    const std::vector<double> direction = numbers.vector<double>(n);
    for (std::size_t i = 0; i < size; ++i)
      for (std::size_t j = 0; j < size; ++j)
        matrix[i * size + j] += direction[i] * direction[j] / static_cast<double>(rank);
  }
  return matrix;
}

template <class T>
void test_proximal(const char* type) {
  for (const Case& loss : cases()) {
    for (const std::int64_t d : {1, 5, 13, 30}) {
      const Table<T> data(d, loss, 12);
      const std::int64_t n = d * loss.n_outputs, n_tasks = data.table.n_tasks;
      const std::vector<double> phi = Numbers(3).vector<double>(n_tasks * n);
      for (const std::int64_t rank : {kDiagonal, (n + 1) / 2, n + 3}) {
        const std::vector<double> rates = rates_of(n, rank);
        Hash hash;
        for (const std::int64_t phi_stride : {std::int64_t{0}, n}) {
          std::vector<double> theta(phi.size()), grad_sq(phi.size()), at_phi(data.starts.size());
          Watch watch(nullptr);
          run_proximal(data.table, {loss.loss, loss.n_outputs}, phi.data(), phi_stride,
                       {rates.data(), n, rank == kDiagonal}, watch,
                       {theta.data(), grad_sq.data(), at_phi.data()});
          for (const auto& values : {theta, grad_sq, at_phi}) hash.add(values);
        }
        hash.print(std::string("proximal ") + loss.name + " " + type + " " + std::to_string(d) +
                   (rank == kDiagonal ? "" : " rank " + std::to_string(rank)));
      }
    }
  }
}

// Labels by parameters that tasks share, and some of which they differ in.
template <class T>
void teach(Table<T>& data, const Case& loss) {
  const std::int64_t d = data.table.n_features;
  Numbers numbers(9);
  const std::vector<double> start = numbers.vector<double>(d);
  for (std::size_t task = 0; task < data.starts.size(); ++task) {
    const std::vector<double> own = numbers.vector<double>(d);
    for (std::int64_t row = data.starts[task]; row < data.stops[task]; ++row) {
      double score = numbers.next() / 8;
      for (std::int64_t j = 0; j < d; ++j)
        score += (start[static_cast<std::size_t>(j)] +
                  static_cast<double>(j % 3) / 2 * own[static_cast<std::size_t>(j)]) *
                 static_cast<double>(data.x[static_cast<std::size_t>(row * d + j)]);
      data.y[static_cast<std::size_t>(row)] =
          static_cast<T>(label_of(loss, std::clamp(score, -1.0, 1.0)));
    }
  }
}

template <class T>
void test_population(const char* type) {
  for (const Case& loss : cases()) {
    if (facts_of(loss.loss).has_kinks) continue;  // without a curvature there is no evidence
    // The last has more tasks than there are blocks of them.
    std::vector<std::pair<std::int64_t, std::int64_t>> shapes = {{1, 17}, {4, 17}, {9, 17}};
    if (loss.loss == Loss::kSquared) shapes.emplace_back(2, 300);
    for (const auto& [d, n_tasks] : shapes) {
      for (const bool diagonal : {true, false}) {
        Table<T> data(d, loss, n_tasks);
        teach(data, loss);
        data.first_of(3) = static_cast<T>(INFINITY);
        const auto n = static_cast<std::size_t>(d * loss.n_outputs);
        std::vector<double> phi(n), rates(diagonal ? n : n * n);
        Population population{};
        population.phi = phi.data();
        population.rates = rates.data();
        Watch watch(nullptr);
        learn_population(data.table, {loss.loss, loss.n_outputs}, diagonal, watch, population);
        Hash hash;
        hash.add(phi);
        hash.add(rates);
        hash.add(std::vector{population.scale, population.evidence});
        hash.print(std::string("learn_population ") + (diagonal ? "diagonal " : "") + loss.name +
                   " " + type + " " + std::to_string(d) + " of " +
                   std::to_string(population.n_tasks) + " tasks, skipped " +
                   std::to_string(population.n_skipped) + ", passes " +
                   std::to_string(population.n_iterations));
      }
    }
  }
}

}  // namespace

void hash_solvers() {
  test_hindsight<float>("float32");
  test_hindsight<double>("float64");
  test_bounds();
  test_proximal<float>("float32");
  test_proximal<double>("float64");
  test_population<float>("float32");
  test_population<double>("float64");
}

}  // namespace aruba_fast::test
