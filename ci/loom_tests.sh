#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Searches the counterparts of the Rust crate's loom tests, which docs/from-rust.md names, and says what they took together:
# each with its twin that waits, under explore, in one process. After `make model-check`, which builds what it runs.
set -euo pipefail
cd "$(dirname "$0")/.."
mapfile -t names < <(sed -n '/^## The loom tests/,$s/^| `\([a-z_]*\)` .*/\1/p' docs/from-rust.md)
filter=$(printf '*.%s/explore:' "${names[@]}" "${names[@]/%/.waits}")
report=$(mktemp)
trap 'rm -f "$report"' EXIT

build/model-check/models/model-check --no-orders --jobs 1 --gtest_brief=1 --gtest_filter="$filter" --json "$report"
python3 - "$report" "${#names[@]}" <<'PY'
import json
import sys

rows = json.load(open(sys.argv[1]))["scenarios"]
tests = {row["scenario"].removesuffix(".waits") for row in rows}
if len(tests) != int(sys.argv[2]):
    sys.exit(f"ci/loom_tests.sh: expected {sys.argv[2]} scenarios, found {len(tests)}")
print(f"{len(tests)} loom tests, {len(rows)} searches: {sum(row['executions'] for row in rows)} executions, "
      f"{sum(row['seconds'] for row in rows):.3f} s")
PY
