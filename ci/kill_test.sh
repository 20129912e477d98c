#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Plants mistakes of models/*/mistakes.toml in a copy of the tree, one after the other, and shows that `make kill-test` fails with
# each: what real deaths find.
# usage: ci/kill_test.sh [name of a mistake]...
set -euo pipefail
cd "$(dirname "$0")/.."

names=("$@")
((${#names[@]} > 0)) || names=(treiber_slab-owner_stored_late treiber_slab-giving_not_stored spsc_ring-published_before_written)
tree=build/kill-test/tree
program=$tree/build/dev/sanitizers/kill/kill-test
mkdir -p "$tree"
log=build/kill-test/log

# With the times of the files kept, so that only what a mistake touches is compiled again; what was planted last is.
lay() {
    git ls-files -z --cached --others --exclude-standard | tar --create --null --files-from=- |
        tar --extract --directory "$tree"
    find "$tree/core" -type f -exec touch {} +
}
lay
(cd "$tree" && cmake --preset dev --log-level=WARNING -DCMAKE_COMPILE_WARNING_AS_ERROR=OFF) >"$log" 2>&1 || { cat "$log" >&2 && exit 1; }

failed=0
for name in "${names[@]}"; do
    lay
    ci/mistakes.py "$name" --write "$tree"
    cmake --build "$tree/build/dev" --parallel "$(nproc)" --target kill-test >"$log" 2>&1 || { cat "$log" >&2 && exit 1; }
    status=0
    "$program" --kills 5000 --only "${name%%-*}" >>"$log" 2>&1 || status=$?
    found=$(sed -n 's/^kill-test: \(.*, after .*\)/\1/p' "$log" | head -1)
    if ((status == 1)) && [[ -n $found ]]; then
        printf '%-40s found: %s\n' "$name" "$found"
    else
        printf '%-40s NOT FOUND: exit code %d\n' "$name" "$status"
        tail -3 "$log"
        failed=1
    fi
done
exit "$failed"
