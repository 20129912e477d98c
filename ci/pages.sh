#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Draws traces of both engines, among them the one that docs/model-check.md shows, and looks at them in headless Chromium.
#
#     ci/pages.sh --screenshot    and writes docs/trace.png
set -euo pipefail
cd "$(dirname "$0")/.."

refuse() { echo "ci/pages.sh: $*" >&2; exit 1; }
command -v chromium >/dev/null || refuse "chromium is not installed: ci/deps.sh --ci installs it"
screenshot=()
case ${1-} in
    --screenshot) screenshot=(--screenshot docs/trace.png) ;;
    '') ;;
    *) refuse "expected --screenshot or nothing, found $1" ;;
esac
cmake --preset model-check --log-level=WARNING >/dev/null
cmake --build --preset model-check --parallel "$(nproc)" --target model-check
check=$PWD/build/model-check/models/model-check
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# draw PAGE TOKEN: an execution that fails, as a page.
draw() {
    local status=0
    "$check" --replay "$2" --html "$work/$1.html" >"$work/log" 2>&1 || status=$?
    ((status == 1)) || refuse "--replay $2: expected exit code 1, found $status: $(<"$work/log")"
}
documented=$(sed -n 's/.*--replay \([^ ]*\) --html.*/\1/p' docs/model-check.md)
[[ $documented ]] || refuse "docs/model-check.md: expected a token, found none"
draw documented "$documented"
# A litmus that C++ allows fails, as it should, under each engine.
"$check" --no-orders --only store_buffering --json "$work/report.json" >/dev/null
mapfile -t tokens < <(python3 -c '
import json, sys
print(*[row["replay"] for row in json.load(open(sys.argv[1]))["scenarios"] if row["replay"]], sep="\n")' "$work/report.json")
for engine in explore relacy; do
    token=$(printf '%s\n' "${tokens[@]}" | grep -m 1 "^$engine,") || refuse "expected a token of $engine, found none"
    draw "$engine" "$token"
done
pages=("$work"/documented.html "$work"/explore.html "$work"/relacy.html)
ci/pages.py chromium "${screenshot[@]}" "${pages[@]}"
echo "ci/pages.sh: ${#pages[@]} traces fit 390 and 1440 px, light and dark, and fetch nothing"
