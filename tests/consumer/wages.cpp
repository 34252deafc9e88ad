// Meta-learns from the wages of 400 people, seven years each, and predicts those of others.
#include <aruba_fast/aruba_fast.h>

#include <cstdio>
#include <fstream>

int main(int, char** arguments) {
  std::ifstream file(arguments[1]);  // the number of features; then rows: person, label, features
  int n_features = 0;
  file >> n_features;
  std::vector<float> x, y;
  std::vector<std::int64_t> offsets;  // where the rows of each person begin
  float value = 0;
  for (int person = 0, last = -1; file >> person >> value; last = person) {
    if (person != last) offsets.push_back(std::ssize(y));
    y.push_back(value);
    for (int j = 0; j < n_features && file >> value; ++j) x.push_back(value);
  }
  offsets.push_back(std::ssize(y));
  const std::span<const std::int64_t> all(offsets);

  const aruba_fast::Tasks<float> known(x, y, all.first(401));
  const std::vector<float> zero(static_cast<std::size_t>(n_features));
  aruba_fast::MetaLearner<float> learner(zero);  // nothing to tune
  aruba_fast::meta_train(known, learner, "squared", {.n_passes = 3});
  for (std::size_t j = 0; j < zero.size(); ++j)
    std::printf("phi %.9g rate %.9g\n", learner.phi()[j], learner.learning_rate()[j]);

  std::vector<std::int64_t> middle;  // the others show three years, and the rest is predicted
  for (const std::int64_t begin : all.subspan(400, all.size() - 401)) middle.push_back(begin + 3);
  const aruba_fast::Tasks<float> seen(x, y, all.subspan(400, middle.size()), middle),
      unseen(x, y, middle, all.subspan(401));
  const auto run = aruba_fast::run_tasks(seen, learner.phi(), learner.rule(), "squared");
  double error = 0;
  for (const double loss : aruba_fast::evaluate(unseen, run, "squared")) error += loss;
  std::printf("mean loss of the others %.9g\n", error / static_cast<double>(middle.size()));
}
