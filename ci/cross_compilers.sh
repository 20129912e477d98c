#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# One program, built by every g++ and clang++ that is installed; then each build sends items to each other one through
# a ring in a file that a third build may have made. Every item is checked, and both sides' checksums must be equal.
#
#     ci/cross_compilers.sh [COUNT]          how many items for each pairing; a million if not said
set -euo pipefail
cd "$(dirname "$0")/.."
count=${1:-1000000}

compilers=()
declare -A known
for compiler in g++ g++-{10..20} clang++ clang++-{14..24}; do
    path=$(command -v "$compiler") || continue
    path=$(readlink -f "$path")
    [[ -n ${known[$path]:-} ]] && continue
    known[$path]=1
    compilers+=("$compiler")
done
if ((${#compilers[@]} < 2)); then
    echo "compilers: expected at least 2, found ${#compilers[@]} (${compilers[*]:-none}): ci/deps.sh installs them" >&2
    exit 1
fi

work=$(mktemp -d)
sides=()
cleanup() {
    if ((${#sides[@]})); then kill "${sides[@]}" 2>/dev/null || true; fi
    rm -rf "$work"
}
trap cleanup EXIT

for compiler in "${compilers[@]}"; do
    echo "building with $compiler $("$compiler" -dumpfullversion -dumpversion)"
    "$compiler" -std=c++20 -O2 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -Icore -Iatomics \
        sanitizers/spsc_ring_stress.cpp core/shm/*.cpp -o "$work/$compiler" -lgtest -pthread
done

failed=0
creator=${compilers[-1]}
for producer in "${compilers[@]}"; do
    for consumer in "${compilers[@]}"; do
        [[ $producer == "$consumer" ]] && continue
        rm -f "$work/ring"
        "$work/$creator" --create "$work/ring" 64
        "$work/$producer" --produce "$work/ring" "$count" >"$work/produced" 2>&1 & sides=($!)
        "$work/$consumer" --consume "$work/ring" "$count" >"$work/consumed" 2>&1 & sides+=($!)
        produced=0 consumed=0
        wait "${sides[0]}" || produced=$?
        wait "${sides[1]}" || consumed=$?
        sides=()
        said=$(<"$work/produced") heard=$(<"$work/consumed")
        if ((produced == 0 && consumed == 0)) && [[ $said == "$heard" ]]; then
            printf '%-12s -> %-12s %s\n' "$producer" "$consumer" "$said"
        else
            printf '%-12s -> %-12s FAILED: producer (exit code %d): %s; consumer (exit code %d): %s\n' \
                "$producer" "$consumer" "$produced" "$said" "$consumed" "$heard" >&2
            failed=1
        fi
        creator=$producer
    done
done
exit "$failed"
