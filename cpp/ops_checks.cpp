// Checks of values that the task engine relies on.
#include <cmath>

#include "ops_tasks.h"

namespace aruba_fast {

void require_rows(const char* function, const TaskTable& table) {
  for (std::int64_t i = 0; i < table.n_tasks; ++i) {
    const std::int64_t start = table.starts[i], stop = table.stops[i];
    if (start < 0 || stop > table.n_rows || start >= stop)
      refuse(function, "the rows of task " + std::to_string(i), "be a non-empty part of the table",
             std::to_string(start) + ":" + std::to_string(stop),
             "0 <= start < stop <= " + std::to_string(table.n_rows));
  }
}

void refuse_label(const char* function, Loss loss, std::int64_t n_classes, double label,
                  std::int64_t row) {
  const std::string got = text_of(label) + " in row " + std::to_string(row);
  if (loss == Loss::kLogistic)
    refuse(function, "`y`", "hold the labels 0 and 1 of the logistic loss", got,
           "0 or 1, as y > 0 makes them of -1 and 1");
  if (loss == Loss::kHinge)
    refuse(function, "`y`", "hold the labels -1 and 1 of the hinge loss", got,
           "-1 or 1, as 2 * y - 1 makes them of 0 and 1");
  refuse(function, "`y`",
         "hold class numbers from 0 to " + std::to_string(n_classes - 1) + " for the softmax loss",
         got,
         "a whole number below " + std::to_string(n_classes) +
             ", the number of parameters over that of features");
}

namespace {

template <class T, class Allowed>
void require_each(const char* function, const Array& y, Loss loss, std::int64_t n_classes,
                  Allowed allowed) {
  const T* labels = static_cast<const T*>(y.data);
  for (std::int64_t i = 0; i < y.size(); ++i)
    if (!allowed(static_cast<double>(labels[i])))
      refuse_label(function, loss, n_classes, static_cast<double>(labels[i]), i);
}

}  // namespace

void require_labels(const char* function, const Array& y, Loss loss, std::int64_t n_classes) {
  const auto require = [&](auto allowed) {
    if (y.type == Type::kFloat64) require_each<double>(function, y, loss, n_classes, allowed);
    else require_each<float>(function, y, loss, n_classes, allowed);
  };
  if (loss == Loss::kLogistic) {
    require([](double v) { return v == 0 || v == 1; });
  } else if (loss == Loss::kHinge) {
    require([](double v) { return v == -1 || v == 1; });
  } else if (loss == Loss::kSoftmax) {
    require([n_classes](double v) {
      return v >= 0 && v < static_cast<double>(n_classes) && v == std::floor(v);
    });
  }
}

void require_in_ball(const char* function, const Array& phi, double radius) {
  if (radius == 0) return;
  const std::int64_t n = phi.shape[phi.n_dimensions - 1];
  for (std::int64_t row = 0; row < phi.size() / n; ++row) {
    double norm_sq = 0;
    for (std::int64_t j = row * n; j < (row + 1) * n; ++j) {
      const double value = phi.type == Type::kFloat64
                               ? static_cast<const double*>(phi.data)[j]
                               : static_cast<double>(static_cast<const float*>(phi.data)[j]);
      norm_sq += value * value;
    }
    // Points that an earlier projection put on the sphere may be outside by rounding.
    if (!(std::sqrt(norm_sq) <= radius * (1 + 1e-5)))
      refuse(function, "`phi`", "lie in the ball of `radius`",
             "norm " + text_of(std::sqrt(norm_sq)), "at most " + text_of(radius));
  }
}

}  // namespace aruba_fast
