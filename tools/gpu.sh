#!/bin/bash
# gpu.sh [PYTEST ARGUMENTS]: the tests marked gpu on a real device, then, shortened, under
# compute-sanitizer where the machine has it.
set -euo pipefail
cd "$(dirname "$0")/.."
export ARUBA_TEST_DEVICE=real
# Else JAX takes three quarters of the memory that CuPy and PyTorch need too.
export XLA_PYTHON_CLIENT_PREALLOCATE=false
.venv/bin/python - <<'CODE' || exit 1
import sys

import cupy

try:
    n = cupy.cuda.runtime.getDeviceCount()
except cupy.cuda.runtime.CUDARuntimeError as error:
    sys.exit(f"make gpu: no CUDA device can be used: {error}")
if n == 0:
    sys.exit("make gpu: the driver sees no CUDA device")
for device in range(n):
    print(device, cupy.cuda.runtime.getDeviceProperties(device)["name"].decode())
try:
    import jax

    print("JAX sees", *jax.devices("cuda"))
except (ImportError, RuntimeError) as error:
    print(f"JAX sees none of them, its device tests are skipped: {error}")
CODE
.venv/bin/python -m pytest -m gpu "$@"
sanitizer=$(command -v compute-sanitizer || echo "${CUDA_HOME:-/usr/local/cuda}/bin/compute-sanitizer")
if [ ! -x "$sanitizer" ]; then
  echo "compute-sanitizer: not on this machine, skipped"
  exit
fi
for tool in memcheck racecheck; do
  "$sanitizer" --tool $tool --error-exitcode 1 --target-processes all \
    .venv/bin/python -m pytest -m "gpu and not slow" -q -p no:cacheprovider "$@"
done
