#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Plants each mistake of models/mistakes/ in a copy of the tree and names what finds it: for a mistake of the engine
# (explore-*) the test of the engine, for one of a primitive the scenario, or else the generated client, under explore, and
# the scenario under Relacy. Failures are a mistake that explore does not find; one that it finds only where rounds in vain
# are pruned, though the scenario has an end without; one that Relacy does not find and the patch gives no reason why
# ("Relacy: ..."), or finds although there is one; a patch that does not apply and one that does not compile.
# usage: ci/mutants.sh [part of a patch's name [i/n]]: with i/n only every n-th mistake, the i-th and on
set -euo pipefail
cd "$(dirname "$0")/.."

# In the order of what they change: a tree then compiles less between two of them.
mapfile -t patches < <(
    find models/mistakes -name "*${1:-}*.patch" -exec awk -v OFS='\t' '/^\+\+\+ b\// {
        name = FILENAME; sub(".*/", "", name); sub("-.*", "", name); print name, $2, FILENAME; nextfile }' {} + |
        sort | cut -f 3)
((${#patches[@]} > 0)) || {
    echo "mutants: expected a patch in models/mistakes/ whose name contains \"${1:-}\", found none" >&2
    exit 2
}
all=${#patches[@]}
if [[ ${2-} =~ ^([0-9]+)/([0-9]+)$ ]] && ((BASH_REMATCH[2] > 0)); then
    for ((i = 0; i < all; i++)); do
        ((i % BASH_REMATCH[2] == BASH_REMATCH[1] % BASH_REMATCH[2])) || unset "patches[$i]"
    done
    patches=("${patches[@]}")
elif [[ -n ${2-} ]]; then
    echo "mutants: expected which part as i/n, as in 1/4, found \"$2\"" >&2
    exit 2
fi
jobs=$(nproc)
((jobs <= ${#patches[@]})) || jobs=${#patches[@]}
work=build/mutants
mkdir -p "$work"
rm -rf "$work"/*.result "$work"/*.asked

# target PATCH: the program that has to find it, of the engine's tests or of one primitive's scenarios.
target() {
    local name
    name=$(basename "$1")
    echo "${name%%-*}-check"
}

# A copy with the times of the files kept, so that only what a patch touches is compiled again.
prepare() {
    local tree=$work/tree$1
    mkdir -p "$tree"
    git ls-files -z --cached --others --exclude-standard | tar --create --null --files-from=- |
        tar --extract --directory "$tree"
    # What an earlier run has planted last may still be compiled in, and the times that tar restores would hide it.
    sed -n 's|^+++ b/||p' models/mistakes/*.patch | sort --unique | (cd "$tree" && xargs touch)
    cmake -S "$tree" -B "$tree/build/model-check" --preset model-check --log-level=WARNING \
        -DCMAKE_CXX_FLAGS_RELWITHDEBINFO=-O1 >"$work/tree$1.log" 2>&1 || {
        cat "$work/tree$1.log" >&2
        return 1
    }
}

# as_it_is TREE TARGET: everything has to pass as written, or whatever is planted would seem to be found. Said once for
# all trees, by the first that asks.
as_it_is() {
    local tree=$1 target=$2 log=$work/$2.unchanged.log
    mkdir "$work/$target.asked" 2>/dev/null || return 0
    local arguments=()
    [[ $target =~ ^(explore|clients)-check$ ]] || arguments=(--no-orders)
    if ! { build "$tree" "$target" && "$tree/build/model-check/models/$target" "${arguments[@]}"; } >"$log" 2>&1; then
        printf '%-48s %s\n' "$target" "FAILS AS IT IS" | tee "$work/$target.result"
        cat "$log"
    fi
}

build() { cmake --build "$1/build/model-check" --target "$2" --parallel 1; }

# Each of these says in one line what became of the mistake that is planted in TREE: found by NAME, or something else.

# of_engine TREE LOG: a test has to fail; one that does not come to an end, or takes the program with it, finds nothing.
of_engine() {
    local status=0
    timeout 60 "$1/build/model-check/models/explore-check" --gtest_fail_fast --gtest_brief=1 >>"$2" 2>&1 || status=$?
    awk -v status="$status" '/^\[  FAILED  \] / { sub(",", "", $4); print "found by " $4; found = 1; exit }
        END { if (!found) print status == 0 ? "SURVIVED" : status == 124 ? "NO END" : "DIED: " status }' "$2"
}

# of_scenarios PROGRAM LOG ARGUMENT...
of_scenarios() {
    local program=$1 log=$2
    shift 2
    "$program" --no-orders --gtest_fail_fast "$@" >"$log" 2>&1 || true
    awk '$NF == "FAIL" && NF > 3 { print "found by " $1; found = 1; exit }
         $NF == "INCOMPLETE" && NF > 3 { print "INCOMPLETE: " $1; found = 1; exit }
         END { if (!found) print "SURVIVED" }' "$log"
}

# of_clients TREE LOG: a mistake that no scenario finds.
of_clients() {
    touch "$work/clients.asked"
    build "$1" clients-check >>"$2" 2>&1 || {
        echo "DOES NOT COMPILE"
        return
    }
    "$1/build/model-check/models/clients-check" --gtest_filter='clients_of.*' >>"$2" 2>&1 || true
    awk -F, '/, client [0-9]+ of seed/ { print "found by" $2; found = 1; exit } END { if (!found) print "SURVIVED" }' "$2"
}

# of_primitive TREE PATCH LOG: by each engine.
of_primitive() {
    local tree=$1 patch=$2 log=$3 program reason by_explore unpruned by_relacy
    program=$tree/build/model-check/models/$(target "$patch")
    reason=$(sed -n 's/^Relacy: //p' "$patch")
    by_explore=$(of_scenarios "$program" "$log.explore" --engine explore)
    if [[ $by_explore == SURVIVED ]]; then
        by_explore=$(of_clients "$tree" "$log.clients")
        unpruned=$by_explore
    else
        unpruned=$(of_scenarios "$program" "$log.unpruned" --engine explore --vain-rounds 1)
    fi
    by_relacy=$(of_scenarios "$program" "$log.relacy" --engine relacy)
    if [[ $by_explore != found* ]]; then
        echo "explore: $by_explore"
    elif [[ $unpruned != found* ]]; then
        echo "explore without pruning: $unpruned"
    elif [[ $by_relacy == found* && -n $reason ]]; then
        echo "Relacy: expected not to see it (\"$reason\"), $by_relacy"
    elif [[ $by_relacy != found* && -z $reason ]]; then
        echo "Relacy: $by_relacy, and the patch does not say why (\"Relacy: ...\")"
    elif [[ $by_relacy != found* ]]; then
        printf '%-40s not seen: %s\n' "$by_explore" "$reason"
    else
        printf '%-40s %s\n' "$by_explore" "${by_relacy#found by }"
    fi
}

# try TREE PATCH: says what became of the mistake, in the patch's result file too.
try() {
    local tree=$work/tree$1 patch=$2 name target verdict log
    local apply=(patch --directory "$tree" --strip 1 --fuzz 0 --no-backup-if-mismatch)
    name=$(basename "$patch" .patch)
    log=$work/$name.log
    target=$(target "$patch")
    as_it_is "$tree" "$target"
    if ! "${apply[@]}" --forward --dry-run <"$patch" >"$log" 2>&1; then
        verdict="DOES NOT APPLY"
    else
        "${apply[@]}" --forward <"$patch" >>"$log" 2>&1
        if ! build "$tree" "$target" >>"$log" 2>&1; then
            verdict="DOES NOT COMPILE"
        elif [[ $target == explore-check ]]; then
            verdict=$(of_engine "$tree" "$log")
        else
            verdict=$(of_primitive "$tree" "$patch" "$log")
        fi
        "${apply[@]}" --reverse <"$patch" >>"$log" 2>&1
    fi
    printf '%-48s %s\n' "$name" "$verdict" | tee "$work/$name.result"
}

worker() {
    local i
    prepare "$1"
    for ((i = $1; i < ${#patches[@]}; i += jobs)); do try "$1" "${patches[i]}"; done
}

echo "mutants: ${#patches[@]} of $all mistakes, $jobs at a time; logs in $work/"
printf '%-48s %-40s %s\n' "mistake" "under explore" "under Relacy"
pids=()
for ((w = 0; w < jobs; w++)); do
    worker "$w" &
    pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid"; done
[[ ! -e $work/clients.asked ]] || as_it_is "$work/tree0" clients-check

found=$(cat "$work"/*.result | grep -c '^[^ ]* *found by ' || true)
missed=$((${#patches[@]} - found))
echo "mutants: $found passed, $missed failed$( ((${#patches[@]} == all)) || echo ", $((all - ${#patches[@]})) left out")"
((missed == 0)) && ! grep -q 'FAILS AS IT IS$' "$work"/*.result
