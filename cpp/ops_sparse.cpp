// Tasks with sparse rows: their threads, and what is checked of their rows.
#include "ops_sparse.h"

#include <algorithm>
#include <new>
#include <tuple>
#include <type_traits>

namespace aruba_fast {
namespace {

// Entries times epochs, about 0.2 ms.
constexpr std::int64_t kParallelFrom = std::int64_t{1} << 14;

template <class Begin>
void require_begins(const char* function, const Begin* begins, std::int64_t n_rows,
                    std::int64_t n_entries) {
  if (begins[0] != 0)
    refuse(function, "`x`", "be CSR whose `indptr` begins with 0", std::to_string(begins[0]),
           "0, as scipy.sparse.csr_array makes it");
  for (std::int64_t row = 0; row < n_rows; ++row)
    if (begins[row + 1] < begins[row])
      refuse(function, "`x`", "be CSR whose `indptr` never falls",
             std::to_string(begins[row]) + ", " + std::to_string(begins[row + 1]) + " for row " +
                 std::to_string(row),
             "a rise or the same");
  if (begins[n_rows] > n_entries)
    refuse(function, "`x`", "be CSR whose `indptr` ends within its entries",
           std::to_string(begins[n_rows]), "at most " + std::to_string(n_entries));
}

}  // namespace

template <class Begin, class Column>
CsrIndex read_csr(const char* function, const Begin* begins, std::int64_t n_rows,
                  const Column* columns, std::int64_t n_entries, std::int64_t n_columns) {
  // A copy before the check: whoever owns the arrays may write to them meanwhile.
  const std::vector<Begin> held(begins, begins + n_rows + 1);
  require_begins(function, held.data(), n_rows, n_entries);
  CsrIndex index;
  index.begins.assign(held.begin(), held.end());
  index.columns.resize(static_cast<std::size_t>(index.begins.back()));
  for (std::int64_t row = 0; row < n_rows; ++row) {
    std::int64_t before = -1;
    for (std::int64_t i = index.begins[static_cast<std::size_t>(row)];
         i < index.begins[static_cast<std::size_t>(row) + 1]; ++i) {
      // Once: what is checked is what is kept, whoever writes there meanwhile.
      const std::int64_t column = *static_cast<const volatile Column*>(columns + i);
      if (column < 0 || column >= n_columns)
        refuse(function, "`x`", "be CSR whose `indices` are columns",
               std::to_string(column) + " in row " + std::to_string(row),
               "0 to " + std::to_string(n_columns - 1));
      index.is_canonical = index.is_canonical && column > before;
      before = column;
      index.columns[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(column);
    }
  }
  return index;
}

#define ARUBA_READ(Begin, Column)                                                                  \
  template CsrIndex read_csr(const char*, const Begin*, std::int64_t, const Column*, std::int64_t, \
                             std::int64_t);
ARUBA_READ(std::int32_t, std::int32_t)
ARUBA_READ(std::int32_t, std::int64_t)
ARUBA_READ(std::int64_t, std::int32_t)
ARUBA_READ(std::int64_t, std::int64_t)
#undef ARUBA_READ

template <class T>
std::int64_t make_canonical(const char* function, CsrIndex& index, T* values) {
  std::int64_t written = 0, begin = 0;
  struct Entry {
    std::int32_t column;
    std::int64_t at;
    T value;
    bool operator<(const Entry& other) const {
      return std::tie(column, at) < std::tie(other.column, other.at);
    }
  };
  std::vector<Entry> row;
  for (std::size_t end = 1; end < index.begins.size(); ++end) {
    row.clear();
    for (std::int64_t i = begin; i < index.begins[end]; ++i)
      row.push_back({index.columns[static_cast<std::size_t>(i)], i, values[i]});
    std::sort(row.begin(), row.end());
    begin = index.begins[end];
    const std::int64_t first = written;
    for (const auto& [column, at, value] : row) {
      static_cast<void>(at);
      if (written > first && index.columns[static_cast<std::size_t>(written) - 1] == column) {
        if constexpr (std::is_integral_v<T>)
          refuse(function, "`x`", "have a column once in each row of less than float32",
                 std::to_string(column) + " twice in row " + std::to_string(end - 1),
                 "x.astype(np.float32), whose values are added up");
        else values[written - 1] += value;
        continue;
      }
      index.columns[static_cast<std::size_t>(written)] = column;
      values[written++] = value;
    }
    index.begins[end] = written;
  }
  index.columns.resize(static_cast<std::size_t>(written));
  index.is_canonical = true;
  return written;
}
template std::int64_t make_canonical(const char*, CsrIndex&, float*);
template std::int64_t make_canonical(const char*, CsrIndex&, double*);
template std::int64_t make_canonical(const char*, CsrIndex&, std::uint8_t*);
template std::int64_t make_canonical(const char*, CsrIndex&, std::uint16_t*);

namespace {

template <class Value>
void measure(const TaskTable& table, const double* phi, double* squares, double* scores,
             Value value_of) {
  for (std::int64_t row = 0; row < table.n_rows; ++row) {
    double square = 0, score = 0;
    for (std::int64_t i = table.rows.begins[row]; i < table.rows.begins[row + 1]; ++i) {
      const double value = static_cast<double>(value_of(i));
      square += value * value;
      if (phi) score += value * phi[table.rows.columns[i]];
    }
    squares[row] = square;
    scores[row] = score;
  }
}

}  // namespace

void measure_rows(const TaskTable& table, const double* phi, double* squares, double* scores) {
  const void* const x = table.rows.values;
  const auto by = [&](auto value_of) { measure(table, phi, squares, scores, value_of); };
  if (table.type == Type::kFloat64)
    by([x](std::int64_t i) { return static_cast<const double*>(x)[i]; });
  else if (table.widening)
    by([x, from = table.widening](std::int64_t i) { return widened(x, from, i); });
  else by([x](std::int64_t i) { return static_cast<const float*>(x)[i]; });
}

SparseCrew::SparseCrew(const TaskTable& table, const TaskOptions& options, Watch& watch)
    : table_(table), options_(options), watch_(watch) {
  for (std::int64_t i = 0; i < table.n_tasks; ++i)
    most_entries_ = std::max(most_entries_, entries(i));
}

SparseCall SparseCrew::call() const {
  SparseCall call{};
  call.rows = table_.rows;
  call.widening = table_.widening;
  call.y = table_.y;
  call.row_weights = table_.row_weights;
  call.n_features = table_.n_features;
  call.n_outputs = options_.n_outputs;
  call.batch_size = options_.batch_size;
  call.n_epochs = options_.n_epochs;
  call.loss_kind = options_.loss;
  call.most_entries = most_entries_;
  call.most_columns = std::min(most_entries_, table_.n_features);
  return call;
}

void SparseCrew::run(SparseCall call, void (*kernel)(const SparseCall&), std::int64_t first,
                     std::int64_t n_tasks) {
  std::int64_t work = 0;
  for (std::int64_t i = first; i < first + n_tasks && work < kParallelFrom; ++i)
    work += (entries(i) + n_rows(i)) * options_.n_epochs * options_.n_outputs;
  const int threads =
      work < kParallelFrom ? 1 : static_cast<int>(std::min<std::int64_t>(n_threads(), n_tasks));
  while (std::ssize(scratch_) < threads) {
    // Zeros that nobody has touched cost nothing.
    void* memory = std::calloc(static_cast<std::size_t>(call.scratch_bytes() + 64), 1);
    if (!memory) throw std::bad_alloc();
    scratch_.emplace_back(static_cast<char*>(memory));
  }
  // Without an order, task i is row i of starts and stops.
  const std::int64_t skip = table_.order ? 0 : first;
  std::int64_t next = 0;
  call.starts = table_.starts + skip;
  call.stops = table_.stops + skip;
  call.order = table_.order ? table_.order + first : nullptr;
  call.n_tasks = n_tasks;
  call.next = &next;
  call.stop = &watch_.stop;
  const auto body = [&](int thread) {
    kernel(own_call(call, scratch_[static_cast<std::size_t>(thread)].get(), thread, watch_));
  };
  if (threads == 1) body(0);
  else on_threads(threads, body, watch_);
}

namespace {

SparseCall call_of(const SparseCrew& crew, const TaskRuleArguments& rule, const void* phi,
                   std::int64_t phi_stride) {
  SparseCall call = crew.call();
  call.phi = phi;
  call.phi_stride = phi_stride;
  for (std::size_t i = 0; i < facts_of(rule.rule).parameters.size(); ++i) {
    call.parameters[i] = rule.arrays[i];
    call.numbers[i] = rule.numbers[i];
  }
  return call;
}

// Moves what counts to the front.
template <class T>
void close_gaps(const std::vector<SparseResult>& results, std::int64_t n_outputs,
                SparseThetas& thetas) {
  T* const theta_hat = reinterpret_cast<T*>(thetas.theta_hat.data());
  std::int64_t to = 0;
  for (const SparseResult& result : results) {
    thetas.begins.push_back(to);
    const T* from = theta_hat + result.at * n_outputs;
    const std::int64_t n = result.n_columns * n_outputs;
    if (!result.counts || !std::all_of(from, from + n, is_finite)) continue;
    std::copy_n(thetas.columns.begin() + result.at, result.n_columns, thetas.columns.begin() + to);
    std::copy_n(from, n, theta_hat + to * n_outputs);
    to += result.n_columns;
  }
  thetas.begins.push_back(to);
  thetas.columns.resize(static_cast<std::size_t>(to));
  thetas.theta_hat.resize(static_cast<std::size_t>(to * n_outputs) * sizeof(T));
}

}  // namespace

void run_sparse_tasks(const TaskTable& table, const TaskOptions& options,
                      const TaskRuleArguments& rule, const void* phi, std::int64_t phi_stride,
                      const TaskOutputs& outputs, Watch& watch) {
  SparseCrew crew(table, options, watch);
  SparseCall call = call_of(crew, rule, phi, phi_stride);
  call.theta_hat = outputs.theta_hat;
  call.grad_sq = outputs.grad_sq;
  call.theta_bar = outputs.theta_bar;
  call.loss = outputs.loss;
  const int type = index_of(table.type);
  crew.run(call,
           outputs.theta_hat ? kernels().sparse_tasks[static_cast<int>(rule.rule)][type]
                             : kernels().sparse_losses[type],
           0, table.n_tasks);
}

SparseThetas run_sparse_tasks(const TaskTable& table, const TaskOptions& options,
                              const TaskRuleArguments& rule, const void* phi,
                              std::int64_t phi_stride, Watch& watch) {
  SparseCrew crew(table, options, watch);
  std::vector<SparseResult> results(static_cast<std::size_t>(table.n_tasks));
  const std::int64_t n_columns = crew.lay_out(0, results);
  SparseThetas thetas;
  thetas.columns.resize(static_cast<std::size_t>(n_columns));
  thetas.theta_hat.resize(
      static_cast<std::size_t>(n_columns * options.n_outputs * size_of(table.type)));
  std::vector<double> loss(results.size());
  SparseCall call = call_of(crew, rule, phi, phi_stride);
  call.theta_hat = thetas.theta_hat.data();
  call.columns = thetas.columns.data();
  call.results = results.data();
  call.loss = loss.data();
  const int type = index_of(table.type);
  crew.run(call, kernels().sparse_tasks[static_cast<int>(rule.rule)][type], 0, table.n_tasks);
  if (!watch.stop) {
    if (table.type == Type::kFloat64) close_gaps<double>(results, options.n_outputs, thetas);
    else close_gaps<float>(results, options.n_outputs, thetas);
  }
  return thetas;
}

}  // namespace aruba_fast
