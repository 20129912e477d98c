#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# A search that is split over shards and workers counts what it counts undivided, and a lost shard is missed.
set -euo pipefail
cd "$(dirname "$0")/.."
check=$PWD/build/model-check/models/model-check
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

counts() { python3 -c '
import json, sys
for row in json.load(open(sys.argv[1]))["scenarios"]:
    print(row["scenario"], row["engine"], row["executions"], row["blocked"], row["search"], row["verdict"])' "$1" | sort; }
"$check" --jobs 1 --json "$work/whole" >"$work/log" || { cat "$work/log" >&2 && exit 1; }
for shard in 0 1 2; do
    "$check" --jobs 3 --shard "$shard/3" --json "$work/$shard" >"$work/log" || { cat "$work/log" >&2 && exit 1; }
done
"$check" --merge "$work/0" "$work/1" "$work/2" --json "$work/merged" >"$work/log" || { cat "$work/log" >&2 && exit 1; }
diff <(counts "$work/whole") <(counts "$work/merged") >&2 ||
    { echo "ci/shards.sh: expected the counts of the undivided search (<), found others (>)" >&2 && exit 1; }
"$check" --jobs 3 --shard 1/3 --only created_twice --no-orders --json "$work/little" >"$work/log"

# incomplete WHAT FILE...: what the other shards found is not taken for the whole.
incomplete() {
    local status=0
    "$check" --merge "${@:2}" >"$work/log" || status=$?
    ((status == 3)) || { echo "ci/shards.sh: $1: expected exit code 3, found $status" >&2 && exit 1; }
}
incomplete "a lost shard" "$work/0" "$work/2"
incomplete "a shard that searched one scenario" "$work/0" "$work/little" "$work/2"
echo "$(counts "$work/whole" | wc -l) rows: three shards of three workers count what one worker does; a lost or partial shard is missed"
