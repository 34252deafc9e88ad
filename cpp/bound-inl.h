// Upper bounds on the regret of many tasks, one pass over each: value and derivatives.
#pragma once

#include <cstring>

#include "dense-inl.h"
#include "kernels.h"
#include "rules/bound.h"

namespace aruba_fast::ARUBA_ISA {

// The last coordinates of a row, padded with numbers that add nothing.
struct PaddedBound {
  double theta_star[kPad], phi[kPad], grad_sq[kPad], rates[kPad], seconds[kPad];
};

template <class Bound>
class BoundRow {
 public:
  BoundRow(const BoundCall& call, std::int64_t task)
      : call_(call),
        theta_star_(call.theta_star + task * call.n),
        phi_(call.phi + task * call.phi_stride),
        grad_sq_(call.grad_sq + task * call.n),
        form_{call.gradient_weight, 1 / static_cast<double>(call.n), call.diameter},
        n_rounds_(call.n_rounds ? call.n_rounds[task] : 0) {
    double* d_phi = call.d_phi ? call.d_phi + task * call.n : nullptr;
    double* d_rate = call.d_rate && call.rates ? call.d_rate + task * call.n : nullptr;
    for (Doubles& lane : value_) lane = Doubles(0.0);
    for (Doubles& lane : slope_) lane = Doubles(0.0);
    const std::int64_t whole = call.n / kPad * kPad;
    for (std::int64_t j = 0; j < whole; j += kPad)
      add_eight(theta_star_ + j, phi_ + j, grad_sq_ + j, call.rates ? call.rates + j : nullptr,
                call.seconds ? call.seconds + j : nullptr, d_phi ? d_phi + j : nullptr,
                d_rate ? d_rate + j : nullptr);
    if (whole < call.n) add_last(whole, d_phi, d_rate);
    call.value[task] = fold_eight(value_);
    if (call.d_rate && !call.rates) call.d_rate[task] = fold_eight(slope_);
  }

 private:
  static constexpr int kWidth = Doubles::kWidth, kRegs = kPad / kWidth;

  void add_eight(const double* theta_star, const double* phi, const double* grad_sq,
                 const double* rates, const double* seconds, double* d_phi, double* d_rate) {
#pragma GCC unroll 4
    for (int k = 0; k < kRegs; ++k) {
      const int j = k * kWidth;
      const BoundAt<Doubles> x = {load(theta_star + j),
                                  load(phi + j),
                                  load(grad_sq + j),
                                  rates ? load(rates + j) : Doubles(call_.rate),
                                  seconds ? load(seconds + j) : Doubles(call_.second),
                                  Doubles(n_rounds_)};
      const BoundValue<Doubles> share = Bound::at(x, form_);
      value_[k] = value_[k] + share.value;
      slope_[k] = slope_[k] + share.d_rate;
      if (d_phi) store(d_phi + j, share.d_phi);
      if (d_rate) store(d_rate + j, share.d_rate);
    }
  }

  void add_last(std::int64_t j, double* d_phi, double* d_rate) {
    PaddedBound padding = {};
    const std::size_t bytes = static_cast<std::size_t>(call_.n - j) * sizeof(double);
    for (int k = 0; k < kPad; ++k) padding.rates[k] = padding.seconds[k] = 1;
    std::memcpy(padding.theta_star, theta_star_ + j, bytes);
    std::memcpy(padding.phi, phi_ + j, bytes);
    std::memcpy(padding.grad_sq, grad_sq_ + j, bytes);
    if (call_.rates) std::memcpy(padding.rates, call_.rates + j, bytes);
    if (call_.seconds) std::memcpy(padding.seconds, call_.seconds + j, bytes);
    for (int k = 0; k < static_cast<int>(call_.n - j); ++k) {
      if (!call_.rates) padding.rates[k] = call_.rate;
      if (!call_.seconds) padding.seconds[k] = call_.second;
    }
    alignas(64) double to_phi[kPad], to_rate[kPad];
    Doubles kept[kRegs], kept_slope[kRegs];
    for (int k = 0; k < kRegs; ++k) {
      kept[k] = value_[k];
      kept_slope[k] = slope_[k];
      value_[k] = slope_[k] = Doubles(0.0);
    }
    add_eight(padding.theta_star, padding.phi, padding.grad_sq, padding.rates, padding.seconds,
              to_phi, to_rate);
    // A given diameter is charged to padding too: those lanes are left out.
    for (int k = 0; k < kRegs; ++k) {
      const auto mask = first_lanes<double>(static_cast<int>(call_.n - j) - k * kWidth);
      value_[k] = kept[k] + keep<double>(mask, value_[k]);
      slope_[k] = kept_slope[k] + keep<double>(mask, slope_[k]);
    }
    if (d_phi) std::memcpy(d_phi + j, to_phi, bytes);
    if (d_rate) std::memcpy(d_rate + j, to_rate, bytes);
  }

  const BoundCall& call_;
  const double *theta_star_, *phi_, *grad_sq_;
  const BoundForm<double> form_;
  const double n_rounds_;
  Doubles value_[kRegs], slope_[kRegs];
};

template <class Bound>
void bound(const BoundCall& call) {
  for (std::int64_t task = call.first; task < call.last; ++task) BoundRow<Bound>(call, task);
}

}  // namespace aruba_fast::ARUBA_ISA
