#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Plants each mistake of models/mistakes/ in a copy of the tree and names the scenario that finds it, or else the generated
# client. A mistake that nothing finds, a patch that does not apply and one that does not compile are failures.
# usage: ci/mutants.sh [part of a patch's name]
set -euo pipefail
cd "$(dirname "$0")/.."

mapfile -t patches < <(find models/mistakes -name "*${1:-}*.patch" | sort)
((${#patches[@]} > 0)) || {
    echo "mutants: expected a patch in models/mistakes/ whose name contains \"${1:-}\", found none" >&2
    exit 2
}
jobs=$(nproc)
((jobs <= ${#patches[@]})) || jobs=${#patches[@]}
work=build/mutants
mkdir -p "$work"
rm -f "$work"/*.result

# A copy with the times of the files kept, so that only what a patch touches is compiled again.
prepare() {
    local tree=$work/tree$1
    mkdir -p "$tree"
    git ls-files -z --cached --others --exclude-standard | tar --create --null --files-from=- |
        tar --extract --directory "$tree"
    # As written everything has to pass, or whatever is planted would seem to be found.
    (
        cd "$tree" && cmake --preset model-check --log-level=WARNING &&
            cmake --build --preset model-check --target model-check clients-check &&
            build/model-check/models/model-check --no-orders && build/model-check/models/clients-check
    ) >"$work/tree$1.log" 2>&1 || {
        echo "mutants: the tree does not pass as it is:" >&2
        cat "$work/tree$1.log" >&2
        return 1
    }
}

# client_that_finds TREE LOG: what became of a mistake that no scenario finds.
client_that_finds() {
    cmake --build "$1/build/model-check" --target clients-check >>"$2" 2>&1 || {
        echo "DOES NOT COMPILE"
        return
    }
    "$1/build/model-check/models/clients-check" --gtest_filter='clients_of.*' >>"$2" 2>&1 || true
    awk -F, '/, client [0-9]+ of seed/ { print "found by" $2; found = 1; exit } END { if (!found) print "SURVIVED" }' "$2"
}

# try TREE PATCH: says what became of the mistake, in the patch's result file too.
try() {
    local tree=$work/tree$1 patch=$2 name verdict
    local apply=(patch --directory "$tree" --strip 1 --fuzz 0 --no-backup-if-mismatch)
    name=$(basename "$patch" .patch)
    if ! "${apply[@]}" --forward --dry-run <"$patch" >"$work/$name.log" 2>&1; then
        verdict="DOES NOT APPLY"
    else
        "${apply[@]}" --forward <"$patch" >>"$work/$name.log" 2>&1
        if ! cmake --build "$tree/build/model-check" --target model-check >>"$work/$name.log" 2>&1; then
            verdict="DOES NOT COMPILE"
        else
            "$tree/build/model-check/models/model-check" --no-orders --gtest_fail_fast >>"$work/$name.log" 2>&1 || true
            verdict=$(awk '$NF == "FAIL" && NF > 3 { print "found by " $1 " (" $3 ")"; exit }
                           $NF == "INCOMPLETE" && NF > 3 { print "INCOMPLETE: " $1; exit }' "$work/$name.log")
            verdict=${verdict:-$(client_that_finds "$tree" "$work/$name.log")}
        fi
        "${apply[@]}" --reverse <"$patch" >>"$work/$name.log" 2>&1
    fi
    printf '%-42s %s\n' "$name" "$verdict" | tee "$work/$name.result"
}

worker() {
    local i
    prepare "$1"
    for ((i = $1; i < ${#patches[@]}; i += jobs)); do try "$1" "${patches[i]}"; done
}

echo "mutants: ${#patches[@]} mistakes, $jobs at a time; logs in $work/"
pids=()
for ((w = 0; w < jobs; w++)); do
    worker "$w" &
    pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid"; done

found=$(cat "$work"/*.result | grep -c 'found by' || true)
missed=$((${#patches[@]} - found))
echo "mutants: $found passed, $missed failed"
((missed == 0))
