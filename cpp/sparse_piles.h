// The sums of a round of several tasks with sparse rows, column by column.
//
// What the tasks leave behind is sorted into piles of neighbouring columns, in the order of the
// tasks. What a pile needs stays in a near cache, and no sum depends on which thread takes it.
#pragma once

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "parallel.h"
#include "sparse_round.h"

namespace aruba_fast {

// Tasks that were run, and where their results are.
struct SparseTasks {
  const SparseResult* results;
  const std::int32_t* columns;
  const void *theta_hat, *grad_sq, *start;
  const double* by;       // what shortens them; nan: they are left out
  const double* weights;  // null: all one
  std::int64_t n_tasks;
};

template <class T>
class SparsePiles {
 public:
  // `n_terms`: columns of the tasks of a round, about.
  SparsePiles(std::int64_t n_features, std::int64_t n_outputs, std::int64_t n_terms, Watch& watch)
      : n_features_(n_features), n_outputs_(n_outputs), watch_(watch) {
    const std::int64_t most = std::clamp<std::int64_t>(n_terms / kFewTerms, 1, kMostPiles);
    while (std::int64_t{1} << shift_ < kFewColumns || n_features >> shift_ >= most) ++shift_;
    n_piles_ = n_features <= std::int64_t{1} << shift_ ? 1 : (n_features >> shift_) + 1;
  }

  // Adds tasks of a round, the last of which make it whole: then its sums are in `round`.
  void add(const SparseTasks& tasks, bool is_last, SparseRound& round) {
    const int threads = sort(tasks);
    if (!is_begun_) {
      slots_.resize(static_cast<std::size_t>(n_features_));
      lay_out(is_last, round);
    }
    is_begun_ = !is_last;
    std::int64_t next = 0;
    const auto body = [&](int) {
      std::int64_t p;
      while ((p = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED)) < n_piles_) {
        SparseRound::Part& part = round.parts[static_cast<std::size_t>(p)];
        sum(p, tasks, part, round);
        if (is_last) close(part, round);
      }
    };
    on_threads(threads, body, watch_);
    if (is_last)
      std::erase_if(round.parts, [](const SparseRound::Part& part) { return part.n_columns == 0; });
  }

 private:
  // Followed by phi, theta_hat and grad_sq, n_outputs numbers each.
  struct Term {
    std::int32_t column, task;
  };

  // A pile costs something, too, and as many are written to at a time; the columns of a small one
  // stay in a cache.
  static constexpr std::int64_t kFewTerms = 256, kMostPiles = 256, kFewColumns = 4096;
  // Some 0.2 ms.
  static constexpr std::int64_t kParallelFrom = std::int64_t{1} << 14;

  std::int64_t stride() const {
    return static_cast<std::int64_t>(sizeof(Term)) +
           3 * n_outputs_ * static_cast<std::int64_t>(sizeof(T));
  }

  // ---- the terms, by piles ----

  // body(task, k): column k of a task that counts, of the share of a thread.
  template <class Body>
  static void over_terms(const SparseTasks& tasks, std::int64_t share, std::int64_t n_shares,
                         Body body) {
    for (std::int64_t t = tasks.n_tasks * share / n_shares;
         t < tasks.n_tasks * (share + 1) / n_shares; ++t) {
      const SparseResult& result = tasks.results[t];
      if (!(tasks.by[t] == tasks.by[t])) continue;
      for (std::int64_t k = result.at; k < result.at + result.n_columns; ++k) body(t, k);
    }
  }

  std::int64_t& begin_of(std::int64_t pile, std::int64_t share = 0) {
    return begins_[static_cast<std::size_t>(pile * n_shares_ + share)];
  }

  // To terms_, whose begins_ are by piles; returns how many threads that was work for.
  int sort(const SparseTasks& tasks) {
    std::int64_t n_terms = 0;
    for (std::int64_t t = 0; t < tasks.n_tasks; ++t) n_terms += tasks.results[t].n_columns;
    const bool parallel = n_terms * n_outputs_ >= kParallelFrom;
    n_shares_ = parallel ? std::min<std::int64_t>(n_threads(), tasks.n_tasks) : 1;
    begins_.assign(static_cast<std::size_t>(n_piles_ * n_shares_ + 1), 0);
    for_each(n_shares_, parallel, [&](std::int64_t share) {
      over_terms(tasks, share, n_shares_, [&](std::int64_t, std::int64_t k) {
        ++begin_of(tasks.columns[k] >> shift_, share);
      });
    });
    std::int64_t before = 0;
    for (std::int64_t& begin : begins_) before += std::exchange(begin, before);
    if (n_piles_ == 1) return 1;
    const auto n_bytes = static_cast<std::size_t>(before * stride());
    if (terms_.size() < n_bytes) terms_ = std::vector<char>(n_bytes);
    for_each(n_shares_, parallel, [&](std::int64_t share) {
      std::vector<char*> to(static_cast<std::size_t>(n_piles_));
      for (std::int64_t p = 0; p < n_piles_; ++p)
        to[static_cast<std::size_t>(p)] = terms_.data() + begin_of(p, share) * stride();
      over_terms(tasks, share, n_shares_, [&](std::int64_t t, std::int64_t k) {
        const std::int32_t column = tasks.columns[k];
        char*& at = to[static_cast<std::size_t>(column >> shift_)];
        write({column, static_cast<std::int32_t>(t)}, tasks, k, at);
        at += stride();
      });
    });
    return static_cast<int>(n_shares_);
  }

  void write(Term term, const SparseTasks& tasks, std::int64_t k, char* to) const {
    std::memcpy(to, &term, sizeof(term));
    T* numbers = reinterpret_cast<T*>(to + sizeof(term));
    for (const void* part : {tasks.start, tasks.theta_hat, tasks.grad_sq}) {
      const T* from = static_cast<const T*>(part) + k * n_outputs_;
      for (std::int64_t c = 0; c < n_outputs_; ++c) *numbers++ = from[c];
    }
  }

  // ---- a pile ----

  // Room for the columns of all piles: of a whole round no more than came.
  void lay_out(bool is_whole, SparseRound& round) {
    std::int64_t n_columns = 0;
    round.parts.resize(static_cast<std::size_t>(n_piles_));
    for (std::int64_t p = 0; p < n_piles_; ++p) {
      round.parts[static_cast<std::size_t>(p)] = {n_columns, 0};
      std::int64_t most = std::min(n_features_ - (p << shift_), std::int64_t{1} << shift_);
      if (is_whole) most = std::min(most, begin_of(p + 1) - begin_of(p));
      n_columns += SparseRound::padded(most);
    }
    round.reserve(n_columns, n_outputs_);
    for (auto& rest : rests_) rest.reserve(n_columns * n_outputs_);
  }

  void sum(std::int64_t p, const SparseTasks& tasks, SparseRound::Part& part, SparseRound& round) {
    if (n_piles_ == 1) {
      over_terms(tasks, 0, 1, [&](std::int64_t t, std::int64_t k) {
        const auto of = [&](const void* numbers) {
          return static_cast<const T*>(numbers) + k * n_outputs_;
        };
        add_term({tasks.columns[k], static_cast<std::int32_t>(t)}, tasks, of(tasks.start),
                 of(tasks.theta_hat), of(tasks.grad_sq), part, round);
      });
      return;
    }
    const char *at = terms_.data() + begin_of(p) * stride(), *const end =
                                                                 terms_.data() +
                                                                 begin_of(p + 1) * stride();
    // Beyond its end lies the next pile.
    const std::int64_t ahead = kAhead * stride();
    const char* const last = terms_.data() + begin_of(n_piles_) * stride() - ahead;
    for (; at < end; at += stride()) {
      Term term;
      if (at < last) {
        std::memcpy(&term, at + ahead, sizeof(term));
        __builtin_prefetch(slots_.data() + term.column, 1);
      }
      std::memcpy(&term, at, sizeof(term));
      const T* numbers = reinterpret_cast<const T*>(at + sizeof(term));
      add_term(term, tasks, numbers, numbers + n_outputs_, numbers + 2 * n_outputs_, part, round);
    }
  }

  ARUBA_RULE void add_term(Term term, const SparseTasks& tasks, const T* start, const T* theta_hat,
                           const T* grad_sq, SparseRound::Part& part, SparseRound& round) {
    const double by = tasks.by[term.task], weight = tasks.weights ? tasks.weights[term.task] : 1;
    std::int32_t& slot = slots_[static_cast<std::size_t>(term.column)];
    const bool is_new = slot == 0;
    if (is_new) {
      round.columns[part.first + part.n_columns] = term.column;
      slot = static_cast<std::int32_t>(++part.n_columns);
    }
    for (std::int64_t c = 0; c < n_outputs_; ++c) {
      const std::int64_t i = (part.first + slot - 1) * n_outputs_ + c;
      const double from = static_cast<double>(start[c]),
                   theta = shortened(static_cast<double>(theta_hat[c]), from, by);
      const auto add_to = [&](double& sum, double& rest, double x) {
        Twofold<double> of = is_new ? Twofold<double>{x, 0} : Twofold<double>{sum, rest};
        if (!is_new) aruba_fast::add(of, x);
        sum = of.high;
        rest = of.low;
      };
      add_to(round.distance[i], rests_[0][i], half_square_distance(theta, from));
      add_to(round.grad_sq[i], rests_[1][i], by * by * static_cast<double>(grad_sq[c]));
      add_to(round.moved[i], rests_[2][i], weight * (theta - from));
    }
  }

  void close(const SparseRound::Part& part, SparseRound& round) {
    const std::int64_t first = part.first * n_outputs_, n = part.n_columns * n_outputs_;
    double* const sums[] = {round.distance.get(), round.grad_sq.get(), round.moved.get()};
    for (int s = 0; s < kSums; ++s)
      for (std::int64_t i = first; i < first + n; ++i) sums[s][i] = sums[s][i] + rests_[s][i];
    for (std::int64_t k = part.first; k < part.first + part.n_columns; ++k)
      slots_[static_cast<std::size_t>(round.columns[k])] = 0;
  }

  static constexpr int kSums = 3;
  static constexpr std::int64_t kAhead = 32;

  const std::int64_t n_features_, n_outputs_;
  Watch& watch_;
  int shift_ = 0;  // a pile has 2^shift columns
  std::int64_t n_piles_, n_shares_ = 1;
  bool is_begun_ = false;
  std::vector<std::int64_t> begins_;  // of terms, [n_piles, n_shares] and the end
  std::vector<char> terms_;
  std::vector<std::int32_t> slots_;  // of a column in its part, plus one
  Memory<double> rests_[kSums];      // what the sums of the round lack
};

}  // namespace aruba_fast
