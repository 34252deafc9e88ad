#!/bin/bash
# stubs.sh FILE: writes the stub of the extension as generated from the installed package.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
$bin/pybind11-stubgen aruba_fast._core --exit-code -o "$out" >"$out/log" 2>&1 ||
  { cat "$out/log"; exit 1; }
mkdir -p "$(dirname "$1")"
$bin/ruff format -q --isolated --line-length 100 "$out/aruba_fast/_core.pyi"
cp "$out/aruba_fast/_core.pyi" "$1"
