// The task engine: every round of every task, prediction, loss, gradient, update and statistics
// fused.
//
// A thread runs several tasks in lock-step, one task a lane: each row's prediction is a dot product
// in the task's own registers; the predictions of all tasks meet in one register, where loss and
// slope are computed for all at once, which hides the latency of exp and of the dot product; the
// slopes go back to the tasks' own registers for the update. A finished task hands its slot to the
// next. No task's bits depend on its neighbours.
#pragma once

#include "kernels.h"
#include "lanes-inl.h"
#include "loss-inl.h"
#include "row_parts-inl.h"
#include "rules/step.h"
#include "slots-inl.h"
#include "woven-inl.h"

namespace aruba_fast::ARUBA_ISA {

// Without the unrolled loops for short rows, which are half of what there is to compile.
#if defined(ARUBA_LEAN)
constexpr bool kLean = true;
#else
constexpr bool kLean = false;
#endif

template <class T, class Rule>
class TaskRunner {
 public:
  explicit TaskRunner(const TasksCall& call) : slots_(call), call_(call), parts_(slots_) {}

  void run() {
    while (slots_.fill()) {
      const Way way = way_now();
      const bool by_window = call_.window > 0 && way != Way::kWoven;
      const std::int64_t n = slots_.rows_until_event(by_window),
                         work = n * slots_.n_active * slots_.slot_size;
      if (by_window) slots_.widen(n);
      steps(way, n);
      for (int k = slots_.n_active - 1; k >= 0; --k) after_rows(k, n);
      if (call_.poll) call_.poll(call_.poll_context, work);
    }
  }

  // The losses at the start of each task, without steps; of a score that is not finite there is
  // none.
  void losses() {
    while (slots_.fill()) {
      const std::int64_t n = slots_.rows_until_event(call_.window > 0),
                         work = n * slots_.n_active * slots_.slot_size;
      if (call_.window > 0) slots_.widen(n);
      for (std::int64_t row = 0; row < n; ++row)
        for (int first = 0; first < slots_.n_active; first += kWidth) {
          Compensated<P> loss = slots_.load_loss(first);
          P term = parts_.predict(first, row);
          for (std::int64_t c = 0; c < call_.n_outputs; ++c) {
            const P z = load(slots_.z + c * kMaxSlots + first);
            term = term + (z - z);
          }
          loss.add(term);
          slots_.store_loss(first, loss);
        }
      for (int k = slots_.n_active - 1; k >= 0; --k) {
        slots_.advance(k, n);
        if (slots_.progress[k].rows_left > 0) continue;
        slots_.finish_loss(k);
        if (k != --slots_.n_active) slots_.move(slots_.n_active, k);
      }
      if (call_.poll) call_.poll(call_.poll_context, work);
    }
  }

 private:
  static constexpr int kWidth = Pack<T>::kWidth, kPacks = 2;
  using P = Pack<T>;

  void after_rows(int k, std::int64_t n) {
    auto& progress = slots_.progress[k];
    slots_.advance(k, n);
    if (call_.batch_size == 1) {
      progress.n_rounds += n;
      if (call_.is_long) after_rounds(k);
    } else {
      progress.batch_rows += n;
      if (progress.batch_rows == call_.batch_size || progress.rows_left == 0) end_batch(k);
      else if (progress.batch_rows % kTermsTogether == 0) slots_.gather_batch(k);
    }
    if (progress.rows_left > 0) return;
    if (progress.epochs_left > 0) return slots_.start_epoch(k);
    slots_.finish(k);
    if (k != --slots_.n_active) slots_.move(slots_.n_active, k);
  }

  ARUBA_RARE void after_rounds(int k) {
    const std::int64_t n_rounds = slots_.progress[k].n_rounds;
    if (n_rounds % kTermsTogether != 0) return;
    if (call_.theta_bar) slots_.gather(slots_.theta_sum, slots_.theta_total, slots_.theta_rest, k);
    if (gathers_squares<Rule>(n_rounds, call_.batch_size)) slots_.gather_squares(k);
  }

  // ---- one round per row ----

  // How the tasks that are in hand go through their rows.
  enum class Way { kBatches, kLanes, kUnrolled, kWoven, kPlain };

  Way way_now() const {
    if (call_.batch_size > 1) return Way::kBatches;
    if (call_.is_plain() && call_.n_outputs == 1) {
      if (kWidth >= 8 && call_.n_features <= 8) return Way::kLanes;
      const std::int64_t blocks = slots_.slot_size / kWidth;
      if (!kLean && slots_.n_active >= kPacks * kWidth && (blocks <= 4 || blocks == 8))
        return Way::kUnrolled;
    }
    return WovenRows<T, Rule>::takes(call_) ? Way::kWoven : Way::kPlain;
  }

  void steps(Way way, std::int64_t n) {
    switch (way) {
      case Way::kBatches:
        return accumulate(n);
      case Way::kLanes:
        if constexpr (kWidth >= 8) lane_rows<8>(n);
        return;
      case Way::kUnrolled:
        if constexpr (!kLean) unrolled_rows(n);
        return;
      case Way::kWoven:
        return WovenRows<T, Rule>::run(slots_, n);
      case Way::kPlain:
        return plain_rows(n);
    }
  }

  void unrolled_rows(std::int64_t n) {
    switch (slots_.slot_size / kWidth) {
      case 1:  // of eight, it is a task a lane
        if constexpr (kWidth != 8) short_rows<1>(n);
        return;
      case 2:
        return short_rows<2>(n);
      case 3:
        return short_rows<3>(n);
      case 4:
        return short_rows<4>(n);
      default:
        return short_rows<8>(n);
    }
  }

  template <int kFeatures>
  void lane_rows(std::int64_t n) {
    if constexpr (kFeatures > 1)
      if (call_.n_features < kFeatures) return lane_rows<kFeatures - 1>(n);
    LaneRows<T, Rule, kFeatures>::run(slots_, n);
  }

  void plain_rows(std::int64_t n) {
    for (std::int64_t row = 0; row < n; ++row) {
      for (int first = 0; first < slots_.n_active; first += kWidth) {
        Compensated<P> loss = slots_.load_loss(first);
        loss.add(parts_.predict(first, row));
        slots_.store_loss(first, loss);
      }
      for (int k = 0; k < slots_.n_active; ++k) {
        const T* x = slots_.x[k] + row * call_.n_features;
        for (std::int64_t c = 0; c < call_.n_outputs; ++c)
          parts_.template update<false>(k, c, x, P(slots_.slope[c * kMaxSlots + k]));
        parts_.project_slot(k);
      }
    }
  }

  // The same for rows of kBlocks registers with every slot busy, all of it unrolled. Two registers
  // of tasks side by side: one's loss is computed while the other's waits (AVX2, 8 features: 28
  // instructions a round).
  template <int kBlocks>
  void short_rows(std::int64_t n) {
    constexpr int kSlot = kBlocks * kWidth;
    T *const theta = slots_.theta, *states[kStatesOf<Rule>];
    const T* by[kParametersOf<Rule>];
    for (int s = 0; s < kStatesOf<Rule>; ++s) states[s] = slots_.state[s];
    for (int i = 0; i < kParametersOf<Rule>; ++i) by[i] = slots_.parameters[i];
    const std::int64_t n_features = call_.n_features;
    const int tail = static_cast<int>(n_features % kWidth);
    Compensated<P> loss[kPacks];
    for (int p = 0; p < kPacks; ++p) loss[p] = slots_.load_loss(p * kWidth);
    for (std::int64_t row = 0; row < n; ++row) {
      const std::int64_t offset = row * n_features;
      P z[kPacks];
      alignas(ARUBA_REGISTER_BYTES) T y[kPacks * kWidth], slope[kPacks * kWidth];
#pragma GCC unroll 2
      for (int p = 0; p < kPacks; ++p) {
        P sums[kWidth];
#pragma GCC unroll 16
        for (int lane = 0; lane < kWidth; ++lane) {
          const int k = p * kWidth + lane;
          const T* const x = slots_.x[k] + offset;
          sums[lane] =
              dot_lanes<kBlocks>(x, theta + k * kSlot, n_features,
                                 {reinterpret_cast<const char*>(x) + 256, 64}, slots_.mask);
          y[k] = slots_.y[k][row];
        }
        z[p] = fold_each(sums);
      }
#pragma GCC unroll 2
      for (int p = 0; p < kPacks; ++p) {
        const LossAndSlope<P> found = one_output_loss(call_.loss_kind, z[p], load(y + p * kWidth));
        loss[p].add(found.loss);
        store(slope + p * kWidth, found.slope);
      }
#pragma GCC unroll 32
      for (int k = 0; k < kPacks * kWidth; ++k) {
        const P scale(slope[k]);
#pragma GCC unroll 8
        for (int block = 0; block < kBlocks; ++block) {
          const int j = block * kWidth, i = k * kSlot + j;
          const bool partial = block == kBlocks - 1 && tail;
          const P x = partial ? load_first(slots_.x[k] + offset + j, tail, slots_.mask)
                              : load(slots_.x[k] + offset + j);
          const auto clean = [&](P a) { return partial ? keep<T>(slots_.mask, a) : a; };
          step_register<T, Rule>(theta + i, states, i, scale * x, by, j, clean);
        }
      }
    }
    for (int p = 0; p < kPacks; ++p) slots_.store_loss(p * kWidth, loss[p]);
  }

  // ---- mini-batches: rows add up their gradients, the end of the batch is the round ----

  void accumulate(std::int64_t n) {
    for (std::int64_t row = 0; row < n; ++row) {
      for (int first = 0; first < slots_.n_active; first += kWidth)
        store(slots_.batch_loss + first,
              load(slots_.batch_loss + first) + parts_.predict(first, row));
      for (int k = 0; k < slots_.n_active; ++k) {
        const T* x = slots_.x[k] + row * call_.n_features;
        for (std::int64_t c = 0; c < call_.n_outputs; ++c) {
          const P slope(slots_.slope[c * kMaxSlots + k]);
          T* sum = slots_.of(slots_.gradient, k, c);
          parts_.over_features(x, [&](std::int64_t j, P x_j, auto) {
            store(sum + j, fma(slope, x_j, load(sum + j)));
          });
        }
      }
    }
  }

  void end_batch(int k) {
    auto& progress = slots_.progress[k];
    const T mean = T(1) / static_cast<T>(progress.batch_rows);
    if (progress.batch_rows > kTermsTogether) slots_.collect_batch(k);
    for (std::int64_t c = 0; c < call_.n_outputs; ++c)
      parts_.template update<false>(k, c, slots_.of(slots_.gradient, k, c), P(mean));
    parts_.project_slot(k);
    std::memset(slots_.of(slots_.gradient, k), 0, slots_.bytes(slots_.slot_size));
    slots_.add_loss(k, slots_.batch_loss[k] * mean);
    slots_.batch_loss[k] = T(0);
    progress.batch_rows = 0;
    ++progress.n_rounds;
    if (call_.is_long) after_rounds(k);
  }

  TaskSlots<T> slots_;
  const TasksCall& call_;
  RowParts<T, Rule> parts_;
};

template <class T, class Rule>
void run_tasks(const TasksCall& call) {
  TaskRunner<T, Rule>(call).run();
}

template <class T>
void run_losses(const TasksCall& call) {
  TaskRunner<T, Ogd>(call).losses();
}

}  // namespace aruba_fast::ARUBA_ISA
