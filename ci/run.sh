#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# What CI runs: every promise once, at its smallest complete size, up to the first that fails. `make long` repeats most.
set -euo pipefail
cd "$(dirname "$0")/.."
source ci/steps.sh

run_steps \
    "ci/deps.sh --ci" \
    "make test" \
    "make tidy" \
    "ci/shards.sh" \
    "make docs" \
    "ci/codegen.sh" \
    "ci/cross_compilers.sh 200000" \
    "ci/portability.sh" \
    "ci/aarch64.sh 200000" \
    "ci/i686.sh 200000" \
    "ci/consumers.sh" \
    "ci/pages.sh" \
    "make demo ARGS='--size-mb 16 --rounds 1'" \
    "make bench ARGS='--repetitions 1 --milliseconds 2'" \
    "make asan" \
    "make tsan" \
    "make kill-test" \
    "ci/kill_test.sh" \
    "make mutants" \
    "ci/new_primitive.sh"
