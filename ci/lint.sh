#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# The lints but clang-tidy, which takes longer: ci/tidy.py. Each first has to refuse a bad sample, so that a lint that has
# gone blind is seen.
set -euo pipefail
cd "$(dirname "$0")/.."
(($# == 0)) || { echo "ci/lint.sh: expected no argument, found $*; clang-tidy is run by ci/tidy.py" >&2 && exit 2; }
export PYTHONDONTWRITEBYTECODE=1

# Which files there are is git's to say. Without it each list would be empty, and every lint would pass.
[[ $(git rev-parse --show-toplevel 2>/dev/null) -ef $PWD ]] ||
    { echo "ci/lint.sh: expected a git checkout, found none that git reads in $PWD" >&2 && exit 1; }

samples=$(mktemp -d)
trap 'rm -rf "$samples"' EXIT
failed=0

# refuses SENTENCE COMMAND...: the command must fail, and say so in these words.
refuses() {
    local sentence=$1 output
    shift
    if output=$("$@" 2>&1) || [[ $output != *"$sentence"* ]]; then
        printf 'lint: %s did not refuse its bad sample with "%s":\n%s\n' "$1" "$sentence" "$output" >&2
        exit 1
    fi
}
number=0 all=$(grep -c '^ *holds "' "${BASH_SOURCE[0]}")
holds() {
    local title=$1 status=0
    shift
    number=$((number + 1))
    if [[ -t 1 ]]; then printf 'lint: %d of %d, %d s: %s' "$number" "$all" "$SECONDS" "$title"; fi
    "$@" || status=$?
    if [[ -t 1 ]]; then printf '\r\033[K'; fi
    if ((status == 0)); then echo "lint: $title: passed"; else echo "lint: $title: FAILED" >&2 && failed=1; fi
}
newest() {
    local version
    for version in 19 18 17 16; do
        if command -v "$1-$version"; then return; fi
    done
    echo "lint: $1 is not installed: ci/deps.sh installs it" >&2
    return 1
}

# What git tracks, or would track if it were added, and still exists.
tracked() { git ls-files --cached --others --exclude-standard -- "$@" | while read -r file; do
    [[ ! -f $file ]] || echo "$file"; done; }
declare -a cpp core scripts sources proofs owing documents workflows

# list NAME PATTERN...: an array of that name, of at least one file.
list() {
    local -n listed_files=$1
    shift
    mapfile -t listed_files < <(tracked "$@")
    ((${#listed_files[@]} > 0)) || { echo "ci/lint.sh: expected files of $*, found none" >&2 && exit 1; }
}
list cpp '*.hpp' '*.cpp'
list core 'core/shm/*.hpp' 'core/shm/*.cpp'
list scripts 'ci/*.sh' '.ci/run' 'tools/*.sh' 'tools/*.sbatch'
list sources '*.hpp' '*.cpp' '*.cmake' '*CMakeLists.txt' '*.sh' '*.py' Makefile .ci/run

# core/: no conditionals, and every order with its reason.
bad="$samples/bad.hpp"
refuses_line() {
    printf '/// Edges      [given]  word, from f to g:  everything\n%s\nword.load(acquire);  // [given]\n%s\n' \
        'word.store(1, release);  // [given]' "$2" >"$bad"
    refuses "$1" ci/lint_core.py "$bad"
}
refuses_line "no preprocessor line" '#ifdef __clang__'
refuses_line "no preprocessor line" '#define shm_checked 1'
refuses_line "without its edge" 'word.store(1, release);'
refuses_line "without its edge" 'word.store(1, std::memory_order_release);  // for the reader'
refuses_line "without a reason" 'word.store(1, relaxed);  // fine'
refuses_line "declared in no Edges section" 'word.store(1, release);  // [taken]'
refuses_line "one order a line" 'word.compare_exchange_weak(old, 1, acquire, relaxed);  // [given]'
refuses_line "without an order" 'word.store(1);'
refuses_line "lacks an end" '/// Edges      [taken]  word, from f to g:  nothing'
holds "orders and their edges in ${#core[@]} files of core/" ci/lint_core.py "${core[@]}"

# Every file says under which licence it may be used.
spdx() {
    local file missing=0
    for file in "$@"; do
        head -n 2 "$file" | grep -q 'SPDX-License-Identifier: MIT OR Apache-2.0$' ||
            { echo "$file: no SPDX-License-Identifier line" && missing=1; }
    done
    return "$missing"
}
echo 'int x;' >"$bad"
refuses "no SPDX" spdx "$bad"
holds "licences of ${#sources[@]} files" spdx "${sources[@]}"

# Every file of the library is built, every proof is run.
listed() {
    local file name pattern missing=0
    for file in "$@"; do
        name=$(basename "$file" .cpp)
        case $file in
            proptests/*) pattern="shm_test\($name\>|shm_primitive\(${name%_props}\>" ;;
            models/*) pattern="shm_primitive\($(basename "$(dirname "$file")")\>" ;;
            sanitizers/*) pattern="shm_primitive\(${name%_*}\>" ;;
            *) pattern=" $file\>" ;;
        esac
        grep -qE "$pattern" CMakeLists.txt || { echo "$file: not listed in CMakeLists.txt" && missing=1; }
    done
    return "$missing"
}
list proofs 'proptests/*_props.cpp' 'models/*/model.cpp' 'sanitizers/*_stress.cpp' ':!models/litmus/model.cpp'
for file in core/shm/other.hpp proptests/other_props.cpp models/other/model.cpp; do refuses "not listed" listed "$file"; done
holds "the list of files and proofs" listed "${core[@]}" "${proofs[@]}"

# No include runs upward, nobody includes a file of tests, and the picture of it is today's.
layer_samples=$samples/layers
mkdir -p "$layer_samples"/{core/shm,checker/explore,proptests,testkit}
touch "$layer_samples"/{core/shm/x.hpp,checker/explore/x.hpp,proptests/x.hpp,testkit/x.hpp}
refuses_include() {  # SENTENCE FILE LINE
    echo "$3" >"$layer_samples/$2" && refuses "$1" ci/layers.py "$layer_samples" && rm "$layer_samples/$2"
}
refuses_include "below it, found core/shm/x.hpp" checker/explore/y.cpp '#include <shm/x.hpp>'
refuses_include "below it, found checker/explore/x.hpp" core/shm/y.cpp '#include "checker/explore/x.hpp"'
refuses_include "a file of tests" testkit/y.hpp '#include "proptests/x.hpp"'
refuses_include 'expected "testkit/x.hpp"' testkit/y.hpp '#include "x.hpp"'
refuses_include "expected <shm/x.hpp>" proptests/y.cpp '#include "core/shm/x.hpp"'
refuses_include 'expected "testkit/x.hpp"' core/shm/y.cpp '#include <testkit/x.hpp>'
refuses_include "a file of tests" core/shm/y.cpp '#include <proptests/x.hpp>'
refuses_include "expected a folder of" y.cpp ''
holds "the layers, and their picture" ci/layers.py

# What `make new-primitive` has laid is filled in.
filled_in() { ! grep -Hnw OWED "$@"; }
echo '/// Promise    OWED: what each side sees' >"$bad"
refuses "OWED" filled_in "$bad"
list owing README.md 'core/*' 'models/*' 'proptests/*' 'sanitizers/*'
holds "nothing OWED in ${#owing[@]} files" filled_in "${owing[@]}"

# The README's examples are those that `make test` and ci/consumers.sh compile and run.
in_readme() { [[ $(<README.md) == *"$(tail -n +2 "$1")"* ]] || { echo "README.md does not hold $1" && return 1; }; }
printf '// licence\nint other_example();\n' >"$bad"
refuses "does not hold" in_readme "$bad"
holds "the README's example" in_readme examples/readme.cpp
holds "the README's lock" in_readme examples/check_your_own/spinlock.cpp

# What the documents name is there: tests, scenarios, scripts, targets, files.
list documents '*.md'
refuses_words() { echo "$2" >"$samples/bad.md" && refuses "$1" ci/lint_docs.py "$samples/bad.md"; }
refuses_words "a test or a litmus" "\`spsc_ring_layout.no_such_test\`"
refuses_words "a test or a litmus" "\`litmus.no_such_row\`"
refuses_words "a scenario" "\`spsc_ring_no_such_scenario\`"
refuses_words "no such script" "\`ci/no_such_script.sh\`"
refuses_words "a target" "\`make no-such-target\`"
refuses_words "a target" '    ci/deps.sh && make no-such-target    # in a block'
refuses_words "a target" $'1. a list\n\n    that goes on with `make test no-such-target`'
refuses_words "no such script" $'```sh\nci/no_such_script.sh\n```'
refuses_words "a file" "[there](no/such/file.md)"
holds "what ${#documents[@]} documents name" ci/lint_docs.py "${documents[@]}"

# The byte tables of the page are those of the headers.
holds "the byte tables of docs/layouts.md" ci/layouts.py

# Each row of the tables of mistakes fits the sources as they are, and the tool believes nothing that was not shown.
planting() { ci/mistakes_test.py 2>"$samples/planting" || { cat "$samples/planting" >&2 && return 1; }; }
holds "what plants mistakes and judges them" planting
holds "the tables of mistakes" ci/mistakes.py --check

# A workflow runs where nobody looks on.
list workflows '.github/workflows/*.yml' '.github/workflows/*.yaml'
refuses_workflow() {
    printf 'permissions: {contents: read}\njobs:\n  a:\n    timeout-minutes: 1\n    steps:\n      - %s\n' "$2" \
        >"$samples/bad.yml"
    refuses "$1" ci/lint_workflows.py "$samples/bad.yml"
}
refuses_workflow "pinned by a commit" "uses: actions/checkout@v5"
refuses_workflow "pinned by a commit" "uses: actions/checkout@0123456789abcdef"
refuses_workflow "pinned by a commit" "'uses' : actions/checkout@v5"
refuses_workflow "pinned by a commit" "{name: x, uses: actions/checkout@v5}"
refuses_workflow "its version" "uses: actions/checkout@0123456789012345678901234567890123456789"
refuses_workflow "no such script" "run: ci/no_such_script.sh"
refuses_workflow "no such script" "run: bash ./ci/no_such_script.sh"
refuses_workflow "a target" "run: make no-such-target"
refuses_workflow "a target" "run: make -s no-such-target"
refuses_workflow "a target" "{run: CXX=g++ make test 'no-such-target'}"
refuses_workflow "no option of make but" "run: make -C bench test"
refuses_workflow "a preset" "run: cmake --preset no-such-preset"
refuses_workflow "a preset" "run: cmake --preset=no-such-preset"
printf 'on: {pull_request_target: }\njobs: {a: {timeout-minutes: 1, uses: a/b@main}}\n' >"$samples/bad.yml"
for sentence in "found pull_request_target" "found another workflow" "contents: read"; do
    refuses "$sentence" ci/lint_workflows.py "$samples/bad.yml"
done
refuses_workflow "expected YAML" "run: [ci/run.sh"
holds "actions, scripts and targets of the workflows" ci/lint_workflows.py "${workflows[@]}"

format=$(newest clang-format)
if [[ $format != *-19 ]]; then
    echo "lint: formatting: NOT CHECKED, clang-format-19 is not installed and $format formats otherwise"
else
    echo 'int  x;' >"$bad"
    refuses "should be clang-formatted" "$format" --style=file:.clang-format --dry-run -Werror "$bad"
    holds "formatting of ${#cpp[@]} files" "$format" --dry-run -Werror "${cpp[@]}"
fi

# shellcheck disable=SC2016  # the sample is meant to hold a dollar
echo 'rm $1' >"$samples/bad.sh"
shell() { shellcheck --exclude=SC2317 "$@"; }  # that one takes a function called by a trap or a helper for dead code
refuses "SC2086" shell --shell=bash "$samples/bad.sh"
holds "shellcheck of ${#scripts[@]} scripts" shell "${scripts[@]}"

exit "$failed"
