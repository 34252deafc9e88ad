#!/bin/bash
# arm_wheel.sh: the wheel for AArch64 (CPU), cross-compiled from the sdist, used by Debian's Python under qemu.
set -euo pipefail
cd "$(dirname "$0")/.."
tools/debian.sh g++-aarch64-linux-gnu qemu-user python3-venv
work=$PWD/build/arm-wheel
root=$work/root
version=$(/usr/bin/python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
suffix=.cpython-${version/./}-aarch64-linux-gnu.so
rm -rf "$work"
mkdir -p "$work/tmp"

# Debian's Python for AArch64, of this system's release.
tools/unpack_debian.sh "$root" arm64 "$(. /etc/os-release && echo "$VERSION_CODENAME")" "python$version" \
  "libpython$version-dev" libstdc++6 libgomp1

[ -e dist/aruba_fast-*.tar.gz ] || .venv/bin/python -m build --sdist --no-isolation -o dist . >/dev/null
/usr/bin/python3 -m venv "$work/build"
"$work/build/bin/python" -m pip install -q "scikit-build-core>=0.11" "pybind11>=3" cmake ninja
defines=()
for define in CMAKE_SYSTEM_NAME=Linux CMAKE_SYSTEM_PROCESSOR=aarch64 ARUBA_WERROR=ON \
  "CMAKE_CXX_FLAGS=-I$root/usr/include" "Python_INCLUDE_DIR=$root/usr/include/python$version" \
  "PYTHON_MODULE_EXTENSION=$suffix"; do
  defines+=("--config-settings=cmake.define.$define")
done
_PYTHON_HOST_PLATFORM=linux-aarch64 CXX=aarch64-linux-gnu-g++ TMPDIR=$work/tmp \
  "$work/build/bin/python" -m pip wheel -q --no-build-isolation --no-index --no-deps -w "$work/raw" \
  "${defines[@]}" dist/aruba_fast-*.tar.gz
PATH=$PWD/.venv/bin:$PATH auditwheel repair -w dist \
  --ldpaths "$root/usr/lib/aarch64-linux-gnu:$root/lib/aarch64-linux-gnu" "$work"/raw/*.whl 2>&1 | tail -1
wheel=$(echo dist/aruba_fast-*_aarch64.whl)
echo "arm-wheel: $wheel, $(stat -c %s "$wheel") bytes"

"$work/build/bin/python" -m pip install -q --target "$work/site" --only-binary :all: \
  --platform=manylinux_2_{36,34,28,27,17}_aarch64 --platform=manylinux2014_aarch64 --implementation cp \
  --python-version "$version" "$wheel" pytest pytest-benchmark hypothesis scipy ml_dtypes
# What starts no process: that one would be another machine's.
start=$SECONDS
PYTHONPATH=$work/site qemu-aarch64 -L "$root" "$root/usr/bin/python$version" -m pytest -q -p no:cacheprovider \
  -m "not slow and not timing and not gpu" tests/test_statistics.py tests/test_tasks.py | tail -1
echo "arm-wheel: the tests took $((SECONDS - start)) s under qemu"
