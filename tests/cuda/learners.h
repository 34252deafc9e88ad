// A learner and statistics in host memory and on the emulated device.
#pragma once

#include "arrays.h"
#include "cpp/ops_meta.h"
#include "cpp/ops_prior.h"
#include "cuda/ops_meta.h"

namespace aruba_fast::test {

const cuda::Stream kStream{0, nullptr};

// A learner in both places.
template <class T>
class Learner {
 public:
  // Parameters up to `scale`; a task may spread `limit`.
  Learner(std::int64_t n, const MetaParameters& parameters, Numbers& numbers, double scale = 1,
          double limit = std::numeric_limits<double>::infinity(),
          const std::vector<std::int64_t>& tensors = {})
      : phi_master_(scaled(numbers.vector<double>(n), scale / static_cast<double>(n))),
        b_(numbers.vector<double>(n, 1.5)),
        g_(numbers.vector<double>(n, 1.5)),
        rho_(static_cast<std::size_t>(n)),
        weight_{2, 1e-17},
        limit_{limit},
        phi_(phi_master_.begin(), phi_master_.end()),
        rates_(scaled(numbers.vector<T>(n, 1.5), scale)),
        counts_{5, 1},
        table_(tensor_table(tensors.empty() ? std::vector<std::int64_t>{n} : tensors)),
        on_phi_master_(phi_master_, 1),
        on_b_(b_),
        on_g_(g_, 1),
        on_rho_(rho_),
        on_weight_(weight_),
        on_limit_(limit_),
        on_phi_(phi_, 3),
        on_rates_(rates_, 2),
        on_counts_(counts_),
        on_table_(table_) {
    host = state(phi_master_, b_, g_, rho_, weight_, limit_, phi_, rates_, counts_, parameters);
    device = state(on_phi_master_, on_b_, on_g_, on_rho_, on_weight_, on_limit_, on_phi_, on_rates_,
                   on_counts_, parameters);
    host.tensors = Tensors(table_.data(), std::ssize(table_) / 2 - 1);
    device.tensors = Tensors(on_table_.data(), host.tensors.n, host.tensors.n_pieces);
  }

  void expect_equal_state(const std::string& what) {
    expect_same(on_phi_master_.values(), phi_master_, "phi_master, " + what);
    expect_same(on_b_.values(), b_, "b, " + what);
    expect_same(on_g_.values(), g_, "g, " + what);
    expect_same(on_rho_.values(), rho_, "rho, " + what);
    expect_same(on_weight_.values(), weight_, "weight, " + what);
    expect_same(on_limit_.values(), limit_, "limit, " + what);
    expect_same(on_phi_.values(), phi_, "phi, " + what);
    expect_same(on_rates_.values(), rates_, "rates, " + what);
    expect(on_counts_.values() == counts_, "counts, " + what);
  }

 private:
  template <class E>
  static std::vector<E> scaled(std::vector<E> values, double scale) {
    for (E& value : values) value = static_cast<E>(static_cast<double>(value) * scale);
    return values;
  }

  template <class D, class P, class C>
  MetaState state(D& phi_master, D& b, D& g, D& rho, D& weight, D& limit, P& phi, P& rates,
                  C& counts, const MetaParameters& parameters) {
    return {.phi_master = phi_master.data(),
            .b = b.data(),
            .g = g.data(),
            .rho = rho.data(),
            .phi = phi.data(),
            .rates = rates.data(),
            .n_tasks = counts.data(),
            .n_skipped = counts.data() + 1,
            .weight_high = weight.data(),
            .weight_low = weight.data() + 1,
            .limit = limit.data(),
            .n = static_cast<std::int64_t>(phi_.size()),
            .type = kType<T>,
            .parameters = parameters,
            .tensors = {}};
  }

  std::vector<double> phi_master_, b_, g_, rho_, weight_, limit_;
  std::vector<T> phi_, rates_;
  std::vector<std::int64_t> counts_, table_;
  DeviceArray<double> on_phi_master_, on_b_, on_g_, on_rho_, on_weight_, on_limit_;
  DeviceArray<T> on_phi_, on_rates_;
  DeviceArray<std::int64_t> on_counts_, on_table_;

 public:
  MetaState host, device;
};

// Statistics in both places, which start from the same numbers.
class Both {
 public:
  explicit Both(std::int64_t n, Numbers* from = nullptr)
      : sums_(from ? from->vector<double>(6 * n)
                   : std::vector<double>(static_cast<std::size_t>(6 * n))),
        on_sums_(sums_, 1),
        on_weight_(from ? std::vector<double>{2.5, 1e-17} : std::vector<double>(2)),
        on_counts_(from ? std::vector<std::int64_t>{3, 1} : std::vector<std::int64_t>(2)),
        host{sums_.data()} {
    if (from) host = {sums_.data(), {2.5, 1e-17}, 3, 1};
    device = {on_sums_.data(), on_weight_.data(), on_counts_.data()};
  }

  void expect_equal_sums(const std::string& what) {
    expect_same(on_sums_.values(), sums_, "sums, " + what);
    expect_same(on_weight_.values(), {host.weight.high, host.weight.low}, "weight, " + what);
    expect(on_counts_.values() == std::vector<std::int64_t>{host.n_tasks, host.n_skipped},
           "counts, " + what);
  }

 private:
  std::vector<double> sums_;
  DeviceArray<double> on_sums_, on_weight_;
  DeviceArray<std::int64_t> on_counts_;

 public:
  Statistics host;
  cuda::DeviceStatistics device;
};

}  // namespace aruba_fast::test
