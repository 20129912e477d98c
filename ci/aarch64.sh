#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Properties and examples, cross-built for aarch64 and run under qemu-user; then an x86-64 and an aarch64 process send
# items to each other. It shows that layout and function are the same there. It shows nothing about memory ordering: the
# x86 machine below orders more than an aarch64 would.
#
#     ci/aarch64.sh [COUNT]                  how many items each way; a million if not said
set -euo pipefail
cd "$(dirname "$0")/.."
count=${1:-1000000}
page=docs/portability.md

if [[ $(uname -m) == aarch64 ]]; then
    echo "this machine is an aarch64: make test runs everything on it, and orders memory as one does"
    exit
fi
for tool in aarch64-linux-gnu-g++ qemu-aarch64; do
    command -v "$tool" >/dev/null ||
        { echo "ci/aarch64.sh: expected $tool, found none: ci/deps.sh --ci installs it" >&2 && exit 1; }
done
ci/sysroot.sh arm64
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmake --preset aarch64 --log-level=ERROR >/dev/null
cmake --build --preset aarch64 --parallel "$(nproc)"
for properties in proptests/*_props.cpp; do
    [[ -x build/aarch64/$(basename "$properties" .cpp) ]] ||
        { echo "ci/aarch64.sh: expected $properties to be built, found no program" >&2 && exit 1; }
done
ctest --preset aarch64 --parallel "$(nproc)" --quiet --output-log "$work/log" || { cat "$work/log" >&2 && exit 1; }
tail -n 20 "$work/log" | grep 'tests passed'

# What the preset leaves out has its reason on the page, or should not be left out.
names() { ctest "$@" --show-only | sed -n 's/^ *Test *#[0-9]*: //p' | sort; }
comm -23 <(names --test-dir build/aarch64 --label-regex 'props|examples') <(names --preset aarch64) >"$work/left-out"
echo "left out, $(wc -l <"$work/left-out") tests:"
while read -r name; do
    reason=$(grep -F "\`${name#*.}\`" "$page" | cut -d '|' -f 2) ||
        { echo "ci/aarch64.sh: expected the reason why $name is left out in $page, found none" >&2 && exit 1; }
    printf '    %s:%s\n' "${name#*.}" "$reason"
done <"$work/left-out"

here=$work/$(uname -m)
g++ -std=c++20 -O1 -Icore -Iatomics -I. sanitizers/spsc_ring_stress.cpp core/shm/*.cpp -o "$here" -lgtest -pthread
printf '#!/bin/sh\nexec qemu-aarch64 -L /usr/aarch64-linux-gnu "%s" "$@"\n' "$PWD/build/aarch64/spsc_ring_stress" \
    >"$work/aarch64"
chmod +x "$work/aarch64"
ci/exchange.sh "$count" "$here" "$work/aarch64"
