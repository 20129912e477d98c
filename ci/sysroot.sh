#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# GoogleTest and RapidCheck for another machine, unpacked into build/sysroot/: what a cross compiler does not bring.
# They come from where apt gets its packages here. Nothing is installed, and apt's own lists stay as they are.
#
#     ci/sysroot.sh ARCHITECTURE             as Debian calls it: arm64, i386
set -euo pipefail
cd "$(dirname "$0")/.."

architecture=${1:?ci/sysroot.sh: expected an architecture such as arm64, found none}
packages=(libgtest-dev librapidcheck-dev)
root=build/sysroot/$architecture
fail() { echo "ci/sysroot.sh: $*" >&2; exit 1; }

if [[ -d $root ]]; then
    echo "$root is there"
    exit
fi
command -v apt-get >/dev/null ||
    fail "expected apt-get, found none: unpack ${packages[*]} for $architecture into $root"

mkdir -p build/sysroot
work=$(mktemp -d -p build/sysroot)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/lists/partial "$work"/archives/partial "$work"/root
work=$PWD/$work  # apt takes a relative path for one within its own folders
apt=(apt-get -q -o "APT::Architecture=$architecture" -o "APT::Architectures::=$architecture" -o APT::Sandbox::User=
    -o Acquire::Languages=none -o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work" -o Dir::State::Status=/dev/null)

# A source may lack this architecture. What matters is whether the packages are found.
"${apt[@]}" update >"$work/log" 2>&1 || true
(cd "$work" && "${apt[@]}" download "${packages[@]}") >>"$work/log" 2>&1 || {
    cat "$work/log" >&2
    fail "expected ${packages[*]} for $architecture where apt gets its packages, found none"
}
for package in "$work"/*.deb; do dpkg-deb --extract "$package" "$work/root"; done
mv "$work/root" "$root"
echo "$root holds ${packages[*]}"
