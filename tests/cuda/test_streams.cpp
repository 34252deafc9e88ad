// Tests of streams that work late: what the machine does in which order, what it must find, and
// that tables outlive the work that reads them.
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "arrays.h"
#include "cuda/device.h"
#include "cuda/ops_step.h"
#include "cuda_runtime.h"
#include "expect.h"

namespace aruba_fast::test {
namespace {

using cuda_on_cpu::kAtOnce;
using cuda_on_cpu::kLate;
using cuda_on_cpu::kOthersFirst;
using cuda_on_cpu::kRandom;

// Streams are told apart by their addresses.
int places[3];
cudaStream_t stream(int number) { return reinterpret_cast<cudaStream_t>(&places[number]); }

__global__ void add(int* to, const int* from) { *to = *to * 10 + *from; }

void launch(cudaStream_t on, int* to, const int* from) {
  const cudaLaunchConfig_t config{1, 1, 0, on, nullptr, 0};
  expect_equal(int{cudaLaunchKernelEx(&config, add, to, from)}, 0);
}

void test_order() {
  const int digits[] = {1, 2, 3, 4};
  int got = 0;
  const auto enqueue = [&](unsigned schedule) {
    cuda_on_cpu::set_schedule(schedule);
    got = 0;
    launch(stream(0), &got, &digits[0]);
    launch(stream(1), &got, &digits[1]);
    launch(stream(0), &got, &digits[2]);
  };
  enqueue(kAtOnce);
  expect_equal(got, 123);
  enqueue(kLate);
  expect_equal(got, 0);
  cudaStreamSynchronize(stream(0));
  expect_equal(got, 13);
  cudaStreamSynchronize(stream(1));
  expect_equal(got, 132);
  enqueue(kOthersFirst);
  cudaStreamSynchronize(stream(0));
  expect_equal(got, 213);
  bool seen[1000] = {};
  for (unsigned seed = kRandom; seed < kRandom + 50; ++seed) {
    enqueue(seed);
    cuda_on_cpu::finish();
    seen[got] = true;
  }
  expect(seen[123] && seen[132] && seen[213] && !seen[312] && !seen[321] && !seen[231],
         "every order that is allowed, and no other");
}

// Streams wait for what was recorded when they were told to, and for no more.
void test_events() {
  const int digits[] = {1, 2, 3};
  for (unsigned schedule = kAtOnce; schedule < kRandom + 10; ++schedule) {
    cuda_on_cpu::set_schedule(schedule);
    int got = 0;
    cudaEvent_t event = nullptr;
    cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
    launch(stream(0), &got, &digits[0]);
    cudaEventRecord(event, stream(0));
    cudaStreamWaitEvent(stream(1), event, 0);
    launch(stream(1), &got, &digits[1]);
    cudaEventRecord(event, stream(1));
    cudaStreamWaitEvent(stream(2), event, 0);
    cudaEventDestroy(event);  // the waits stay
    launch(stream(2), &got, &digits[2]);
    cudaStreamSynchronize(stream(2));
    expect_equal(got, 123);
  }
}

void test_memory() {
  const auto fault = [](const std::string& text) {
    const std::string found = cuda_on_cpu::take_fault();
    expect(found.find(text) != std::string::npos, "found: " + found);
  };
  const auto one = [](cudaStream_t on) { return static_cast<int*>(cuda_on_cpu::take(4, on)); };
  for (unsigned schedule : {kAtOnce, kLate, kOthersFirst}) {
    cuda_on_cpu::set_schedule(schedule);
    int *a = one(stream(0)), *b = one(stream(0));
    launch(stream(0), a, b);
    cuda_on_cpu::give_back(b);  // in the order of its stream: the launch is before
    expect(one(stream(0)) == b, "the pool gives what came back on that stream");
    launch(stream(0), a, b);
    cuda_on_cpu::finish();
    expect(cuda_on_cpu::take_fault().empty(), "no fault");
    cuda_on_cpu::give_back(b);
    launch(stream(0), a, b);
    cuda_on_cpu::finish();
    fault("that was freed");
    b = one(stream(0));
    cuda_on_cpu::begin_capture(stream(0));
    launch(stream(0), a, b);
    const auto graph = cuda_on_cpu::end_capture(stream(0));
    cuda_on_cpu::replay(graph, stream(0));
    cuda_on_cpu::finish();
    expect(cuda_on_cpu::take_fault().empty(), "no fault");
    cuda_on_cpu::give_back(b);
    expect(one(stream(0)) == b, "another owner");
    cuda_on_cpu::replay(graph, stream(0));
    cuda_on_cpu::finish();
    fault("that has another owner");
    cuda_on_cpu::give_back(b);
    cuda_on_cpu::finish();
    *b = 1;
    one(stream(0));
    cuda_on_cpu::finish();
    fault("memory was written after it was freed");
    b[1] = 1;
    cuda_on_cpu::give_back(b);
    cuda_on_cpu::give_back(a);
    cuda_on_cpu::finish();
    fault("something was written beyond its memory");
  }
  cuda_on_cpu::set_schedule(kLate);
  int* a = one(stream(0));
  launch(stream(1), a, a);  // no event says that it comes after what had the memory before
  cudaStreamSynchronize(stream(1));
  fault("is not yet there");
  cuda_on_cpu::give_back(a);
  cuda_on_cpu::set_schedule(kAtOnce);
}

void test_captures() {
  cuda_on_cpu::set_schedule(kLate);
  const int one = 1, two = 2;
  int got = 0;
  cudaEvent_t event = nullptr;
  cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
  cudaEventRecord(event, stream(1));
  cuda_on_cpu::begin_capture(stream(0));
  launch(stream(0), &got, &one);
  expect_equal(int{cudaStreamWaitEvent(stream(0), event, 0)}, int{cudaErrorStreamCaptureIsolation});
  expect_equal(int{cudaEventQuery(event)}, int{cudaErrorStreamCaptureUnsupported});
  expect_equal(int{cudaStreamSynchronize(stream(0))}, int{cudaErrorStreamCaptureUnsupported});
  cudaEventRecord(event, stream(0));
  expect_equal(int{cudaStreamWaitEvent(stream(1), event, 0)}, 0);
  launch(stream(1), &got, &two);
  {
    const cuda::RelaxedCapture relaxed;
    expect_equal(int{cudaEventQuery(event)}, int{cudaErrorCapturedEvent});
  }
  cudaEventRecord(event, stream(1));
  expect_equal(int{cudaStreamWaitEvent(stream(0), event, 0)}, 0);
  cuda::Mark mark;
  mark.set({0, stream(0)});
  expect(!mark.has_passed(), "the graph is there");
  auto graph = cuda_on_cpu::end_capture(stream(0));
  expect(graph != nullptr && got == 0, "captured, not done");
  cuda_on_cpu::replay(graph, stream(2));
  graph = nullptr;
  expect(!mark.has_passed(), "a replay is on its way");
  cudaStreamSynchronize(stream(2));
  expect_equal(got, 12);
  expect(mark.has_passed(), "the graph is gone");
  cuda_on_cpu::begin_capture(stream(0));
  cudaEventRecord(event, stream(0));
  cudaStreamWaitEvent(stream(1), event, 0);
  expect(cuda_on_cpu::end_capture(stream(0)) == nullptr, "a stream that was not joined again");
  cudaEventDestroy(event);
  cudaGetLastError();
  cuda_on_cpu::set_schedule(kAtOnce);
}

// Two arrays, all of one number.
struct Pair {
  explicit Pair(float value) : values(2, std::vector<float>(5, value)) {
    for (int i = 0; i < 2; ++i) arrays[i] = view("array", values[i].data(), {5}, i);
  }
  std::vector<std::vector<float>> values;
  Array arrays[2];
};

// Every table is read by the kernels that it was made for, whatever comes after on other streams.
void test_tables() {
  for (unsigned schedule = kAtOnce; schedule < kRandom + 10; ++schedule) {
    cuda_on_cpu::set_schedule(schedule);
    const Pair grad(1);
    Pair slow(4);
    const auto step = [&](Pair& theta, int number) {
      cuda::step({"step", StepRule::kOgd, theta.arrays, grad.arrays, {}, {}, {1}},
                 {0, stream(number)});
    };
    step(slow, 0);
    step(slow, 1);
    cudaStreamSynchronize(stream(1));
    std::vector<std::unique_ptr<Pair>> others;
    for (int i = 0; i < 70; ++i) {
      others.push_back(std::make_unique<Pair>(2.0F));
      step(*others.back(), 2);
      cudaStreamSynchronize(stream(2));
    }
    cuda_on_cpu::finish();
    for (const auto& other : others)
      expect(other->values == Pair(1).values, "one step of every other list");
    expect(slow.values == Pair(2).values, "two steps of the slow one");
  }
  cuda_on_cpu::set_schedule(kAtOnce);
}

// Threads have streams and memory of the one machine in common, as those of a program have.
void test_threads() {
  cuda_on_cpu::set_schedule(kAtOnce);
  std::atomic<int> n_right = 0;
  const auto work = [&](int number) {
    const cudaLaunchConfig_t config{1, 1, 0, stream(number % 3), nullptr, 0};
    const auto take = [&](int i) {
      return static_cast<int*>(cuda_on_cpu::take(4U << i % 3 * 9, stream(number % 3)));
    };
    for (int i = 0; i < 300; ++i) {
      int *to = take(i), *from = take(i + number);
      *to = i;
      *from = number;
      const bool launched = cudaLaunchKernelEx(&config, add, to, from) == 0;
      cudaStreamSynchronize(stream(number % 3));
      n_right += launched && *to == i * 10 + number;
      cuda_on_cpu::give_back(from);
      cuda_on_cpu::give_back(to);
    }
  };
  std::vector<std::thread> threads;
  for (int number = 0; number < 6; ++number) threads.emplace_back(work, number);
  for (std::thread& thread : threads) thread.join();
  expect_equal(n_right.load(), 6 * 300);
  expect(cuda_on_cpu::take_fault().empty(), "no fault");
}

}  // namespace
}  // namespace aruba_fast::test

int main() {
  using namespace aruba_fast::test;
  return report("streams", [] {
    test_order();
    test_events();
    test_memory();
    test_captures();
    test_tables();
    test_threads();
  });
}
