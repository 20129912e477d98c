#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# What docs/adding-a-primitive.md promises, in a copy of the tree: a primitive is laid, each of its proofs fails and says
# what is owed, it is filled in, everything passes, and it is taken out again without a trace.
set -euo pipefail
cd "$(dirname "$0")/.."

name=example_mailbox
work=$PWD/build/new_primitive
tree=$work/tree
log=$work/log
fail() { echo "new_primitive: $*" >&2; exit 1; }
say() { echo "new_primitive: $*"; }

# The tree as it is now, with the times of its files, so that what was built for the last copy is built no more.
mkdir -p "$tree"
find "$tree" -mindepth 1 -maxdepth 1 ! -name build -exec rm -rf {} +
git ls-files -z --cached --others --exclude-standard | tar --create --null --files-from=- --ignore-failed-read 2>"$log" |
    tar --extract --directory "$tree"
cd "$tree"
commit() { git add --all && git -c user.name=nobody -c user.email=nobody commit --quiet --message "$1"; }
git init --quiet --initial-branch main && commit "as it is"

# expect STATUS SENTENCE... -- COMMAND...: the command's exit status, and what it has to say.
expect() {
    local status=$1 found=0 sentence
    local sentences=()
    shift
    while [[ $1 != -- ]]; do sentences+=("$1"); shift; done
    shift
    "$@" >"$log" 2>&1 || found=$?
    ((found == status)) || { cat "$log" >&2; fail "$*: expected exit status $status, found $found"; }
    for sentence in "${sentences[@]}"; do
        grep -qF -- "$sentence" "$log" || { cat "$log" >&2; fail "$*: expected \"$sentence\", found the above"; }
    done
}
unchanged() { [[ -z $(git status --porcelain) ]] || fail "$1: expected no change, found $(git status --short)"; }

# refuses NAME SENTENCE: nothing is written.
refuses() {
    expect 2 "new-primitive: expected $2" -- make new-primitive NAME="$1"
    unchanged "NAME=$1"
}
refuses "" "NAME=x, the name of the primitive, found none"
refuses Foo-bar 'a name in snake_case, found "Foo-bar"'
refuses class 'a name that C++ and namespace shm leave free, found "class"'
refuses deadline 'a name that C++ and namespace shm leave free, found "deadline"'
refuses spsc_ring "a name that is free, found core/shm/spsc_ring.hpp"
touch "sanitizers/${name}_stress.cpp" && commit "one file is there"
refuses "$name" "a name that is free, found sanitizers/${name}_stress.cpp"
git rm --quiet "sanitizers/${name}_stress.cpp" && commit "it is gone"
say "unfit names: refused, and nothing was written"

expect 0 "make check NAME=$name" -- make new-primitive NAME="$name"
expect 2 \
    "OWED: proptests/${name}_props.cpp: no call is compared with a reference yet" \
    "OWED: sanitizers/${name}_stress.cpp: neither side does anything yet" \
    "must always hold: OWED: models/${name}/model.cpp: this scenario checks nothing yet" \
    "must always hold: OWED: models/${name}/model.cpp: nobody dies yet" \
    "core/shm/$name.hpp:18:/// Promise    OWED: what each side sees after a call returns" \
    "OWED: what it is, in a few words" \
    -- make check NAME="$name"
for passed in "${name}_props.$name.attach_refuses_every_damaged_bit_of_the_header" \
    "${name}_props.$name.is_refused_with_the_fault_that_its_comment_says" \
    "${name}_attach_while_created" "${name}_attach_while_created.waits"; do
    grep -qE "$passed .*(Passed|PASS)" "$log" || { cat "$log" >&2; fail "$passed: expected to pass before it is filled in"; }
done
expect 1 "lint: nothing OWED in" -- ci/lint.sh
[[ $(grep -c FAILED "$log") == 1 ]] || { cat "$log" >&2; fail "lints: expected one to fail, found the above"; }
say "laid: it compiles, and each proof fails and says what is owed"

patch --quiet --strip 1 --fuzz 0 --no-backup-if-mismatch <"tools/new_primitive/$name.patch" ||
    fail "tools/new_primitive/$name.patch: expected to apply to what is laid; its head says how to make it anew"
sed -i "s/OWED: what it is, in a few words/a place for one number/" README.md
expect 0 "100% tests passed, 0 tests failed out of 5" "$name: 9 memory orders weakened one step, 9 killed" \
    -- make check NAME="$name"
expect 0 "lint: nothing OWED in" -- ci/lint.sh
say "filled in: properties, stress, models and lints pass; each of its 9 memory orders is needed"

rm "sanitizers/${name}_stress.cpp"
expect 1 "shm_primitive($name): sanitizers/${name}_stress.cpp is" "docs/adding-a-primitive.md says what it holds" \
    -- cmake --preset dev
rm -r "core/shm/$name.hpp" "models/$name" ./*/"${name}"_*.cpp
sed -i "/\<$name\>/d" CMakeLists.txt README.md
unchanged "taken out again"
say "taken out: five files and three lines, and the tree is as before"
