#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Builds of sanitizers/spsc_ring_stress.cpp send items to each other, each to each, through a ring in a file that a
# third one may have made. Every item is checked, and both sides' checksums must be equal.
#
#     ci/exchange.sh COUNT PROGRAM PROGRAM...     how many items for each pairing
set -euo pipefail
count=${1:?ci/exchange.sh: expected how many items, found nothing}
programs=("${@:2}")
((${#programs[@]} >= 2)) ||
    { echo "ci/exchange.sh: expected at least 2 programs, found ${#programs[@]}" >&2 && exit 1; }

work=$(mktemp -d)
sides=()
cleanup() {
    if ((${#sides[@]})); then kill "${sides[@]}" 2>/dev/null || true; fi
    rm -rf "$work"
}
trap cleanup EXIT

failed=0
creator=${programs[-1]}
for producer in "${programs[@]}"; do
    for consumer in "${programs[@]}"; do
        [[ $producer == "$consumer" ]] && continue
        rm -f "$work/ring"
        "$creator" --create "$work/ring" 64
        "$producer" --produce "$work/ring" "$count" >"$work/produced" 2>&1 & sides=($!)
        "$consumer" --consume "$work/ring" "$count" >"$work/consumed" 2>&1 & sides+=($!)
        wait -n "${sides[@]}" || kill "${sides[@]}" 2>/dev/null || true  # nobody waits for a peer that has failed
        produced=0 consumed=0
        wait "${sides[0]}" || produced=$?
        wait "${sides[1]}" || consumed=$?
        sides=()
        said=$(<"$work/produced") heard=$(<"$work/consumed")
        if ((produced == 0 && consumed == 0)) && [[ $said == "$heard" ]]; then
            printf '%-12s -> %-12s %s\n' "${producer##*/}" "${consumer##*/}" "$said"
        else
            printf '%-12s -> %-12s FAILED: producer (exit code %d): %s; consumer (exit code %d): %s\n' \
                "${producer##*/}" "${consumer##*/}" "$produced" "$said" "$consumed" "$heard" >&2
            failed=1
        fi
        creator=$producer
    done
done
exit "$failed"
