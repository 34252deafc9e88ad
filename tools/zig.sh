#!/bin/bash
# zig.sh musl|macos: the core for a C library, or a system, that this machine does not have, by the Clang that
# PyPI's ziglang brings with the headers and libraries of both. For musl it runs here, to the bits of this
# machine's; for macOS it is compiled and linked. Neither has OpenMP there: one thread.
set -euo pipefail
cd "$(dirname "$0")/.."
kind=${1:?musl or macos}
case $kind in
  musl) target=$(uname -m)-linux-musl format=gnu system=Linux processor=$(uname -m) ;;
  macos) target=aarch64-macos format=darwin system=Darwin processor=arm64 ;;
  *) echo "musl or macos: got $kind" >&2; exit 1 ;;
esac
export PATH=$PWD/.venv/bin:$PATH
mkdir -p build
for tool in "c++ -target $target" "ar --format=$format" ranlib; do
  printf '#!/bin/bash\nexec %q -m ziglang %s "$@"\n' "$PWD/.venv/bin/python" "$tool" >"build/$kind-${tool%% *}"
  chmod +x "build/$kind-${tool%% *}"
done
compiler=$PWD/build/$kind-c++
cmake --preset dev -B "build/$kind" -G Ninja --log-level=ERROR -DCMAKE_CXX_COMPILER="$compiler" \
  -DCMAKE_AR="$PWD/build/$kind-ar" -DCMAKE_RANLIB="$PWD/build/$kind-ranlib" \
  -DCMAKE_SYSTEM_NAME=$system -DCMAKE_SYSTEM_PROCESSOR="$processor" -DARUBA_WERROR=OFF
cmake --build "build/$kind" --target test_core -j"$(nproc)" | tail -1
if [ "$kind" = musl ]; then
  cmake --preset dev -G Ninja --log-level=WARNING
  cmake --build build/dev --target test_core -j"$(nproc)" | tail -1
  build/dev/test_core >build/bits.dev
  build/musl/test_core >build/bits.musl
  diff build/bits.dev build/bits.musl
  echo "musl: $(wc -l <build/bits.dev) hashes equal"
else
  # The extension too, whose headers of Python are this machine's; what JAX calls where there is a jaxlib.
  read -r -a headers < <(.venv/bin/python -c 'import importlib.util as u, pybind11, sysconfig
found = u.find_spec("jaxlib")
print("-isystem", pybind11.get_include(), "-isystem", sysconfig.get_path("include"),
      *(["-isystem", found.submodule_search_locations[0] + "/include"] if found else []))')
  for file in src/*.cpp; do
    [[ $file = src/jax_* && ${#headers[@]} -lt 6 ]] && continue
    "$compiler" -std=c++20 -c -DARUBA_VERSION='"0"' -DARUBA_FAST_STATIC -Iinclude -Icpp -I. "${headers[@]}" "$file" \
      -o "build/macos/$(basename "$file").o"
  done
  echo "macos: the core compiled and linked, $(stat -c %s build/macos/test_core) bytes; the extension compiled"
fi
