// Learners of every kind, on tables of every kind, from a file that settings.py writes; prints what
// each has learned.
#include <aruba_fast/aruba_fast.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <string>

namespace {

template <class N>
std::vector<N> read(std::istream& file) {
  std::size_t n = 0;
  file >> n;
  std::vector<N> values(n);
  for (N& value : values) file >> value;
  return values;
}

std::optional<double> optional(double value) {
  return value < 0 ? std::nullopt : std::optional(value);
}

template <class N>
void print(const char* name, const N& values) {
  std::printf("%s", name);
  for (const auto value : values) {
    char text[32];
    std::snprintf(text, sizeof text, "%.17g", static_cast<double>(value));
    // Processors differ in the sign of a nan, and flags in whether there are any.
    std::printf(" %s", std::strstr(text, "nan") ? "nan" : text);
  }
  std::printf("\n");
}

template <class T>
void learn(std::istream& file) {
  std::string loss;
  int isotropic = 0, tight = 0, proximal = 0, weigh = 0;
  double rate = 0, zeta = 0, cap = 0, meta_step = 0, radius = 0;
  aruba_fast::LearnerOptions made;
  aruba_fast::TrainOptions options;
  file >> loss >> rate >> zeta >> made.p >> made.decay >> isotropic >> cap >> tight;
  file >> options.round_size >> options.n_passes >> options.batch_size >> options.n_epochs >>
      radius >> proximal >> weigh >> meta_step;
  made.learning_rate = optional(rate);
  made.zeta = optional(zeta);
  made.isotropic = isotropic;
  made.max_learning_rate = optional(cap);
  made.bound = tight ? aruba_fast::Bound::kTight : aruba_fast::Bound::kBlog;
  made.tensors = read<std::int64_t>(file);
  options.radius = optional(radius);
  options.proximal = proximal;
  options.weigh_by_rows = weigh;
  options.meta_step = optional(meta_step);
  const auto order = read<std::int64_t>(file), offsets = read<std::int64_t>(file);
  const auto x = read<T>(file), y = read<T>(file), phi = read<T>(file);
  const auto row_weights = read<double>(file);
  options.order = order;
  aruba_fast::Tasks<T> tasks(x, y, offsets);
  tasks.row_weights = row_weights;
  aruba_fast::MetaLearner<T> learner(phi, made);
  const auto history = aruba_fast::meta_train(tasks, learner, loss, options);
  print("phi", learner.phi());
  print("rate", learner.learning_rate());
  print("b", learner.b());
  print("g", learner.g());
  print("loss", history.loss);
  const std::int64_t counts[] = {learner.n_tasks(), learner.n_skipped()};
  print("tasks", counts);
  const auto run = aruba_fast::run_tasks(tasks, learner.phi(), learner.rule(), loss);
  print("theta_hat", run.theta_hat);
  learner.update(run);
  print("updated", learner.phi());
}

}  // namespace

int main(int, char** arguments) {
  std::ifstream file(arguments[1]);
  for (std::string type; file >> type;) {
    if (type == "float32") learn<float>(file);
    else learn<double>(file);
  }
}
