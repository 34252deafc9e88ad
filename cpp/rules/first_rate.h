// The first learning rate of a linear model, from its rows:
//
//   steps      rate = mean_i |d_i| / max_i c_i |x_i|^2
//   proximal   rate = n_features mean_i |d_i| / mean_i c_i |x_i|^2
//
// so that a step on no single row goes beyond the least of its loss, or that a row of mean length
// holds a parameter as much as the start does. c is the most that the loss bends along its score,
// d the way that the score has to go.
#pragma once

#include "loss.h"

namespace aruba_fast {

struct BendAndWay {
  double bend, way;
};

// c and d of a row. The hinge loss bends nowhere: a step at its c takes the score over the margin.
ARUBA_RULE BendAndWay bend_and_way(Loss loss, double score, double y) {
  switch (loss) {
    case Loss::kSquared:
    case Loss::kHuber:
    case Loss::kHinge:
      return {1, 1};
    case Loss::kLogistic:
      return {0.25, 1};
    case Loss::kSoftmax:
      return {0.5, 1};
    case Loss::kAbsolute:
      return {1, abs(score - y)};
    case Loss::kPoisson: {
      const double low = score > Poisson::kMost ? Poisson::kMost : score,
                   e = exp_nonpositive(-abs(low)), mean = low > 0 ? 1 / e : e,
                   most = mean > y ? mean : y;
      return {score == score ? (most > 1 ? most : 1) : score, 1};
    }
  }
  __builtin_unreachable();
}

// Whether c and d of a row depend on where it starts.
ARUBA_RULE bool bends_by_score(Loss loss) {
  return loss == Loss::kAbsolute || loss == Loss::kPoisson;
}

}  // namespace aruba_fast
