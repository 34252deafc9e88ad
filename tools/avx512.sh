#!/bin/bash
# avx512.sh BUILD: looks at what cannot be run everywhere. The kernels for AVX-512 must use its
# 512-bit registers, those for less must not, and no instruction set may offer the linker code
# under a name that another one has too: a processor without AVX-512 would die of it.
set -euo pipefail
objects=$1/CMakeFiles
objects_of() { echo "$objects/$1_float.dir/cpp/isa.cpp.o" "$objects/$1_double.dir/cpp/isa.cpp.o"; }
zmm() { # functions with 512-bit registers, of all functions of a namespace
  objdump -d --no-show-raw-insn -C $(objects_of "$1") | awk -v name="aruba_fast::$1::" '
    /^[0-9a-f]+ </ { kernel = index($0, name) > 0; counted = 0; if (kernel) n++ }
    kernel && !counted && /%zmm/ { wide++; counted = 1 }
    END { printf "%d %d\n", wide, n }'
}
read -r wide all < <(zmm avx512)
echo "avx512: $wide of $all functions use 512-bit registers"
kernels=$(objdump -d --no-show-raw-insn -C $(objects_of avx512) | awk '
  /^[0-9a-f]+ <.*aruba_fast::avx512::(step_rows<|Reduction<.*::add_group<|merge|meta<|TaskRunner<)/ {
    # What is done after so many rounds is rare, and its loops may be narrow.
    if (name != "" && !wide) print name; name = /::after_rounds\(/ ? "" : $0; wide = 0 }
  /%zmm/ { wide = 1 }
  END { if (name != "" && !wide) print name }')
[ -z "$kernels" ] || { echo "kernels of avx512 without 512-bit registers:"; echo "$kernels"; exit 1; }
[ "$wide" -gt 0 ]
read -r wide all < <(zmm avx2)
[ "$wide" -eq 0 ] || { echo "avx2: $wide of $all functions use 512-bit registers"; exit 1; }
for isa in avx2 avx512; do
  foreign=$(nm -C --defined-only $(objects_of $isa) | grep -E ' [VWu] ' | grep -v "aruba_fast::$isa::" || true)
  [ -z "$foreign" ] || { echo "the objects of $isa share symbols with others:"; echo "$foreign"; exit 1; }
done
echo "no symbol is shared between instruction sets"
