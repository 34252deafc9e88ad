// Across tasks: the prior of one average task, by tensor, and the rates by sums over coordinates.
#include "ops_prior.h"

#include <algorithm>

#include "kernels.h"
#include "ops_meta.h"

namespace aruba_fast {

std::vector<std::int64_t> tensor_table(const std::vector<std::int64_t>& sizes) {
  std::vector<std::int64_t> begins = {0}, first_pieces = {0};
  for (const std::int64_t size : sizes) {
    begins.push_back(begins.back() + size);
    first_pieces.push_back(first_pieces.back() + (size + kSegment - 1) / kSegment);
  }
  begins.insert(begins.end(), first_pieces.begin(), first_pieces.end());
  return begins;
}

std::vector<SumsOfTensor> sums_of_tensors(const double* b, const double* g,
                                          const Tensors& tensors) {
  const auto n_pieces = static_cast<std::size_t>(tensors.n_pieces);
  std::vector<double> of_b(n_pieces), of_g(n_pieces);
  for_each_piece(tensors, [&](std::size_t i, const Piece& piece) {
    const std::int64_t n = piece.end - piece.begin;
    of_b[i] = kernels().sum(b + piece.begin, n);
    of_g[i] = kernels().sum(g + piece.begin, n);
  });
  std::vector<SumsOfTensor> sums(static_cast<std::size_t>(tensors.n) + 1);
  for (std::int64_t t = 0; t < tensors.n; ++t) {
    const auto first = static_cast<std::size_t>(tensors.first_pieces[t]);
    const std::int64_t n = tensors.first_pieces[t + 1] - tensors.first_pieces[t];
    sums[static_cast<std::size_t>(t)] = {warp_sum(&of_b[first], n, 1), warp_sum(&of_g[first], n, 1),
                                         tensors.begins[t + 1] - tensors.begins[t]};
  }
  constexpr std::int64_t kStride = sizeof(SumsOfTensor) / sizeof(double);
  sums.back() = {warp_sum(&sums[0].b, tensors.n, kStride), warp_sum(&sums[0].g, tensors.n, kStride),
                 tensors.begins[tensors.n]};
  return sums;
}

bool add_prior(double* b, double* g, const Tensors& tensors, const std::vector<SumsOfTensor>& sums,
               double held, bool isotropic) {
  if (!sums.back().is_known()) return false;
  for_each_piece(tensors, [&](std::size_t, const Piece& piece) {
    Prior prior = prior_of(sums[static_cast<std::size_t>(piece.tensor)], sums.back(), held, false);
    if (isotropic) prior = {0, prior.b * (held + 1), prior.g * (held + 1)};
    for (std::int64_t j = piece.begin; j < piece.end; ++j) {
      b[j] = prior.own * b[j] + prior.b;
      g[j] = prior.own * g[j] + prior.g;
    }
  });
  return true;
}

void MetaState::fill_rates(double eta) {
  if (type == Type::kFloat64) std::fill_n(static_cast<double*>(rates), n, eta);
  else std::fill_n(static_cast<float*>(rates), n, static_cast<float>(eta));
}

void MetaState::find_rates() { set_limit(find_rates(sums_of_tensors(b, g, tensors))); }

void MetaState::set_limit(double spread) {
  *limit = spread_limit(spread, tasks_held(*n_tasks, parameters.decay));
}

// A learner whose tasks did not move, or had no gradient, keeps its rates.
double MetaState::find_rates(const std::vector<SumsOfTensor>& sums) {
  MetaStep<double> step = {};
  step.cap = rate_cap();
  const SumsOfTensor& all = sums.back();
  if (!parameters.average_task) {
    step.learning_rate = parameters.learning_rate;
    fill_rates(learning_rate(all.b, all.g, step));
    return 0;
  }
  step.learning_rate = restraint(*n_tasks, *n_skipped);
  const double held = tasks_held(*n_tasks, parameters.decay);
  std::vector<double> spreads(static_cast<std::size_t>(tensors.n_pieces));
  for_each_piece(tensors, [&](std::size_t i, const Piece& piece) {
    const SumsOfTensor& own = sums[static_cast<std::size_t>(piece.tensor)];
    kernels().rates[index_of(type)](
        {.b = b + piece.begin,
         .g = g + piece.begin,
         .rates = static_cast<char*>(rates) + piece.begin * size_of(type),
         .n = piece.end - piece.begin,
         .step = step,
         .prior = prior_of(own, all, held, parameters.isotropic),
         .stay = !all.is_known(),
         .per_distance = parameters.per_distance(),
         .spread = &spreads[i]});
  });
  return warp_sum(spreads.data(), tensors.n_pieces, 1);
}

}  // namespace aruba_fast
