#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# What `make test` runs.
set -euo pipefail
cd "$(dirname "$0")/.."
source ci/steps.sh

run_steps \
    "make --no-print-directory properties" \
    "make --no-print-directory model-check" \
    "ctest --test-dir build/model-check --output-on-failure --no-tests=error --label-regex models" \
    "ci/lint.sh"
