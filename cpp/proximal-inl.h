// The proximal rule of a task,
//
//   theta = argmin sum_i l(<theta, x_i>, y_i) + |theta - phi|^2_{H^-1} / 2,    H = L L^T,
//
// and what tasks leave behind for whoever learns phi and H. In the coordinates v of
// theta = phi + L v the penalty is |v|^2 / 2, so that a rate of zero holds its coordinate at phi.
#pragma once

#include "hindsight-interior-inl.h"
#include "proximal-newton-inl.h"

namespace aruba_fast::ARUBA_ISA {

inline bool is_kinked(Loss loss) { return facts_of(loss).has_kinks; }

class ProximalTask {
 public:
  ProximalTask(const ProximalCall& call, std::int64_t task)
      : p_(call, call.stops[task] - call.starts[task]), newton_(p_), task_(task) {}

  template <class T>
  void run(const ProximalSums* sums) {
    const bool sound = p_.read<T>(task_) && minimize();
    if (sums) add_to(*sums, sound);
    write(sound);
  }

 private:
  static constexpr double kTolerance = 1e-10;  // of the gap, where there are kinks

  bool minimize() {
    if (!is_kinked(p_.call.loss_kind)) return newton_.minimize();
    newton_.start();
    interior_point();
    return true;
  }

  // Of a loss with kinks, whose labels take the scores of phi: leaves p.v, and the dual as p.slope.
  void interior_point() {
    HindsightCall call{};
    call.n_features = p_.d;
    call.n_classes = 1;
    call.loss_kind = p_.call.loss_kind;
    call.stop = p_.call.stop;
    call.poll = p_.call.poll;
    call.poll_context = p_.call.poll_context;
    call.scratch = p_.call.scratch + p_.size;
    Problem problem(call, p_.m, p_.d);
    for (std::int64_t i = 0; i < p_.mp; ++i) {
      problem.label[i] = p_.y[i];
      problem.y[i] = p_.y[i] - p_.start[i];
      problem.w[i] = i < p_.m ? p_.weight[i] : 0;
    }
    problem.use(p_.d, p_.design);
    problem.ridge = 1;
    InteriorPoint(problem).minimize(kTolerance);
    copy(p_.n, problem.u, p_.v);
    copy(p_.m, problem.dual, p_.slope);
  }

  // Rows of squared losses that are not there, for others have their losses.
  double condensed() const {
    return p_.call.condensed ? static_cast<double>(p_.call.condensed[task_]) : 0;
  }

  // The scale of the task's losses: of squared ones what is left of them for each row, as if rows
  // were Gaussian, their variance the scale over their weight; 1 where the loss is the logarithm of
  // a probability.
  bool has_scale() const { return p_.facts.is_of_distance; }
  double residual() const {
    double sum = dot(p_.v, p_.v, p_.n);
    for (std::int64_t i = 0; i < p_.m; ++i)
      sum = aruba_fast::fma(p_.slope[i] / p_.weight[i], p_.slope[i], sum);
    return sum;
  }
  double curvature() const {
    double sum = condensed();
    for (std::int64_t i = 0; i < p_.m; ++i) sum += p_.curvature[i] / p_.weight[i];
    return sum;
  }

  void add_to(const ProximalSums& sums, bool sound) {
    if (!sound) {
      ++*sums.skipped;
      return;
    }
    ++*sums.tasks;
    *sums.count += static_cast<double>(p_.m) + condensed();
    newton_.factorize();
    const std::int64_t n = p_.n, k = newton_.by_rows() ? newton_.n_scores() : n;
    axpy(n, 1, p_.v, sums.v);
    if (p_.call.diagonal) {
      over(n, [&](std::int64_t j) {
        store(sums.square + j, fma(load(p_.v + j), load(p_.v + j), load(sums.square + j)));
      });
    } else {
      const double one = 1;
      add_outer<1>(p_.v, p_.np, &one, n, sums.square, matrix_stride(n), true);
    }
    for (std::int64_t i = 0; i < p_.m; ++i) {
      const Doubles weight(p_.weight[i]);
      over(p_.d, [&](std::int64_t j) {
        const Doubles x = load(p_.x + i * p_.dp + j);
        store(sums.rows + j, fma(weight * x, x, load(sums.rows + j)));
      });
    }
    for (std::int64_t r = 0; r < k; ++r)
      *sums.determinant += 2 * log_positive(p_.matrix[r * matrix_stride(k) + r]);
    add_known(sums.known, k);
    *sums.objective += newton_.objective();
    if (has_scale()) {
      *sums.residual += residual();
      *sums.curvature += curvature();
    }
  }

  // known += S (I + S)^-1: by rows F^T F with C F = sqrt(W) A, else I - Z^T Z with C Z = I.
  void add_known(double* known, std::int64_t k) {
    const std::int64_t n = p_.n, stride = matrix_stride(n);
    if (!newton_.by_rows())
      for (std::int64_t r = 0; r < n; ++r) {
        fill(n, 0, p_.scaled + r * p_.np);
        p_.scaled[r * p_.np + r] = 1;
        known[r * stride + r] += 1;
      }
    const double sign = newton_.by_rows() ? 1 : -1;
    solve_rows(k, p_.scaled, !newton_.by_rows());
    add_gram(p_.scaled, p_.np, &sign, 0, k, n, known, stride, p_.stop());
  }

  // rows := C^-1 rows, k of them, of p.np numbers. Of a triangle row r ends at r.
  void solve_rows(std::int64_t k, double* rows, bool is_triangle) {
    for (std::int64_t r = 0; r < k && !p_.stopped_after(p_.n * (p_.n / 2 + r)); ++r) {
      double* const own = rows + r * p_.np;
      const double* const factor = p_.matrix + r * matrix_stride(k);
      for (std::int64_t s = 0; s < r; ++s)
        axpy(is_triangle ? s + 1 : p_.n, -factor[s], rows + s * p_.np, own);
      const Doubles inverse(1 / factor[r]);
      over(p_.n, [&](std::int64_t j) { store(own + j, load(own + j) * inverse); });
    }
  }

  void write(bool sound) {
    const ProximalCall& call = p_.call;
    const double nan = __builtin_nan("");
    if (call.loss) call.loss[task_] = sound ? newton_.at_phi() : nan;
    if (call.grad_sq) {
      double* const to = call.grad_sq + task_ * p_.n;
      if (sound) write_grad_sq(to);
      else
        for (std::int64_t j = 0; j < p_.n; ++j) to[j] = nan;
    }
    if (!call.theta) return;
    double* const to = call.theta + task_ * p_.n;
    if (sound) return p_.expand(call.phi + task_ * call.phi_stride, p_.v, to);
    for (std::int64_t j = 0; j < p_.n; ++j) to[j] = nan;
  }

  // What squared gradients are for descent: the diagonal of scale * S (I + H S)^-1, S = X^T W X. Of
  // losses with kinks, which have no curvature, the squares of their slopes.
  void write_grad_sq(double* to) {
    if (is_kinked(p_.call.loss_kind)) {
      for (std::int64_t j = 0; j < p_.n; ++j) {
        to[j] = 0;
        for (std::int64_t i = 0; i < p_.m; ++i) {
          const double slope = p_.slope[i] * p_.x[i * p_.dp + j];
          to[j] = aruba_fast::fma(slope, slope, to[j]);
        }
      }
      return;
    }
    newton_.factorize();
    double scale = 1;
    if (has_scale()) {
      const double weight = curvature();
      scale = residual() / (weight > 1 ? weight : 1);
    }
    fill(p_.n, 0, p_.step);
    newton_.by_rows() ? left_by_rows() : left_by_parameters();
    for (std::int64_t j = 0; j < p_.n; ++j) to[j] = p_.step[j] > 0 ? scale * p_.step[j] : 0;
  }

  // p.step += sign times the squares of a row.
  void add_squares(double sign, const double* row) {
    over(p_.n, [&](std::int64_t j) {
      const Doubles x = load(row + j);
      store(p_.step + j, fma(Doubles(sign) * x, x, load(p_.step + j)));
    });
  }

  // The diagonal of S_x^T (I + S S^T)^-1 S_x, S_x being S in the parameters themselves.
  void left_by_rows() {
    for (std::int64_t c = 0; c < p_.q; ++c)
      for (std::int64_t i = 0; i < p_.m; ++i)
        scaled_features(c, i, p_.scaled + (c * p_.m + i) * p_.np);
    solve_rows(newton_.n_scores(), p_.scaled, false);
    for (std::int64_t r = 0; r < newton_.n_scores(); ++r) add_squares(1, p_.scaled + r * p_.np);
  }

  // The same as that of S_x^T S_x - S_x^T S (I + S^T S)^-1 S^T S_x; S^T S_x takes the place of the
  // design, which has more rows.
  void left_by_parameters() {
    double* const product = p_.design;
    fill(p_.n * p_.np, 0, product);
    for (std::int64_t c = 0; c < p_.q; ++c)
      for (std::int64_t i = 0; i < p_.m && !p_.stopped_after(p_.n * p_.n); ++i) {
        scaled_features(c, i, p_.trial);
        const double* const own = p_.scaled + (c * p_.m + i) * p_.np;
        for (std::int64_t k = 0; k < p_.n; ++k) axpy(p_.n, own[k], p_.trial, product + k * p_.np);
        add_squares(1, p_.trial);
      }
    solve_rows(p_.n, product, false);
    for (std::int64_t r = 0; r < p_.n; ++r) add_squares(-1, product + r * p_.np);
  }

  // Row (c, i) of S_x: sqrt(W) x, of the softmax sqrt(w p_c) (e_c - p) (x) x.
  void scaled_features(std::int64_t c, std::int64_t i, double* to) const {
    const double root = p_.root_of_curvature(c, i);
    fill(p_.n, 0, to);
    for (std::int64_t k = 0; k < p_.q; ++k) {
      const double other = p_.facts.has_classes ? p_.curvature[k * p_.mp + i] : 0,
                   weight = root * ((k == c ? 1 : 0) - other);
      for (std::int64_t j = 0; j < p_.d; ++j) to[k * p_.d + j] = weight * p_.x[i * p_.dp + j];
    }
  }

  ProximalProblem p_;
  ProximalNewton newton_;
  const std::int64_t task_;
};

template <class T>
void proximal(const ProximalCall& call) {
  const std::int64_t n = call.n_classes * call.n_features;
  std::int64_t work = 0;  // since somebody looked whether to stop, in multiplications
  while (!__atomic_load_n(call.stop, __ATOMIC_RELAXED)) {
    const std::int64_t block = __atomic_fetch_add(call.next, 1, __ATOMIC_RELAXED),
                       first = block * call.block;
    if (first >= call.n_tasks) return;
    const std::int64_t last = first + call.block < call.n_tasks ? first + call.block : call.n_tasks;
    const std::int64_t size = ProximalSums(nullptr, n, call.n_features, call.diagonal).size;
    double* const base = call.sums ? call.sums + block * size : nullptr;
    if (base) fill(size, 0, base);
    const ProximalSums sums(base, n, call.n_features, call.diagonal);
    for (std::int64_t task = first; task < last; ++task) {
      work += n * (n + call.stops[task] - call.starts[task]);
      if (call.poll && work > (std::int64_t{1} << 16)) {
        call.poll(call.poll_context);
        work = 0;
      }
      if (__atomic_load_n(call.stop, __ATOMIC_RELAXED)) return;
      ProximalTask(call, task).run<T>(base ? &sums : nullptr);
    }
  }
}

inline std::int64_t proximal_numbers(std::int64_t n_rows, std::int64_t n_features,
                                     std::int64_t n_classes, Loss loss) {
  const std::int64_t own = ProximalMemory(nullptr, n_rows, n_features, n_classes).size;
  if (!is_kinked(loss)) return own;
  return own + HindsightMemory(nullptr, n_rows, n_features, 1, n_features).size;
}

}  // namespace aruba_fast::ARUBA_ISA
