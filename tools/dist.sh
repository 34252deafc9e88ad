#!/bin/bash
# dist.sh: builds sdist and wheel as a release would, and uses the wheel where nothing else is.
set -euo pipefail
cd "$(dirname "$0")/.."
.venv/bin/python -m pip install -q build
rm -rf dist build/bare
# The released wheels are of the CPU: CUDA is for those who ask for it (docs/gpu.md).
.venv/bin/python -m build -o dist . >build/dist.log 2>&1 || { tail -40 build/dist.log; exit 1; }
wheel=$(echo dist/*.whl)
for member in _core. py.typed _core.pyi data/wages.npz; do
  .venv/bin/python -m zipfile -l "$wheel" | grep -q "aruba_fast/$member" ||
    { echo "$wheel lacks $member"; exit 1; }
done
if .venv/bin/python -m zipfile -l "$wheel" | grep "aruba_fast/_cuda"; then
  echo "$wheel has CUDA in it"
  exit 1
fi
if .venv/bin/python -m zipfile -l "$wheel" | grep -E '\.(h|a|cmake|pc) |libaruba_fast'; then
  echo "$wheel has the C++ package in it"
  exit 1
fi
.venv/bin/python -m venv build/bare
build/bare/bin/python -m pip install -q "$wheel"
cd build
bare/bin/python - <<'CODE'
import numpy as np
import aruba_fast as af
theta = np.zeros(3, np.float32)
af.step(theta, np.ones(3, np.float32), 0.5)
assert (theta == -0.5).all()
print(af.info())
CODE
