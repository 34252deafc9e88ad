#!/bin/bash
# cuda_emulated.sh: the CUDA kernels, compiled by the C++ compiler and run on the CPU, against the
# CPU's own kernels: plain in several orders of blocks and threads, under ASan + UBSan, and under
# TSan, which is the race check.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH=$PWD/.venv/bin:$PATH
tools/debian.sh clang-19 libclang-rt-19-dev libomp-19-dev
for preset in dev asan tsan; do
  cmake --preset $preset -G Ninja --log-level=WARNING
  cmake --build build/$preset -j"$(nproc)" | tail -1
  orders="0 1"
  [ $preset != dev ] || orders="0 1 2 3"
  for order in $orders; do
    echo "--- $preset, order $order"
    CUDA_ON_CPU_ORDER=$order ctest --test-dir build/$preset -R cuda --no-tests=error \
      --output-on-failure | grep -vE '^ *(Start|Test project)'
  done
done
