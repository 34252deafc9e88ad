#!/bin/bash
# sanitize.sh address|thread [PYTEST ARGUMENTS]: runs the test suite, less its slow tests and, without
# arguments, the files whose subject is Python alone, in a build with ASan+UBSan or TSan.
#
# TSan knows the synchronization of LLVM's OpenMP runtime through its tool Archer; GNU's it cannot see.
# What Python and its packages do among themselves is not our subject: TSan ignores modules built
# without it, and a leak counts if its stack passes through our extension after it was imported.
set -euo pipefail
cd "$(dirname "$0")/.."
kind=${1:?address or thread}
shift
python=$PWD/.venv/bin/python
build=$PWD/build/$kind
llvm=/usr/lib/llvm-19

case $kind in
  address)
    export CC=gcc CXX=g++
    preload="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libstdc++.so.6)"
    ;;
  thread)
    tools/debian.sh clang-19 libclang-rt-19-dev libomp-19-dev
    export CC=$llvm/bin/clang CXX=$llvm/bin/clang++
    [ -e $llvm/lib/libarcher.so ] || { echo "libomp-19-dev has no libarcher.so" >&2; exit 1; }
    preload=$("$CXX" -print-file-name=libclang_rt.tsan-"$(uname -m)".so)
    ;;
  *) echo "address or thread: got $kind" >&2; exit 1 ;;
esac
"$python" -m pip install -q --no-build-isolation --no-deps --upgrade --target "$build/site" . \
  -Cbuild-dir="$build/cmake" -Cinstall.strip=false -Ccmake.define.ARUBA_SANITIZE="$kind"

# Device tests: the CUDA kernels run on the CPU, sanitized too. Their race check is that of the C++
# tests (make cuda-emulated), where every CUDA thread is a thread to TSan.
marks="not slow"
if [ $# -eq 0 ]; then
  for subject in adaptation cli cuda_gates data_docs datasets demo diagnose_command download episodes gpu_paper "jax*" \
    "omniglot*" real_data reference results_page runs "shakespeare*" "sine*" theory "writers*"; do
    set -- "$@" "--ignore-glob=*/test_$subject.py"
  done
fi
if [ "$kind" = address ]; then
  .venv/bin/cmake -S . -B "$build/cmake" -DARUBA_CUDA_EMULATED=ON --log-level=WARNING
  .venv/bin/cmake --build "$build/cmake" --target _cuda_emulated
  export ARUBA_CUDA_EMULATED_MODULE=$build/cmake/emulated
else
  marks+=" and not gpu"
fi

# Randomized addresses may collide with the sanitizers' shadow memory.
fixed=()
setarch -R true 2>/dev/null && fixed=(setarch -R)
# The verdict is pytest's own: the leak check at exit was seen to turn a failure into status 0.
run='import sys, pytest; open(sys.argv[1], "w").write(str(int(pytest.main(sys.argv[2:]))))'
suite=("${fixed[@]}" "$python" -c "$run" "$build/verdict" -q -m "$marks" -p no:cacheprovider
  -n auto --maxprocesses=8 "$@")
export PYTHONPATH=$build/site PYTHONMALLOC=malloc OPENBLAS_NUM_THREADS=1
export ARUBA_SANITIZED=$kind
rm -f "$build"/log.* "$build/verdict"

if [ "$kind" = address ]; then
  # Leaks do not stop the run: their reports are judged below. Processes that tests start have no
  # leak check (tests/conftest.py): where it fails, it replaces their status.
  export ASAN_OPTIONS=detect_leaks=1:exitcode=99:log_path=$build/log:allocator_may_return_null=1
  export LSAN_OPTIONS=exitcode=0:max_leaks=0:print_suppressions=0 UBSAN_OPTIONS=print_stacktrace=1
  LD_PRELOAD=$preload "${suite[@]}"
  grep -qx 0 "$build/verdict"
  "$python" tools/sanitizer_reports.py "$build"/log.*
else
  export OMP_TOOL_LIBRARIES=$llvm/lib/libarcher.so
  export TSAN_OPTIONS=ignore_noninstrumented_modules=1:exitcode=66:halt_on_error=0:log_path=$build/log
  TSAN_OPTIONS+=:allocator_may_return_null=1
  LD_PRELOAD=$preload "${suite[@]}"
  grep -qx 0 "$build/verdict"
  # Not of what was too large to be allocated, which is a MemoryError.
  if grep -hA 40 -E "(WARNING|ERROR): ThreadSanitizer: " "$build"/log.* 2>/dev/null; then exit 1; fi
fi
