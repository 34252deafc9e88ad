// The sums of a round for XLA.
#include "jax_columns.h"

namespace aruba_fast::python {
namespace {
// ----------------------------------------------------------------------------------

// Tasks that float32's pairs have no room for weigh nothing that is a number.
template <class T>
void refuse_far_tasks(const RoundArrays& round, double* weights) {
  constexpr double kMost = double{std::numeric_limits<float>::max()};
  const T* phi = static_cast<const T*>(round.phi);
  for (std::int64_t task = 0; task < round.n_tasks; ++task) {
    const T *theta_hat = static_cast<const T*>(round.theta_hat) + task * round.n,
            *grad_sq = static_cast<const T*>(round.grad_sq) + task * round.n;
    for (std::int64_t j = 0; j < round.n; ++j)
      if (!(half_square_distance<double>(theta_hat[j], phi[j]) <= kMost && grad_sq[j] <= kMost &&
            std::abs(weights[task] * double{theta_hat[j]}) <= kMost))
        weights[task] = std::numeric_limits<double>::quiet_NaN();
  }
}

// Arguments: phi, theta_hat and grad_sq, rows of one after the other, weights; with a limit the
// rates and the limit. Results: distance, grad_sq, theta_sum and weight, high and low; counts.
ffi::Error statistics(ffi::RemainingArgs args, ffi::RemainingRets rets) {
  return guarded([&] {
    const std::vector<JaxBuffer> in = all(args), out = all(rets);
    const JaxBuffer &phi = in[0], &weight = in[3];
    for (std::int64_t entry = 0; entry < out[0].n_entries(); ++entry) {
      RoundArrays round = {.theta_hat = in[1].at(entry, out[0]),
                           .grad_sq = in[2].at(entry, out[0]),
                           .phi = phi.at(entry, out[0]),
                           .weights = nullptr,
                           .n_tasks = weight.n(),
                           .n = phi.n(),
                           .type = phi.type_of_numbers()};
      double limit = std::numeric_limits<double>::infinity();
      if (in.size() > 4) {
        const double given = in[5].number(in[5].row(entry, out[0]));
        if (given < largest_of(in[5])) limit = given;
        round.rates = in[4].at(entry, out[0]);
        round.limit = &limit;
      }
      Weights weights(weight, entry, out[0]);
      round.weights = weights.or_null();
      const Columns sums[] = {{out[0], out[1], entry, out[0]},
                              {out[2], out[3], entry, out[0]},
                              {out[4], out[5], entry, out[0]}};
      Statistics counts{nullptr};
      const auto sum = [&] {
        bool fits = true;
        core().sum_elsewhere("statistics", round, counts, [&](const SumsOfColumns& columns) {
          bool own = true;
          for (int i = 0; i < 3; ++i) {
            const double* row = columns.sums + 2 * i * columns.stride;
            own &= sums[i].store_pair(columns.begin, columns.end, row, row + columns.stride);
          }
          if (!own) __atomic_store_n(&fits, false, __ATOMIC_RELAXED);
        });
        return fits;
      };
      if (!sum()) {
        round.type == Type::kFloat64 ? refuse_far_tasks<double>(round, weights.data())
                                     : refuse_far_tasks<float>(round, weights.data());
        round.weights = weights.data();
        sum();
      }
      write_pair(out[6], out[7], entry, counts.weight);
      write(out[8], entry, static_cast<double>(counts.n_tasks));
      write(out[9], entry, static_cast<double>(counts.n_skipped));
    }
  });
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(aruba_fast_jax_statistics, statistics,
                              ffi::Ffi::Bind().RemainingArgs().RemainingRets());

}  // namespace aruba_fast::python
