// The step rules on whole arrays and lists of arrays.
#include "ops_step.h"

#include <algorithm>

#include "parallel.h"
#include "step_plan.h"

namespace aruba_fast {
namespace {

// Below this many coordinates, waking a second thread costs more than it saves (2 cores at 3 GHz: 2
// to 4 us).
constexpr std::int64_t kParallelFrom = std::int64_t(1) << 16;
// Threads part at multiples of this, so that they share no cache line or page.
constexpr std::int64_t kGrain = 4096;
// Coordinates between two visits: six arrays of float32 are 24 KB.
constexpr std::int64_t kTile = 1024;

// Coordinates begin..end of one row, or of whole rows when they are aligned to rows.
void run_span(StepRule rule, const StepPiece& piece, std::int64_t begin, std::int64_t n_rows,
              std::int64_t n) {
  const auto moved = [](auto* p, std::int64_t bytes) {
    return p ? static_cast<decltype(p)>(const_cast<char*>(static_cast<const char*>(p)) + bytes) : p;
  };
  StepCall call = piece.call;
  call.theta = moved(call.theta, begin * piece.theta_bytes);
  call.state = moved(call.state, begin * piece.theta_bytes);
  call.grad = moved(call.grad, begin * piece.grad_bytes);
  call.first = moved(call.first, begin % piece.call.n * piece.first_bytes);
  call.n_rows = n_rows;
  call.n = n;
  kernels().step[static_cast<int>(rule)][piece.kind][piece.has_narrow_first()](call);
}

// Coordinates begin..end of a piece, counted over its rows: the rest of a row, whole rows, the
// start of a row.
void run_range(StepRule rule, const StepPiece& piece, std::int64_t begin, std::int64_t end) {
  const std::int64_t row = piece.call.n;
  if (begin % row) {
    const std::int64_t n = std::min(row - begin % row, end - begin);
    run_span(rule, piece, begin, 1, n);
    begin += n;
  }
  const std::int64_t n_rows = (end - begin) / row;
  if (n_rows > 0) run_span(rule, piece, begin, n_rows, row);
  begin += n_rows * row;
  if (begin < end) run_span(rule, piece, begin, 1, end - begin);
}

}  // namespace

void run_steps(StepRule rule, const StepPlan& plan, const StepVisits* visits) {
  const auto run_piece = [&](std::size_t i, std::int64_t begin, std::int64_t end) {
    const std::int64_t tile = visits ? kTile : end - begin;
    for (; begin < end; begin += tile) {
      const std::int64_t stop = std::min(end, begin + tile);
      if (visits) visits->before(i, begin, stop);
      run_range(rule, plan.pieces[i], begin, stop);
      if (visits) visits->after(i, begin, stop);
    }
  };
  const auto run = [&](std::int64_t begin, std::int64_t end) {
    const auto after =
        std::upper_bound(plan.pieces.begin(), plan.pieces.end(), begin,
                         [](std::int64_t at, const StepPiece& piece) { return at < piece.first; });
    for (auto i = static_cast<std::size_t>(after - plan.pieces.begin()) - 1; begin < end; ++i) {
      const StepPiece& piece = plan.pieces[i];
      const std::int64_t stop = std::min(end, piece.first + plan.size(i));
      run_piece(i, begin - piece.first, stop - piece.first);
      begin = stop;
    }
  };
  if (plan.n < kParallelFrom) {
    if (plan.n > 0) run(0, plan.n);
    return;
  }
  const int threads = n_threads();
  const std::int64_t share = (plan.n / threads / kGrain + 1) * kGrain;
  for_each((plan.n + share - 1) / share, true,
           [&](std::int64_t part) { run(part * share, std::min(plan.n, (part + 1) * share)); });
}

void step(const StepArguments& arguments) { run_steps(arguments.rule, plan_step(arguments)); }

}  // namespace aruba_fast
