// The sums and the learners of a compiled program of JAX, in pairs of float32 or in float64, on the
// emulated device and on the CPU.
#include <memory>

#include "cuda/ops_jax.h"
#include "rounds.h"

namespace {

using namespace aruba_fast;
using namespace aruba_fast::test;

const double kInfinity = std::numeric_limits<double>::infinity();

// ---- numbers of float64, as a program has them ----

class WideArray {
 public:
  // What pairs of float32 cannot hold becomes what they can.
  WideArray(std::vector<double>& values, bool is_double) : is_double_(is_double) {
    std::vector<float> high, low;
    for (double& x : values) {
      high.push_back(static_cast<float>(x));
      low.push_back(static_cast<float>(x - double{high.back()}));
      if (!is_double) x = double{high.back()} + double{low.back()};
    }
    doubles_ = std::make_unique<DeviceArray<double>>(values, 1);
    high_ = std::make_unique<DeviceArray<float>>(high, 3);
    low_ = std::make_unique<DeviceArray<float>>(low, 1);
    zeros_ = std::make_unique<DeviceArray<double>>(std::vector<double>(values.size()));
  }
  cuda::Wide wide() const {
    if (is_double_) return {doubles_->data(), zeros_->data(), true};
    return {high_->data(), low_->data(), false};
  }
  std::vector<double> values() const {
    if (is_double_) return doubles_->values();
    std::vector<double> values;
    for (std::size_t i = 0; i < high_->values().size(); ++i)
      values.push_back(double{high_->data()[i]} + double{low_->data()[i]});
    return values;
  }
  // To the digits of a pair.
  void expect_near(const double* expected, const std::string& what) const {
    const std::vector<double> got = values();
    bool near = true;
    for (std::size_t i = 0; i < got.size(); ++i)
      near &= is_double_ ? same_bits(got[i], expected[i])
                         : std::fabs(got[i] - expected[i]) <= 0x1p-47 * std::fabs(expected[i]);
    expect(near, what);
  }

 private:
  bool is_double_;
  std::unique_ptr<DeviceArray<double>> doubles_, zeros_;
  std::unique_ptr<DeviceArray<float>> high_, low_;
};

struct SumsOfProgram {
  std::vector<double> weight;
  std::vector<std::unique_ptr<WideArray>> columns;
  WideArray on_weight;
  DeviceArray<std::int32_t> counts;

  // Sums that learners of both kinds can start from: of `sums`, whose low rows become zero.
  SumsOfProgram(Statistics& sums, std::int64_t n, bool is_double)
      : weight{sums.weight.high},
        on_weight(weight, is_double),
        counts(
            {static_cast<std::int32_t>(sums.n_tasks), static_cast<std::int32_t>(sums.n_skipped)}) {
    for (int k = 0; k < 3; ++k) {
      double* row = sums.sums + 2 * k * n;
      std::vector<double> values(row, row + n);
      columns.push_back(std::make_unique<WideArray>(values, is_double));
      std::copy(values.begin(), values.end(), row);
      std::fill(row + n, row + 2 * n, 0.0);
    }
    sums.weight = {weight[0], 0};
  }
  cuda::JaxSums all() {
    return {.columns = {columns[0]->wide(), columns[1]->wide(), columns[2]->wide()},
            .weight = on_weight.wide(),
            .counts = {counts.data(), counts.data() + 1, false}};
  }
};

// ---- learners ----

const std::vector<std::int64_t> kTensors = {3, 600, 1, 96};
constexpr std::int64_t kN = 700;

template <class T>
void test_learn(const MetaParameters& parameters, bool is_double, std::int64_t n_rates,
                bool has_step) {
  const std::string what = "double " + std::to_string(is_double) + " rates " +
                           std::to_string(n_rates) + " average " +
                           std::to_string(parameters.average_task);
  Numbers numbers(3);
  Learner<T> learner(kN, parameters, numbers, 1, 7.5,
                     n_rates == 1 ? std::vector<std::int64_t>{} : kTensors);
  MetaState& host = learner.host;
  T* rates = static_cast<T*>(host.rates);
  std::vector<T> own;
  for (std::int64_t i = 0; i < n_rates; ++i) {
    const std::int64_t begin = n_rates == kN  ? i
                               : n_rates == 1 ? 0
                                              : host.tensors.begins[i],
                       end = n_rates == kN  ? i + 1
                             : n_rates == 1 ? kN
                                            : host.tensors.begins[i + 1];
    own.push_back(rates[begin]);
    std::fill(rates + begin, rates + end, own.back());
  }
  std::vector<double> b(host.b, host.b + kN), g(host.g, host.g + kN),
      phi(host.phi_master, host.phi_master + kN), rho(static_cast<std::size_t>(kN), -1),
      weight = {*host.weight_high}, limit = {*host.limit}, step = {0.25};
  *host.weight_low = 0;
  WideArray on_b(b, is_double), on_g(g, is_double), on_phi(phi, is_double), on_rho(rho, is_double),
      on_weight(weight, is_double), on_limit(limit, is_double), on_step(step, is_double);
  std::copy(b.begin(), b.end(), host.b);
  std::copy(g.begin(), g.end(), host.g);
  std::copy(phi.begin(), phi.end(), host.phi_master);
  DeviceArray<T> on_rates(own, 1);
  DeviceArray<std::int32_t> counts({5, 1});
  const cuda::JaxState state = {.b = on_b.wide(),
                                .g = on_g.wide(),
                                .phi = on_phi.wide(),
                                .rho = on_rho.wide(),
                                .weight = on_weight.wide(),
                                .limit = on_limit.wide(),
                                .rates = on_rates.data(),
                                .counts = {counts.data(), counts.data() + 1, false},
                                .n = kN,
                                .n_rates = n_rates,
                                .type = host.type,
                                .parameters = parameters,
                                .tensors = learner.device.tensors,
                                .most_b = 1e30,
                                .most_g = 1e30,
                                .least = 0};
  Both both(kN, &numbers);
  for (std::int64_t i = 0; i < 4 * kN; ++i) both.host.sums[i] = std::fabs(both.host.sums[i]);
  SumsOfProgram sums(both.host, kN, is_double);
  const DeviceArray<unsigned char> workspace(
      std::vector<unsigned char>(cuda::learn_bytes(state, -1), 0xff));
  cuda_on_cpu::reset_counts();
  cuda::learn(state, sums.all(), has_step ? on_step.wide() : cuda::Wide{}, workspace.data(),
              kStream);
  expect_equal(cuda_on_cpu::counts().copies + cuda_on_cpu::counts().synchronizations,
               std::int64_t{0});
  host.apply("test", both.host, has_step ? step.data() : nullptr);
  on_b.expect_near(host.b, "b, " + what);
  on_g.expect_near(host.g, "g, " + what);
  on_phi.expect_near(host.phi_master, "phi, " + what);
  on_weight.expect_near(host.weight_high, "weight, " + what);
  for (std::int64_t i = 0; i < n_rates; ++i) {
    const std::int64_t at = n_rates == kN ? i : n_rates == 1 ? 0 : host.tensors.begins[i];
    own[static_cast<std::size_t>(i)] = rates[at];
  }
  expect_same(on_rates.values(), own, "rates, " + what);
  expect(counts.values() == std::vector<std::int32_t>{8, 2}, "counts, " + what);
}

template <class T>
void test_learners() {
  const MetaParameters plain = {0.5, 1, 0.7, 0.1, kInfinity, false, false, false},
                       shared = {0.5, 1, 1, 0, 0.25, true, false, false},
                       average = {1, 1, 1, 0, kInfinity, false, true, true},
                       one_rate = {1, 1, 1, 0.1, kInfinity, true, true, false};
  for (const bool is_double : {true, false}) {
    if (!is_double && sizeof(T) == 8) continue;
    for (const bool has_step : {false, true}) {
      test_learn<T>(plain, is_double, kN, has_step);
      test_learn<T>(shared, is_double, 1, has_step);
      test_learn<T>(average, is_double, kN, has_step);
      test_learn<T>(one_rate, is_double, 1, has_step);
      test_learn<T>(one_rate, is_double, std::ssize(kTensors), has_step);
    }
  }
}

// ---- sums ----

// In pairs of float32 the far task, beyond their room, is left out; in float64 it is not.
void test_sums(bool is_double, bool far) {
  const std::int64_t n = 300, n_tasks = 9;
  Numbers numbers(5);
  std::vector<float> theta_hat = numbers.vector<float>(n_tasks * n), phi = numbers.vector<float>(n),
                     grad_sq = numbers.vector<float>(n_tasks * n, 1.5);
  std::vector<double> weights(n_tasks, 1.25);
  weights[3] = -1;  // which is none
  if (far) theta_hat[2 * n + 7] = 1e30F;
  const DeviceArray<float> on_theta_hat(theta_hat, 1), on_grad_sq(grad_sq, 2), on_phi(phi, 3);
  WideArray on_weights(weights, is_double);
  Both both(n);
  std::vector<double> nothing(static_cast<std::size_t>(n));
  std::vector<WideArray> columns;
  for (int k = 0; k < 3; ++k) columns.emplace_back(nothing, is_double);
  std::vector<double> one = {0};
  WideArray weight(one, is_double);
  DeviceArray<std::int64_t> counts({0, 0});
  const DeviceArray<unsigned char> workspace(
      std::vector<unsigned char>(cuda::sum_tasks_bytes(n_tasks, n), 0xff));
  cuda::sum_tasks({.theta_hat = on_theta_hat.data(),
                   .grad_sq = on_grad_sq.data(),
                   .phi = on_phi.data(),
                   .rates = nullptr,
                   .weights = on_weights.wide(),
                   .limit = {},
                   .is_limited = false,
                   .n_tasks = n_tasks,
                   .n = n,
                   .type = Type::kFloat32},
                  {.columns = {columns[0].wide(), columns[1].wide(), columns[2].wide()},
                   .weight = weight.wide(),
                   .counts = {counts.data(), counts.data() + 1, true}},
                  workspace.data(), kStream);
  weights[3] = std::numeric_limits<double>::quiet_NaN();
  if (far && !is_double) weights[2] = weights[3];
  add_round(
      "test",
      {theta_hat.data(), grad_sq.data(), phi.data(), weights.data(), n_tasks, n, Type::kFloat32},
      both.host, nullptr);
  const std::string what = "far " + std::to_string(far);
  for (int k = 0; k < 3; ++k)
    columns[static_cast<std::size_t>(k)].expect_near(both.host.sums + 2 * k * n, "sums, " + what);
  weight.expect_near(&both.host.weight.high, "weight, " + what);
  expect(counts.values() == std::vector<std::int64_t>{both.host.n_tasks, both.host.n_skipped},
         "counts, " + what);
}

}  // namespace

int main() {
  return report("jax_meta", [] {
    for (const bool is_double : {true, false})
      for (const bool far : {true, false}) test_sums(is_double, far);
    test_learners<float>();
    test_learners<double>();
  });
}
