#!/bin/bash
# gcc11.sh: the oldest compiler that is promised compiles the core, to the bits of this machine's.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH=$PWD/.venv/bin:$PATH
tools/debian.sh g++-11
for preset in dev gcc11; do
  cmake --preset $preset -G Ninja --log-level=WARNING
  cmake --build build/$preset --target test_core -j"$(nproc)" | tail -1
  build/$preset/test_core >build/bits.$preset
done
diff build/bits.dev build/bits.gcc11
echo "gcc11: $(wc -l <build/bits.dev) hashes equal"
