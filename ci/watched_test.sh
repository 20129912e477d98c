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
ends 124 "hangs: none of its 2 processes has run for" --asleep 2 bash -c 'bash -c "sleep 1000 & exit 0"; read -r <> <(:)'
ends 124 "hangs: it has used" --cpu 1 bash -c 'bash -c "while :; do :; done & exit 0"; read -r <> <(:)'

# What it leaves behind ends with it: this reads until nobody holds the other end of the pipe any more.
ends 0 "has ended and left 1 processes; killed" bash -c 'sleep 1000 & exit 0'
ends 3 "has ended and left 2 processes; killed" bash -c 'bash -c "sleep 1000 & sleep 1000 & exit 0"; exit 3'

# Nothing that is dead stays to be seen.
# shellcheck disable=SC2016  # the shell that is watched is to expand it
ends 0 "" bash -c 'orphan=$(bash -c "exec sleep 0 >/dev/null & echo \$!"); while [[ -d /proc/$orphan ]]; do :; done'
ends 127 "no-such-program" no-such-program
echo "what spins or sleeps for ever is ended and named, what is slow is not"
