#!/bin/bash
# stubs.sh FOLDER: writes the stubs of _core and _cuda as generated from the installed package and the emulated _cuda,
# whose bindings are those of the real one.
# stubs.sh --test: compares the stubs of the package with what the modules offer.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$PWD/.venv/bin
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
cp -r "$(dirname "$($bin/python -c 'import aruba_fast; print(aruba_fast.__file__)')")" "$out/aruba_fast"
cp "${ARUBA_CUDA_EMULATED_MODULE:-build/release/emulated}"/_cuda*.so "$out/aruba_fast/"
export PYTHONPATH=$out
if [ "$1" = --test ]; then
  exec "$bin/python" -m mypy.stubtest aruba_fast._core aruba_fast._cuda --allowlist tools/stubtest.txt
fi
mkdir -p "$1"
for name in _core _cuda; do
  $bin/pybind11-stubgen aruba_fast.$name --exit-code -o "$out/stubs" >"$out/log" 2>&1 || { cat "$out/log"; exit 1; }
  $bin/ruff format -q --isolated --line-length 100 "$out/stubs/aruba_fast/$name.pyi"
  cp "$out/stubs/aruba_fast/$name.pyi" "$1"
done
