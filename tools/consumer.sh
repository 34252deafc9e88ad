#!/bin/bash
# consumer.sh: the C++ package, installed and used as a stranger does: by g++ and clang++, static and
# shared, by find_package, pkg-config and FetchContent; everywhere the numbers of Python, to the bit.
set -euo pipefail
cd "$(dirname "$0")/.."
# Folders of one depth: what ccache knows of one it knows of all.
out=$PWD/build/consumer
export PATH=$PWD/.venv/bin:$PATH
tools/debian.sh clang-19 libomp-19-dev pkg-config
mkdir -p build
for program in wages settings; do
  .venv/bin/python tests/consumer/$program.py "$out-$program.txt" >"$out-$program.python"
done

# same NAME: the programs of folder NAME print what Python does, and the examples of the headers hold.
same() {
  for program in wages settings; do
    "$out-$1/$program" "$out-$program.txt" | diff "$out-$program.python" -
  done
  "$out-$1/examples" >"$out-$1/said"
  "$out-$1/refusals" >>"$out-$1/said" || { cat "$out-$1/said"; return 1; }
  echo "consumer $1: the numbers of Python" $(grep -E '^[0-9]+ (examples|refusals)' "$out-$1/said")
}

build() { # TARGET SOURCE FOLDER ARGUMENT...
  cmake -S "$2" -B "$3" -G Ninja --log-level=WARNING "${@:4}" >/dev/null
  cmake --build "$3" --target "$1" -j "$(nproc)" | tail -1
}

for compiler in g++ clang++-19; do
  for shared in OFF ON; do
    kind=$([ $shared = ON ] && echo shared || echo static)
    name=$compiler-$kind prefix=$out-$compiler-$kind-installed library=$out-$compiler-$kind-library
    rm -rf "$prefix" "$out-$name"
    if [ "$name" = g++-static ]; then
      library=build/dev # what other targets build too
      build aruba_core . $library --preset dev
    else
      build aruba_core . "$library" -DCMAKE_CXX_COMPILER=$compiler -DBUILD_SHARED_LIBS=$shared \
        -DARUBA_WERROR=$([ $compiler = g++ ] && echo ON || echo OFF)
    fi
    for component in runtime development; do
      cmake --install "$library" --prefix "$prefix" --component $component >/dev/null
    done
    build all tests/consumer "$out-$name" -DCMAKE_PREFIX_PATH="$prefix" \
      -DCMAKE_CXX_COMPILER=$compiler -DCMAKE_EXPORT_COMPILE_COMMANDS=ON
    # No flag of ours: what is seen of the library are headers, a standard and at most a name.
    if grep '"command"' "$out-$name/compile_commands.json" | grep -E -- ' -(f|W|m|O)'; then
      echo "the package hands on flags"
      exit 1
    fi
    same "$name"
    export PKG_CONFIG_PATH=$prefix/lib/pkgconfig
    # shellcheck disable=SC2046
    $compiler -std=c++20 tests/consumer/wages.cpp -o "$out-$name/by_pkg_config" \
      $(pkg-config --cflags --libs aruba_fast) -Wl,-rpath,"$prefix/lib"
    "$out-$name/by_pkg_config" "$out-wages.txt" | diff "$out-wages.python" -
  done
done

# Of a shared library nothing is seen but what the headers declare.
if nm -DC --defined-only "$out"-*-shared-installed/lib/libaruba_fast.so | grep -E ' [TWVBD] ' | grep -vE \
  'aruba_fast::((MetaLearner|Rule)<|(\w+Error|Interrupted)\b|(evaluate|meta_train|run_tasks)\b|(step|version|instruction_set|n_threads|set_n_threads)\(|History aruba_fast)|std::|typeinfo|vtable|_init|_fini'; then
  echo "the shared library shows what it should hide"
  exit 1
fi

# Within a project of somebody's, whose flags would give other bits.
rm -rf "$out-fetched"
build all tests/consumer "$out-fetched" -DARUBA_FAST_SOURCE="$PWD" -DCMAKE_BUILD_TYPE=Release \
  -DCMAKE_CXX_FLAGS=-ffast-math
same fetched
