// Rows that count more than once, or less: everything that reads a table of tasks.
#include <string>
#include <vector>

#include "hash.h"
#include "ops_hindsight.h"
#include "ops_proximal.h"
#include "ops_sparse.h"

namespace aruba_fast::test {
namespace {

template <class T>
class RowWeights {
 public:
  RowWeights(const Case& loss, std::int64_t d, const char* type)
      : loss_(loss),
        name_(std::string(" ") + loss.name + " " + type + " " + std::to_string(d)),
        d_(d),
        n_(d * loss.n_outputs),
        data_(d, loss, 12),
        row_weights_(Numbers(13).vector<double>(data_.table.n_rows, 1.25)) {
    data_.table.row_weights = row_weights_.data();
  }

  void run() {
    engine();
    solvers();
    online();
    sparse();
  }

 private:
  std::size_t n_tasks() const { return data_.starts.size(); }
  void print(const Hash& hash, const char* what) const {
    hash.print(std::string("row weights, ") + what + name_);
  }

  void engine() {
    for (int i = 0; i < kHostTaskRules; ++i) {
      if (i >= kTaskRules && loss_.n_outputs > 1) continue;
      std::vector<T> phi = Numbers(3).vector<T>(n_, 1.5);
      for (T& each : phi) each /= static_cast<T>(2 * d_);
      Hash hash;
      for (const std::int64_t batch : {1, 3}) {
        std::vector<T> theta_hat(n_tasks() * phi.size()), grad_sq(theta_hat.size());
        std::vector<double> losses(n_tasks());
        Watch watch(nullptr);
        TaskEngine(data_.table, {loss_.loss, loss_.n_outputs, batch, 2, 0}, watch)
            .run({static_cast<TaskRule>(i), {}, {0.125, 0.5, 0.125, 0.75}}, phi.data(), 0, 0,
                 data_.table.n_tasks, {theta_hat.data(), grad_sq.data(), nullptr, losses.data()});
        for (const auto& values : {theta_hat, grad_sq}) hash.add(values);
        hash.add(losses);
      }
      print(hash, kTaskRuleFacts[i].name);
    }
  }

  void solvers() {
    const auto size = n_tasks() * static_cast<std::size_t>(n_);
    std::vector<double> theta(size), other(n_tasks()), gap(n_tasks()), grad_sq(size);
    std::vector<std::uint8_t> no_minimizer(n_tasks());
    Watch watch(nullptr);
    Hash best, near;
    best_in_hindsight(data_.table, {loss_.loss, loss_.n_outputs, 3, 1, 0.75, 0.25, 1e-8}, watch,
                      {theta.data(), other.data(), gap.data(), no_minimizer.data()});
    for (const auto& values : {theta, other, gap}) best.add(values);
    print(best, "best_in_hindsight");
    const std::vector<double> phi = Numbers(3).vector<double>(n_),
                              rates = Numbers(5).vector<double>(n_, 1);
    run_proximal(data_.table, {loss_.loss, loss_.n_outputs}, phi.data(), 0,
                 {rates.data(), n_, true}, watch, {theta.data(), grad_sq.data(), other.data()});
    for (const auto& values : {theta, grad_sq, other}) near.add(values);
    print(near, "proximal");
    if (facts_of(loss_.loss).has_kinks) return;
    Hash fit;
    std::vector<double> start(phi.size()), learned(phi.size() * phi.size());
    Population population{};
    population.phi = start.data();
    population.rates = learned.data();
    learn_population(data_.table, {loss_.loss, loss_.n_outputs}, false, watch, population);
    for (const auto& values : {start, learned}) fit.add(values);
    fit.add(std::vector{population.scale, population.evidence});
    print(fit, "learn_population");
  }

  void online() {
    for (const bool proximal : {false, true}) {
      Learner<T> learner(kLearners[2].second, {n_}, data_.table.n_tasks);
      MetaTraining training = learner.in_rounds_of(5);
      training.proximal = proximal ? 1.5 : 0;
      Watch watch(nullptr);
      meta_train(data_.table, {loss_.loss, loss_.n_outputs, 1, 1, 0}, learner.state, training,
                 watch);
      Hash hash;
      learner.add_to(hash);
      print(hash, proximal ? "proximal meta_train" : "meta_train");
    }
  }

  // The same rows in CSR form.
  void sparse() {
    std::vector<std::int64_t> begins = {0}, columns;
    for (std::int64_t row = 0; row < data_.table.n_rows; ++row) {
      for (std::int64_t j = 0; j < d_; ++j) columns.push_back(j);
      begins.push_back(std::ssize(columns));
    }
    const CsrIndex index = read_csr("test", begins.data(), data_.table.n_rows, columns.data(),
                                    std::ssize(columns), d_);
    TaskTable table = data_.table;
    table.x = nullptr;
    table.rows = {index.begins.data(), index.columns.data(), data_.x.data()};
    Learner<T> learner(kLearners[2].second, {n_}, table.n_tasks);
    Watch watch(nullptr);
    meta_train(table, {loss_.loss, loss_.n_outputs, 1, 1, 0}, learner.state,
               learner.in_rounds_of(5), watch);
    Hash hash;
    learner.add_to(hash);
    std::vector<double> losses(n_tasks());
    run_sparse_tasks(table, {loss_.loss, loss_.n_outputs, 1, 1, 0}, {}, learner.phi.data(), 0,
                     {nullptr, nullptr, nullptr, losses.data()}, watch);
    hash.add(losses);
    const auto size = n_tasks() * static_cast<std::size_t>(n_);
    std::vector<double> theta(size), grad_sq(size);
    const std::vector<double> phi = Numbers(3).vector<double>(n_),
                              rates = Numbers(5).vector<double>(n_, 1);
    run_sparse_proximal(table, {loss_.loss, loss_.n_outputs}, phi.data(), 0,
                        {rates.data(), n_, true}, watch,
                        {theta.data(), grad_sq.data(), losses.data()});
    for (const auto& values : {theta, grad_sq, losses}) hash.add(values);
    print(hash, "sparse");
  }

  const Case loss_;
  const std::string name_;
  const std::int64_t d_, n_;
  Table<T> data_;
  const std::vector<double> row_weights_;
};

}  // namespace

void hash_row_weights() {
  for (const Case& loss : cases()) {
    for (const std::int64_t d : {3, 13}) {
      RowWeights<float>(loss, d, "float32").run();
      RowWeights<double>(loss, d, "float64").run();
    }
  }
}

}  // namespace aruba_fast::test
