#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# One search over the machines of a GNU parallel login file, which share the folder of the source tree, or over the CPUs
# of this one:
#
#     tools/cluster/model-check.sh SHARDS [option of parallel, such as --sshloginfile machines]...
#
# Options of the model check, such as --only TEXT, are in MODEL_CHECK_OPTIONS. It ends with the certificate of all
# shards, build/certificate.json, and its exit status.
set -euo pipefail
cd "$(dirname "$0")/../.."
shards=${1:?tools/cluster/model-check.sh: expected how many shards, found nothing}
check=build/model-check/models/model-check

rm -f build/shard-*.json build/certificate.json
# A shard that fails says so in its certificate, and one that has none is missing in that of all.
seq 0 "$((shards - 1))" |
    parallel "${@:2}" --workdir "$PWD" \
        "$check --jobs 1 ${MODEL_CHECK_OPTIONS:-} --shard {}/$shards" \
        "--json build/shard-{}.json >build/shard-{}.log" || true
exec "$check" --merge build/shard-*.json --json build/certificate.json
