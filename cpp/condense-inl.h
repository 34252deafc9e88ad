// The rows of tasks under squared loss, of a task of many as few that have the same losses: with
// [X y] = Q R the sum of squares (X theta - y)^2 is that of R's rows, for every theta.
#pragma once

#include "solver_task-inl.h"

namespace aruba_fast::ARUBA_ISA {

// R of rows that come block by block, by Householder's reflections; a block and R stay in a cache,
// whatever the number of rows.
class Triangle {
 public:
  static constexpr std::int64_t kRows = 64;  // of a block

  // Of rows of n numbers; `memory` holds numbers(n) of them.
  Triangle(double* memory, std::int64_t n)
      : n_(n),
        stride_(padded(n)),
        triangle_(memory),
        sum_(triangle_ + n * stride_),
        column_(sum_ + stride_),
        block_(column_ + kRows) {
    fill(n * stride_, 0, triangle_);
  }
  static std::int64_t numbers(std::int64_t n) { return (n + 1 + kRows) * padded(n) + kRows; }

  // Row i of the block that comes next, to be filled in, padded with zeros.
  double* row(std::int64_t i) { return block_ + i * stride_; }
  const double* of_triangle(std::int64_t i) const { return triangle_ + i * stride_; }

  // Takes in the first m rows of the block.
  void add(std::int64_t m) {
    for (std::int64_t k = 0; k < n_; ++k) {
      for (std::int64_t i = 0; i < m; ++i) column_[i] = row(i)[k];
      for (std::int64_t i = m; i < padded(m); ++i) column_[i] = 0;
      reflect(k, m);
    }
  }

 private:
  // Takes column k of the block to zero: I - tau v v^T, v = (head, column), of row k and the block.
  void reflect(std::int64_t k, std::int64_t m) {
    // What lies before the diagonal is not looked at any more.
    const std::int64_t first = k / kPad * kPad, width = n_ - first;
    double* const own = triangle_ + k * stride_ + first;
    const double pivot = own[k - first], below = dot(column_, column_, m);
    if (below == 0) return;
    const double norm = aruba_fast::sqrt(aruba_fast::fma(pivot, pivot, below)),
                 head = pivot < 0 ? pivot - norm : pivot + norm,
                 tau = 1 / (norm * (norm + aruba_fast::abs(pivot)));
    double* const sum = sum_ + first;
    fill(width, 0, sum);
    axpy(width, head, own, sum);
    for (std::int64_t i = 0; i < m; ++i) axpy(width, column_[i], row(i) + first, sum);
    axpy(width, -tau * head, sum, own);
    for (std::int64_t i = 0; i < m; ++i) axpy(width, -tau * column_[i], sum, row(i) + first);
  }

  const std::int64_t n_, stride_;
  double *const triangle_, *const sum_, *const column_, *const block_;
};

template <class T>
class Condensing {
 public:
  explicit Condensing(const CondenseCall& call)
      : call_(call), d_(call.n_features), stopping_(call) {}

  void run() {
    while (!stopping_.asked()) {
      const std::int64_t task = __atomic_fetch_add(call_.next, 1, __ATOMIC_RELAXED);
      if (task >= call_.n_tasks) return;
      const std::int64_t n_rows = call_.stops[task] - call_.starts[task];
      if (call_.to[task + 1] - call_.to[task] < n_rows) condense(task);
      else copy_rows(task);
      stopping_.stopped_after(n_rows * d_);
    }
  }

 private:
  double weight(std::int64_t row) const { return call_.row_weights ? call_.row_weights[row] : 1; }
  double* x_at(std::int64_t row) const { return call_.x_out + row * d_; }

  // A row times `scale`; returns nan where it is not finite, else zero.
  double read(std::int64_t row, double scale, double* x, double& y) const {
    double any = 0;
    over_row<T>(call_.x, call_.widening, row, d_,
                [&](std::int64_t j, std::int64_t n, const T* from) {
                  for (std::int64_t k = 0; k < n; ++k) {
                    const double value = static_cast<double>(from[k]);
                    any += value - value;
                    x[j + k] = scale * value;
                  }
                });
    const double label = static_cast<double>(static_cast<const T*>(call_.y)[row]);
    y = scale * label;
    return any + (label - label);
  }

  void copy_rows(std::int64_t task) const {
    std::int64_t to = call_.to[task];
    for (std::int64_t row = call_.starts[task]; row < call_.stops[task]; ++row, ++to) {
      const double root = aruba_fast::sqrt(weight(row));
      read(row, root, x_at(to), call_.y_out[to]);
    }
  }

  void condense(std::int64_t task) {
    Triangle triangle(call_.scratch, d_ + 1);
    double any = 0;
    std::int64_t row = call_.starts[task];
    const std::int64_t stop = call_.stops[task];
    while (row < stop) {
      const std::int64_t m = stop - row < Triangle::kRows ? stop - row : Triangle::kRows;
      for (std::int64_t i = 0; i < m; ++i, ++row) {
        double* const to = triangle.row(i);
        any += read(row, aruba_fast::sqrt(weight(row)), to, to[d_]);
        for (std::int64_t j = d_ + 1; j < padded(d_ + 1); ++j) to[j] = 0;
      }
      triangle.add(m);
      if (stopping_.stopped_after(2 * m * d_ * d_)) return;
    }
    for (std::int64_t i = 0; i <= d_; ++i) {
      const double* const from = triangle.of_triangle(i);
      double* const to = x_at(call_.to[task] + i);
      for (std::int64_t j = 0; j < d_; ++j) to[j] = j < i ? 0 : from[j];
      call_.y_out[call_.to[task] + i] = any == 0 ? from[d_] : __builtin_nan("");
    }
  }

  const CondenseCall& call_;
  const std::int64_t d_;
  const Stopping<CondenseCall> stopping_;
};

template <class T>
void condense(const CondenseCall& call) {
  Condensing<T>(call).run();
}

inline std::int64_t condense_numbers(std::int64_t, std::int64_t n_features, std::int64_t, Loss) {
  return Triangle::numbers(n_features + 1);
}

}  // namespace aruba_fast::ARUBA_ISA
