#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# One program, built by every g++ and clang++ that is installed; then each build sends items to each other one through
# a ring in a file.
#
#     ci/cross_compilers.sh [COUNT]          how many items for each pairing; a million if not said
set -euo pipefail
cd "$(dirname "$0")/.."
count=${1:-1000000}

mapfile -t compilers < <(ci/compilers.sh)
if ((${#compilers[@]} < 2)); then
    echo "compilers: expected at least 2, found ${#compilers[@]} (${compilers[*]:-none}): ci/deps.sh installs them" >&2
    exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for compiler in "${compilers[@]}"; do
    echo "building with $compiler $("$compiler" -dumpfullversion -dumpversion)"
done
printf '%s\n' "${compilers[@]}" | xargs -P "$(nproc)" -I '{}' \
    env '{}' -std=c++20 -O2 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -Icore -Iatomics -I. \
    sanitizers/spsc_ring_stress.cpp core/shm/*.cpp -o "$work/{}" -lgtest -pthread
ci/exchange.sh "$count" "${compilers[@]/#/$work/}"
