#!/bin/bash
# arm.sh: the core on AArch64, cross-compiled and run by qemu, gives the bits of this machine.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH=$PWD/.venv/bin:$PATH
tools/debian.sh g++-aarch64-linux-gnu qemu-user
for preset in dev arm; do
  cmake --preset $preset -G Ninja --log-level=WARNING
  cmake --build build/$preset --target test_core -j"$(nproc)" | tail -1
done
emulated=(qemu-aarch64 -L /usr/aarch64-linux-gnu build/arm/test_core)
ARUBA_ISA=baseline build/dev/test_core >build/bits.native-baseline
build/dev/test_core >build/bits.native
for isa in baseline neon; do
  start=$SECONDS
  ARUBA_ISA=$isa "${emulated[@]}" >build/bits.arm-$isa
  echo "arm: $isa took $((SECONDS - start)) s under qemu"
done
for other in native arm-baseline arm-neon; do
  diff build/bits.native-baseline build/bits.$other
done
echo "arm: $(wc -l <build/bits.native) hashes equal on native baseline and best, arm baseline and neon"
