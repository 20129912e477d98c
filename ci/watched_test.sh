#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# What hangs is ended and named, whether it spins or sleeps; what does not is left alone, and ends as it would without.
set -euo pipefail
cd "$(dirname "$0")"

# ends STATUS SENTENCE ARGUMENT...: what becomes of it.
ends() {
    local found=0 said
    said=$(./watched.py "${@:3}" 2>&1) || found=$?
    ((found == $1)) || { echo "ci/watched_test.sh: ${*:3}: expected exit status $1, found $found: $said" >&2 && exit 1; }
    [[ $said == *"$2"* ]] || { echo "ci/watched_test.sh: ${*:3}: expected \"$2\", found \"$said\"" >&2 && exit 1; }
}
ends 0 "said" echo said
ends 3 "" bash -c 'exit 3'
ends 143 "" bash -c 'kill -TERM $$'
ends 124 "hangs: none of its 1 processes has run for" --asleep 2 sleep 1000
ends 124 "hangs: none of its 2 processes has run for" --asleep 2 bash -c 'sleep 1000; true'
ends 124 "hangs: it has used" --cpu 1 bash -c 'while :; do :; done'
ends 124 "hangs: it has used" --cpu 1 bash -c 'bash -c "while :; do :; done"; true'
ends 0 "" --asleep 2 bash -c 'for i in 1 2 3 4; do sleep 1; for ((j = 0; j < 20000; j++)); do :; done; done'  # slow is not hanging
ends 127 "no-such-program" no-such-program
echo "what spins or sleeps for ever is ended and named, what is slow is not"
