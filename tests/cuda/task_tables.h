// Tables of ragged tasks in host memory and on the emulated device.
#pragma once

#include <cmath>

#include "arrays.h"
#include "cpp/ops_tasks.h"

namespace aruba_fast::test {

// One of them for u in [-1, 1), whatever the loss.
inline double label_of(Loss loss, double u, std::int64_t n_outputs) {
  const auto classes = static_cast<double>(n_outputs);
  if (facts_of(loss).has_classes) return std::floor((u + 1) / 2 * 0.999 * classes);
  for (const double label : {4 * u, u > 0 ? 1.0 : -1.0})
    if (is_label(loss, label, classes)) return label;
  return u > 0;
}

// Ragged tasks with labels for `loss`, on both sides.
template <class T>
class Tasks {
 public:
  Tasks(std::int64_t n_tasks, std::int64_t n_features, Loss loss, std::int64_t n_outputs,
        std::uint64_t seed = 7) {
    Numbers numbers(seed);
    std::int64_t n_rows = 0;
    for (std::int64_t task = 0; task < n_tasks; ++task) {
      starts_.push_back(n_rows);
      n_rows += 1 + task * task % 11;
      stops_.push_back(n_rows);
      order_.push_back((task * 5 + 3) % n_tasks);
    }
    x_ = numbers.vector<T>(n_rows * n_features);
    for (T& value : x_) value /= static_cast<T>(std::sqrt(static_cast<double>(n_features)));
    for (std::int64_t i = 0; i < n_rows; ++i)
      y_.push_back(static_cast<T>(label_of(loss, numbers.next(), n_outputs)));
    n_features_ = n_features;
  }

  std::vector<T>& x() { return x_; }
  TaskTable host(bool ordered) const {
    return {x_.data(),
            y_.data(),
            starts_.data(),
            stops_.data(),
            ordered ? order_.data() : nullptr,
            static_cast<std::int64_t>(starts_.size()),
            static_cast<std::int64_t>(y_.size()),
            n_features_,
            kType<T>};
  }

 private:
  std::vector<T> x_, y_;
  std::vector<std::int64_t> starts_, stops_, order_;
  std::int64_t n_features_;
};

// Such tasks with features in less than float32.
class NarrowTasks : public Tasks<float> {
 public:
  // `wild`: of every number that the type has, not only of those that tasks can live with.
  NarrowTasks(Widening widening, std::int64_t n_tasks, std::int64_t n_features, Loss loss,
              std::int64_t n_outputs, bool wild = false)
      : Tasks(n_tasks, n_features, loss, n_outputs), widening_(widening) {
    Numbers numbers(17);
    for (const float value : x()) {
      std::uint64_t word = numbers.bits();
      if (widening.from == Narrow::kBFloat16 && !wild)
        word = std::uint32_t{__builtin_bit_cast(std::uint32_t, value)} >> 16;
      else if (widening.from == Narrow::kFloat16 && !wild)
        word = (word & 0x83ff) | (6 + word / 0x10000 % 6) << 10;  // 2^-9 to 2^-3
      for (std::int64_t byte = 0; byte < widening.bytes_of(1); ++byte, word >>= 8)
        words_.push_back(static_cast<unsigned char>(word));
    }
  }

  TaskTable host(bool ordered) const {
    TaskTable table = Tasks::host(ordered);
    table.x = words_.data();
    table.widening = widening_;
    return table;
  }

 private:
  Widening widening_;
  std::vector<unsigned char> words_;
};

// The same table in device memory, nothing of it aligned to more than an element.
template <class T>
class OnDevice {
 public:
  explicit OnDevice(const TaskTable& host)
      : x_(copy<T>(host.x, host.widening ? 0 : host.n_rows * host.n_features), 1),
        words_(
            copy<unsigned char>(
                host.x, host.widening ? host.widening.bytes_of(host.n_rows * host.n_features) : 0),
            host.widening.bytes_of(1)),
        y_(copy<T>(host.y, host.n_rows), 3),
        starts_(copy<std::int64_t>(host.starts, host.n_tasks), 1),
        stops_(copy<std::int64_t>(host.stops, host.n_tasks), 1),
        order_(copy<std::int64_t>(host.order, host.order ? host.n_tasks : 0), 1) {
    table = host;
    table.x = host.widening ? static_cast<const void*>(words_.data()) : x_.data();
    table.y = y_.data();
    table.starts = starts_.data();
    table.stops = stops_.data();
    if (host.order) table.order = order_.data();
  }

 private:
  template <class E>
  static std::vector<E> copy(const void* from, std::int64_t n) {
    const E* at = static_cast<const E*>(from);
    return n > 0 ? std::vector<E>(at, at + n) : std::vector<E>();
  }
  DeviceArray<T> x_;
  DeviceArray<unsigned char> words_;
  DeviceArray<T> y_;
  DeviceArray<std::int64_t> starts_, stops_, order_;

 public:
  TaskTable table;
};

}  // namespace aruba_fast::test
