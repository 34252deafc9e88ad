// Across tasks: the prior of one average task, by tensor.
#include "ops_prior.h"

#include "kernels.h"

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

}  // namespace aruba_fast
