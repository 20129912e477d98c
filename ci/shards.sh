#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# A search that is split over shards and workers counts what it counts undivided; a lost shard is missed, and one of another
# run is refused. The shards are those of tools/cluster/: GNU parallel's is run, of the others the command that each node
# would be given.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v parallel >/dev/null || { echo "ci/shards.sh: parallel is not installed: ci/deps.sh --ci installs it" >&2 && exit 1; }
check=build/model-check/models/model-check
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

refuse() { echo "ci/shards.sh: $*" >&2 && exit 1; }
counts() { python3 -c '
import json, sys
for row in json.load(open(sys.argv[1]))["scenarios"]:
    print(row["scenario"], row["engine"], row["executions"], row["blocked"], row["search"], row["verdict"])' "$1" | sort; }
# One primitive is enough to compare: it has searches that are split, others that one shard takes whole, and orders.
compared=(--only spsc_ring)
"$check" --jobs 3 "${compared[@]}" --json "$work/whole" >"$work/log" || { cat "$work/log" >&2 && exit 1; }
MODEL_CHECK_OPTIONS="${compared[*]}" tools/cluster/model-check.sh 3 >"$work/log" || { cat "$work/log" >&2 && exit 1; }
mv build/certificate.json build/shard-[012].json "$work"
diff <(counts "$work/whole") <(counts "$work/certificate.json") >&2 ||
    refuse "expected the counts of the undivided search (<), found others (>)"

# merges_as STATUS WHAT FILE...: the exit code of --merge.
merges_as() {
    local status=0
    "$check" --merge "${@:3}" >"$work/log" 2>&1 || status=$?
    ((status == $1)) || refuse "$2: expected exit code $1, found $status: $(<"$work/log")"
}
incomplete=3
merges_as $incomplete "a lost shard" "$work/shard-0.json" "$work/shard-2.json"
for key in search engine; do
    python3 -c '
import json, sys
part = json.load(open(sys.argv[1]))
lost = {"search": "part 1/3", "engine": "relacy"}[sys.argv[3]]
part["scenarios"].remove(next(row for row in part["scenarios"] if row[sys.argv[3]] == lost))
json.dump(part, open(sys.argv[2], "w"))' "$work/shard-1.json" "$work/little.json" $key
    merges_as $incomplete "a shard that has lost a search, by its $key" "$work/shard-0.json" "$work/little.json" "$work/shard-2.json"
done

# part FILE ARGUMENT...: half of a run that takes no time.
part() { "$check" --jobs 1 --only "${only-created_twice}" --json "$work/$1" "${@:2}" >"$work/log" || { cat "$work/log" >&2 && exit 1; }; }
part first --shard 0/2
part second --shard 1/2
merges_as 0 "both halves of a run" "$work/first" "$work/second"
# refused WORDS [ARGUMENT...]: a second half, made with these, is refused with a sentence that has these words.
refused() {
    (($# == 1)) || part second "${@:2}"
    merges_as 2 "a shard of another run" "$work/first" "$work/second"
    [[ $(<"$work/log") == *"expected a shard of a run with $1"* && $(wc -l <"$work/log") == 1 ]] ||
        refuse "expected a sentence with $1, found: $(<"$work/log")"
    refusals=$((refusals + 1))
}
refusals=0
only=claimed_twice refused '--only "created_twice", found "claimed_twice"' --shard 1/2
refused '--engine "all", found "explore"' --shard 1/2 --engine explore
refused '--seconds "any number", found "7"' --shard 1/2 --seconds 7
refused '--bound "up to 3", found "4"' --shard 1/2 --bound 4
refused '--executions "as usual", found "7"' --shard 1/2 --executions 7
refused '--random "0", found "5"' --shard 1/2 --random 5
refused '--seed "1", found "2"' --shard 1/2 --seed 2
refused '--ineffective-rounds "0", found "1"' --shard 1/2 --ineffective-rounds 1
refused '--no-orders "no", found "yes"' --shard 1/2 --no-orders
refused '--gtest_filter "*", found "spsc*"' --shard 1/2 '--gtest_filter=spsc*'
GTEST_TOTAL_SHARDS=2 GTEST_SHARD_INDEX=0 refused 'GTEST_TOTAL_SHARDS "0", found "2"' --shard 1/2
refused 'a number of shards of 2, found 3' --shard 1/3
part second --shard 1/2
sed -i 's/"compiler": "/&another /' "$work/second"
refused 'the compiler "'
part second --shard 1/2
sed -i '/"sources_sha256"/{n;s/: "/&0/}' "$work/second"
refused 'the sources of bip_buffer "'

# What one node of sixteen would run.
SLURM_ARRAY_TASK_ID=1 SLURM_ARRAY_TASK_COUNT=16 SLURM_CPUS_PER_TASK=2 tools/cluster/model-check.sbatch >"$work/log" ||
    refuse "tools/cluster/model-check.sbatch: $(<"$work/log")"
mv build/shard-1.json "$work/slurm.json"
python3 -c '
import sys, yaml
job = yaml.safe_load(open("tools/cluster/model-check.yaml"))["spec"]
assert job["completions"] == 16, job
print(job["template"]["spec"]["containers"][0]["args"][0].replace("/found/", sys.argv[1] + "/"))' "$work" >"$work/command"
JOB_COMPLETION_INDEX=2 sh -c "$(<"$work/command")" >"$work/log" || refuse "tools/cluster/model-check.yaml: $(<"$work/log")"
merges_as $incomplete "two shards of sixteen" "$work/slurm.json" "$work/shard-2.json"
grep -q 'of 16 shards missing: 0, 3, 4,' "$work/log" || refuse "expected to miss all but 1 and 2, found: $(<"$work/log")"

echo "$(counts "$work/whole" | wc -l) rows: three shards count what one search does; a lost or partial shard is missed," \
    "$refusals of other runs are refused; the commands for SLURM and Kubernetes make shards of one run"
