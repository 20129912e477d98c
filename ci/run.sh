#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# What CI runs: the commands of the README and of the Makefile, one after the other, up to the first that fails.
set -euo pipefail
cd "$(dirname "$0")/.."

step() {
    printf '\n=== %s\n' "$*"
    local status=0 started=$SECONDS
    "$@" || status=$?
    printf '=== %s: %s, %d s\n' "$*" "$( ((status == 0)) && echo passed || echo "FAILED with exit code $status")" \
        $((SECONDS - started))
    ((status == 0)) || exit "$status"
}

step ci/deps.sh --ci
step make test
step make lint
step ci/shards.sh
step make docs
step make model-check MODELS=model-check-clang
step ci/codegen.sh
step ci/cross_compilers.sh
step ci/portability.sh
step ci/aarch64.sh
step ci/i686.sh
step ci/consumers.sh
step ci/pages.sh
step make demo ARGS="--size-mb 16 --rounds 1"
step make bench ARGS="--repetitions 1 --milliseconds 2"
step make asan
step make tsan
step make soak SECONDS=20
step make kill-test
step ci/kill_test.sh
step make mutants
step ci/new_primitive.sh
printf '\n=== all passed in %d s\n' "$SECONDS"
