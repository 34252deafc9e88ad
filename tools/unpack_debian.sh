#!/bin/bash
# unpack_debian.sh FOLDER ARCHITECTURE RELEASE PACKAGE...: unpacks packages of Debian, and all that they need,
# into a folder beside the system: nothing is installed. Headers of the C library are left out.
set -euo pipefail
folder=${1:?folder} architecture=${2:?architecture} release=${3:?release}
shift 3
rm -rf "$folder"
mkdir -p "$folder"/apt/{lists/partial,cache/archives/partial}
apt=$folder/apt
touch "$apt/status" # nothing counts as installed
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $release main" \
  >"$apt/sources.list"
options=(-qq -o APT::Architecture="$architecture" -o APT::Architectures="$architecture" -o Dir::Etc::SourceParts=/dev/null
  -o Dir::Etc::SourceList="$apt/sources.list" -o Dir::State::Lists="$apt/lists" -o Dir::State::Status="$apt/status"
  -o Dir::Cache="$apt/cache" -o APT::Sandbox::User=root)
apt-get "${options[@]}" update
apt-get "${options[@]}" install -y --no-install-recommends --download-only "$@" >/dev/null
for package in "$apt"/cache/archives/*.deb; do
  case $package in
    */libc6-dev_* | */linux-libc-dev_*) ;;
    *) dpkg -x "$package" "$folder" ;;
  esac
done
rm -rf "$apt"
