#!/bin/bash
# nvcc.sh [VERSION]: prints the path of a CUDA compiler, from PyPI where the machine has none.
#
# Without VERSION it is the first of $CUDACXX, PATH and ${CUDA_HOME:-/usr/local/cuda} that knows every
# architecture of ours: 12.8 was the first with sm_120. With VERSION, as in 13.0.88, it is that one
# and no other, because numbers of registers are the compiler's own.
set -euo pipefail
cd "$(dirname "$0")/.."
wanted=${1:-}
default=13.0.88

version_of() { # 13.0.88, or nothing
  "$1" --version 2>/dev/null | sed -n 's/.*, V\([0-9.]*\)$/\1/p'
}
fits() {
  local version
  version=$(version_of "$1")
  [ -n "$version" ] || return 1
  if [ -n "$wanted" ]; then [ "$version" = "$wanted" ]
  else printf '12.8\n%s\n' "$version" | sort -CV
  fi
}

for candidate in "${CUDACXX:-}" "$(command -v nvcc || true)" "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc"; do
  if [ -x "$candidate" ] && fits "$candidate"; then
    echo "$candidate"
    exit
  fi
done

# cccl for <nv/target>, which the headers of bfloat16 and float16 include. A folder of its own: torch
# pins other versions of the same packages.
version=${wanted:-$default}
minor=${version%.*}
folder=$PWD/.venv/cuda-$version
root=$folder/nvidia/cu${version%%.*}
nvcc=$root/bin/nvcc
if [ ! -e "$folder/.complete" ]; then
  [ -x .venv/bin/python ] || { echo "nvcc.sh: no .venv to install into: run make .venv/.created" >&2; exit 1; }
  rm -rf "$folder"
  .venv/bin/python -m pip --disable-pip-version-check install -q --no-deps --target "$folder" \
    "nvidia-cuda-nvcc==$version" "nvidia-nvvm==$version" "nvidia-cuda-crt==$version" \
    "nvidia-cuda-runtime==$minor.*" "nvidia-cuda-cccl==$minor.*" >&2
  # The layout that nvcc and CMake expect of an installed toolkit.
  ln -s lib "$root/lib64"
  ln -s "libcudart.so.${version%%.*}" "$root/lib/libcudart.so"
  case $(uname -m) in aarch64) target=sbsa-linux ;; *) target=$(uname -m)-linux ;; esac
  mkdir -p "$root/targets/$target"
  ln -s ../../include ../../lib "$root/targets/$target/"
  touch "$folder/.complete"
fi
fits "$nvcc" || { echo "nvcc.sh: $nvcc does not run here" >&2; exit 1; }
echo "$nvcc"
