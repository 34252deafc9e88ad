// What many tasks say of where to start and how far to go: the parameters of the proximal rule.
#include <cmath>
#include <limits>

#include "ops_proximal.h"
#include "ops_squares.h"

namespace aruba_fast {
namespace {

// Blocks whose sums are kept apart and added in order, and how many numbers these may take.
constexpr std::int64_t kMostBlocks = 256, kMostNumbers = std::int64_t{1} << 25;
// Rates of a task whose rows say as much as the prior are one over the sum of its squared features:
// they stay within these multiples of it.
constexpr double kLeastRate = 0x1p-20, kMostRate = 0x1p30;
// Iterations, and how much the evidence of a task must grow for another one: ten times less takes
// three times as long, and predicts people no better (17 tables of persons, schools and states).
constexpr int kMostDiagonal = 100, kMostFull = 200, kMostStarts = 12;
constexpr double kGrowth = 1e-3;
// A full matrix is held at the diagonal one by a task for every 16 of its correlations: tables of
// many features want more, and those of few people (28 states) less.
constexpr double kHeld = 1.0 / 16;

// The sums of all tasks, from those of blocks that do not depend on the number of threads.
class Learning {
 public:
  // squares: the same tasks, if they are of few features under squared loss; else `condensed`, if
  // tasks had rows beside those of the table.
  Learning(const TaskTable& table, const ProximalOptions& options, SquaredTasks* squares,
           const std::int64_t* condensed, Watch& watch)
      : squares_(squares),
        condensed_(condensed),
        crew_(table, options.loss, options.n_classes, kernels().proximal_numbers, watch),
        n_(table.n_features * options.n_classes),
        n_features_(table.n_features),
        n_tasks_(table.n_tasks),
        facts_(facts_of(options.loss)),
        size_(ProximalSums(nullptr, n_, n_features_, false).size),
        n_blocks_(std::clamp(kMostNumbers / size_, std::int64_t{1},
                             std::min(kMostBlocks, table.n_tasks))),
        sums_(n_blocks_ * size_),
        root_(n_ * matrix_stride(n_)),
        low_(n_),
        high_(n_),
        prior_(n_),
        ridge_(n_),
        scratch_((2 * n_ + 3) * matrix_stride(n_)) {}

  void run(bool wants_diagonal, Population& population) {
    phi_ = population.phi;
    std::fill_n(phi_, n_, 0.0);
    std::fill_n(root_.get(), n_, 0.0);
    std::fill_n(ridge_.get(), n_, 0.0);
    add_up();
    if (*total().tasks == 0) {
      finish(wants_diagonal, population);
      return;
    }
    first_rates();
    // phi alone, until a step is short beside what tasks differ by.
    for (int i = 0; i < kMostStarts; ++i) {
      add_up();
      const double near = 1e-2 * std::sqrt(scale());
      if (update(true) < near || facts_.minimization == Minimization::kQuadratic) break;
    }
    improve(kMostDiagonal);
    if (!wants_diagonal) {
      spread_out();
      improve(kMostFull);
    }
    add_up();
    update(true);
    finish(wants_diagonal, population);
  }

 private:
  ProximalSums total() const { return {sums_.get(), n_, n_features_, diagonal_}; }

  void add_up() {
    const std::int64_t size = ProximalSums(nullptr, n_, n_features_, diagonal_).size,
                       n_items = squares_ ? squares_->n_groups() : n_tasks_,
                       block = (n_items + n_blocks_ - 1) / n_blocks_,
                       used = (n_items + block - 1) / block;
    const bool is_first = n_iterations_++ == 0;
    if (squares_) {
      squares_->run(phi_, root_.get(), diagonal_, is_first, block, sums_.get());
    } else {
      ProximalCall call{};
      call.phi = phi_;
      call.root = root_.get();
      call.diagonal = diagonal_;
      call.sums = sums_.get();
      call.condensed = condensed_;
      call.block = block;
      crew_.run("meta_fit", call, kernels().proximal);
    }
    double* const into = sums_.get();
    for (std::int64_t i = 1; i < used; ++i) {
      const double* const from = into + i * size;
      for (std::int64_t j = 0; j < size; ++j) into[j] += from[j];
    }
  }

  // One over a task's squared features.
  void first_rates() {
    const ProximalSums sums = total();
    for (std::int64_t j = 0; j < n_; ++j) {
      const double size = sums.rows[j % n_features_] / *sums.tasks,
                   first = size > 0 ? 1 / std::sqrt(size) : 0;
      root_[j] = first;
      low_[j] = first * std::sqrt(kLeastRate);
      high_[j] = first * std::sqrt(kMostRate);
    }
  }

  double scale() const {
    const ProximalSums sums = total();
    return facts_.is_of_distance && *sums.curvature > 0 ? *sums.residual / *sums.curvature : 1;
  }

  // Of all tasks; Laplace's approximation where losses are not squares. What is left of the losses
  // is the scale times their curvature, which of squares is the number of rows.
  double evidence() const {
    const ProximalSums sums = total();
    if (!facts_.is_of_distance) return -*sums.objective - 0.5 * *sums.determinant;
    return -0.5 * (*sums.determinant + *sums.count * log_positive(scale()) +
                   (*sums.curvature - *sums.count));
  }

  // Returns how long the step of phi was, in units of the rates.
  double update(bool only_phi) {
    const ProximalSums sums = total();
    double moved = 0;
    const ProximalUpdate call{.sums = sums_.get(),
                              .n = n_,
                              .diagonal = diagonal_,
                              .only_phi = only_phi,
                              .phi = phi_,
                              .root = root_.get(),
                              .ridge = ridge_.get(),
                              .tasks = *sums.tasks,
                              .scale = scale(),
                              .longest = facts_.minimization == Minimization::kQuadratic
                                             ? std::numeric_limits<double>::infinity()
                                             : kLongest * std::sqrt(scale()),
                              .low = low_.get(),
                              .high = high_.get(),
                              .prior = prior_.get(),
                              .weight = kHeld * static_cast<double>(n_ * (n_ - 1) / 2),
                              .moved = &moved,
                              .scratch = scratch_.get()};
    kernels().proximal_update(call);
    return moved;
  }

  void improve(int most) {
    double before = -std::numeric_limits<double>::infinity();
    for (int i = 0; i < most; ++i) {
      add_up();
      const double now = evidence();
      // Nothing is left of the losses: no scale, and nothing to compare rates with.
      if (!(scale() > 0) || !(now - before > kGrowth * *total().tasks)) break;
      before = now;
      update(false);
    }
  }

  // From a diagonal to a matrix, held at it.
  void spread_out() {
    const std::int64_t stride = matrix_stride(n_);
    double* const root = root_.get();
    const std::vector<double> own(root, root + n_);
    std::fill_n(root, n_ * stride, 0.0);
    for (std::int64_t j = 0; j < n_; ++j) {
      const double rate = own[static_cast<std::size_t>(j)];
      root[j * stride + j] = rate;
      prior_[j] = rate * rate;
    }
    diagonal_ = false;
  }

  void finish(bool wants_diagonal, Population& population) const {
    const ProximalSums sums = total();
    const std::int64_t stride = matrix_stride(n_);
    for (std::int64_t j = 0; j < n_; ++j) {
      if (wants_diagonal) {
        population.rates[j] = root_[j] * root_[j];
        continue;
      }
      for (std::int64_t k = 0; k <= j; ++k) {
        double sum = 0;
        for (std::int64_t i = 0; i <= k; ++i)
          sum = std::fma(root_[j * stride + i], root_[k * stride + i], sum);
        population.rates[j * n_ + k] = population.rates[k * n_ + j] = sum;
      }
    }
    population.scale = scale();
    population.evidence = evidence();
    population.n_iterations = n_iterations_;
    population.n_tasks = static_cast<std::int64_t>(*sums.tasks);
    population.n_skipped = static_cast<std::int64_t>(*sums.skipped);
  }

  // Of a loss that is not squared Newton's step is an approximation far away: in v, whose spread is
  // the root of the scale.
  static constexpr double kLongest = 4;

  SquaredTasks* const squares_;
  const std::int64_t* const condensed_;
  SolverCrew crew_;
  const std::int64_t n_, n_features_, n_tasks_;
  const LossFacts& facts_;
  const std::int64_t size_, n_blocks_;
  Numbers sums_, root_, low_, high_, prior_, ridge_, scratch_;
  double* phi_ = nullptr;
  bool diagonal_ = true;
  std::int64_t n_iterations_ = 0;
};

}  // namespace

void learn_population(const TaskTable& table, const ProximalOptions& options, bool diagonal,
                      Watch& watch, Population& population) {
  const auto learn = [&](const TaskTable& rows, SquaredTasks* squares, const std::int64_t* rest) {
    Learning(rows, options, squares, rest, watch).run(diagonal, population);
  };
  if (options.loss == Loss::kSquared && SquaredTasks::are_few(table)) {
    SquaredTasks squares(table, watch);
    return learn(table, &squares, nullptr);
  }
  if (options.loss == Loss::kSquared && CondensedRows::are_worthwhile(table)) {
    const CondensedRows few(table, watch);
    return learn(few.table(), nullptr, few.rest());
  }
  learn(table, nullptr, nullptr);
}

}  // namespace aruba_fast
