#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# One search over the machines of a GNU parallel login file, which share the folder of the source tree:
#
#     tools/cluster/model-check.sh SHARDS [option of parallel, such as --sshloginfile machines]...
#
# It ends with the certificate of all shards, certificate.json.
set -euo pipefail
cd "$(dirname "$0")/../.."
shards=${1:?tools/cluster/model-check.sh: expected how many shards, found nothing}
check=build/model-check/models/model-check

seq 0 "$((shards - 1))" |
    parallel "${@:2}" --workdir "$PWD" "$check --jobs 1 --seconds 1e6 --shard {}/$shards --json shard-{}.json >shard-{}.log"
mapfile -t found < <(seq -f 'shard-%g.json' 0 "$((shards - 1))")
exec "$check" --merge "${found[@]}" --json certificate.json
