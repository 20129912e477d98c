#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# What the compilers make of it. The classes, templates and layers must cost nothing: no instruction more than in code
# written by hand with the same checks. And what is read from shared memory must be fetched once.
set -euo pipefail
cd "$(dirname "$0")/.."

objects=$(mktemp -d)
trap 'rm -rf "$objects"' EXIT
failed=0
refuse() { echo "ci/codegen.sh: $*" >&2; failed=1; }

compilers=()
for compiler in g++ clang++-19 clang++; do
    if command -v "$compiler" >/dev/null; then compilers+=("$compiler"); fi
done
((${#compilers[@]})) || { echo "ci/codegen.sh: no compiler found: ci/deps.sh installs them" >&2; exit 1; }

# compile COMPILER NAME: ci/codegen/NAME.cpp.
compile() {
    "$1" -std=c++20 -O2 -DNDEBUG -fno-pie -Wall -Wextra -Wpedantic -Werror -Icore -Iatomics \
        -c "ci/codegen/$2.cpp" -o "$objects/$2.o"
}
# instructions OBJECT FUNCTION: its disassembly, with the parts that a compiler has moved elsewhere, without padding.
instructions() {
    objdump --disassemble --demangle --no-show-raw-insn --wide "$objects/$1.o" |
        awk -v name="$2" '/^[0-9a-f]+ </ { inside = $0 ~ name "[^a-z_]" } inside && /:\t/' |
        grep -vE ':\s+(nop|data16|cs nop|xchg +%ax,%ax|int3)'
}
count() { instructions "$@" | wc -l; }

printf '%-28s %-10s %10s %10s\n' "instructions" "" "library" "by hand"
for compiler in "${compilers[@]}"; do
    compile "$compiler" library
    compile "$compiler" by_hand
    for function in producer::try_push consumer::try_pop; do
        ours=$(count library "$function")
        theirs=$(count by_hand "by_hand::${function#*::}")
        printf '%-28s %-10s %10d %10d\n' "$compiler $("$compiler" -dumpfullversion -dumpversion)" "${function#*::}" \
            "$ours" "$theirs"
        if ((ours == 0 || theirs == 0)); then refuse "$compiler: $function was not found in the disassembly"; fi
        if ((ours > theirs)); then refuse "$compiler: $function: expected at most $theirs instructions, found $ours"; fi
        # By hand may be longer by one or two; where this very compiler has been counted before, nothing may be added.
        last=$(awk -v key="$compiler $("$compiler" -dumpfullversion -dumpversion) ${function#*::} " \
            'index($0, key) == 1 { print $NF }' ci/codegen/counts.txt)
        if [[ -n $last ]] && ((ours != last)); then
            refuse "$compiler: $function: expected $last instructions as in ci/codegen/counts.txt, found $ours"
        fi
    done
done

if [[ $(uname -m) != x86_64 ]]; then
    echo "how often shared memory is fetched is read from x86-64 code only: not checked on $(uname -m)"
    exit "$failed"
fi

# How often a function fetches the word of a slot that it fetches most often. Linking is what puts the names of the
# slots into the disassembly.
fetches() {
    instructions linked "$1" | grep -oE '<(small|large)_slot(\+0x[0-9a-f]+)?>' | sort | uniq -c | sort -rn |
        awk 'NR == 1 { most = $1 } END { print most + 0 }'
}
printf '\n%-28s %-12s %8s %10s\n' "fetches of the same word" "" "copy_out" "naive"
for compiler in "${compilers[@]}"; do
    compile "$compiler" fetch
    ld --entry once_small --unresolved-symbols=ignore-all -o "$objects/linked.o" "$objects/fetch.o"
    for item in small large; do
        once=$(fetches "once_$item")
        naive=$(fetches "naive_$item")
        printf '%-28s %-12s %8d %10d\n' "$compiler $("$compiler" -dumpfullversion -dumpversion)" "$item item" "$once" "$naive"
        ((once == 1)) || refuse "$compiler: once_$item: expected 1 fetch of each word, found $once"
        ((naive == 2)) || refuse "$compiler: naive_$item: expected 2 fetches, found $naive: this check has gone blind"
    done
done
exit "$failed"
