// Across tasks: the prior of one average task, by tensor.
#pragma once

#include <vector>

#include "ops_statistics.h"
#include "parallel.h"
#include "rules/meta.h"
#include "rules/tensors.h"

namespace aruba_fast {

// body(i, piece) of all pieces, of many coordinates from several threads.
template <class Body>
void for_each_piece(const Tensors& tensors, Body body) {
  for_each(tensors.n_pieces, tensors.n_pieces * kSegment > kSharedFrom,
           [&](std::int64_t i) { body(static_cast<std::size_t>(i), tensors.piece(i)); });
}

// The table of tensors of these sizes.
std::vector<std::int64_t> tensor_table(const std::vector<std::int64_t>& sizes);

// What b and g of the tensors sum to, and at the end of all of them.
std::vector<SumsOfTensor> sums_of_tensors(const double* b, const double* g, const Tensors& tensors);

// Adds to b and g their prior by such sums; isotropic, they become their means over the tensor.
// False, and nothing is changed, where they hold nothing.
bool add_prior(double* b, double* g, const Tensors& tensors, const std::vector<SumsOfTensor>& sums,
               double held, bool isotropic);

}  // namespace aruba_fast
