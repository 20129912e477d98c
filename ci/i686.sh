#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# A 32-bit build shares the layout or is refused: a 64-bit and a 32-bit process exchange items through one file, an item
# that is aligned otherwise is refused, and so is what is longer than an address space. Then the stress test, in 32 bits.
#
#     ci/i686.sh [COUNT]                     how many items each way; a million if not said
set -euo pipefail
cd "$(dirname "$0")/.."
count=${1:-1000000}

if [[ $(uname -m) != x86_64 ]]; then
    echo "only an x86-64 machine shares memory between 64 and 32 bits: not checked on $(uname -m)"
    exit
fi
command -v i686-linux-gnu-g++ >/dev/null ||
    { echo "ci/i686.sh: expected i686-linux-gnu-g++, found none: ci/deps.sh --ci installs it" >&2 && exit 1; }
ci/sysroot.sh i386
target=build/sysroot/i386/usr
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

flags=(-std=c++20 -O2 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -Icore -Iatomics -I. -pthread)
# build NAME COMPILER ARGUMENT...: in the background, built by name.
declare -A builds
build() {
    "${@:2}" "${flags[@]}" core/shm/*.cpp -o "$work/$1" 2>"$work/$1.log" &
    builds[$1]=$!
}
echo "building with g++ and i686-linux-gnu-g++ $(i686-linux-gnu-g++ -dumpfullversion)"
build x86-64 g++ sanitizers/spsc_ring_stress.cpp -lgtest
build side-64 g++ ci/i686/side.cpp
# Static, because no 32-bit C library is installed. With large files, and without: then open and fstat themselves refuse.
build i686 i686-linux-gnu-g++ -static -isystem "$target/include" -L"$target/lib/i386-linux-gnu" \
    sanitizers/spsc_ring_stress.cpp -lgtest  # the linker warns of GoogleTest's sockets, which nobody uses
build side-32 i686-linux-gnu-g++ -static ci/i686/side.cpp
build side-32-large-files i686-linux-gnu-g++ -static -D_FILE_OFFSET_BITS=64 ci/i686/side.cpp
for name in "${!builds[@]}"; do
    wait "${builds[$name]}" || { cat "$work/$name.log" >&2 && exit 1; }
done

# A kernel without 32-bit support runs them under qemu.
i686-linux-gnu-g++ -static -x c++ - -o "$work/nothing" <<<'int main() {}'
if ! "$work/nothing" 2>/dev/null; then
    echo "this kernel runs no 32-bit programs: qemu-i386 does"
    for program in i686 side-32 side-32-large-files; do
        mv "$work/$program" "$work/$program.32"
        printf '#!/bin/sh\nexec qemu-i386 "%s" "$@"\n' "$work/$program.32" >"$work/$program"
        chmod +x "$work/$program"
    done
fi

ci/exchange.sh "$count" "$work/x86-64" "$work/i686"

# says SENTENCE SIDE ARGUMENT...: what that side prints.
says() {
    local found
    found=$("$work/$2" "${@:3}" 2>&1) || found="$found (exit code $?)"
    [[ $found == "$1" ]] || { echo "ci/i686.sh: $2 $3: expected \"$1\", found \"$found\"" >&2 && exit 1; }
    printf '%-20s %-10s %s\n' "$2" "$3" "$found"
}
"$work/side-64" create "$work/made-by-64"
"$work/side-32" create "$work/made-by-32"
says attached side-64 attach "$work/made-by-64"
says attached side-32 attach "$work/made-by-32"
says "element alignment: expected 4 bytes, found 8" side-32 attach "$work/made-by-64"
says "element alignment: expected 8 bytes, found 4" side-64 attach "$work/made-by-32"

too_long="file size: expected at most 2147483647 bytes, found 5368709120"
overflow="found EOVERFLOW (Value too large for defined data type)"
(umask 077 && truncate --size=5G "$work/long")
says "init state: expected 2 (ready), found 0 (nothing there)" side-64 attach "$work/long"
says "open: expected success, $overflow" side-32 attach "$work/long"
says "$too_long" side-32-large-files attach "$work/long"
says "fstat: expected success, $overflow" side-32 follow "$work/made-by-64"
says "$too_long" side-32-large-files follow "$work/made-by-32"
says attached side-64 memory "$work/side-64"
says "fstat: expected success, $overflow" side-64 memory "$work/side-32"
says "$too_long" side-64 memory "$work/side-32-large-files"

# Where a 64-bit atomic would need a lock, which another process cannot see, nothing compiles.
if i686-linux-gnu-g++ -march=i386 "${flags[@]}" -fsyntax-only core/shm/mmap_region.cpp ci/i686/side.cpp 2>"$work/log"; then
    echo "ci/i686.sh: -march=i386 has no 64-bit atomics and was not refused" >&2
    exit 1
fi
grep -m1 -o "error: .*constraint failure.*is_always_lock_free.*" "$work/log" | sed 's/^/-march=i386: /'

SHM_STRESS_SECONDS=1 "$work/i686" >"$work/log" || { cat "$work/log" >&2 && exit 1; }
tail -n 1 "$work/log" | sed 's/^/the stress test in 32 bits: /'
