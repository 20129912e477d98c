#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Much of what ci/run.sh shows once, again: more cases and larger searches, with other optimisation levels, compilers and
# seeds. It takes hours.
#
#     ci/long.sh [SEED]                      of the cases that RapidCheck and kill-test make; the time if not said
set -euo pipefail
cd "$(dirname "$0")/.."
source ci/steps.sh
seed=${1:-$(date +%s)}
echo "seed $seed: ci/long.sh $seed runs the same cases again"

# again FOLDER PRESET FLAGS [OPTION...]: the tests of that preset, in a folder of their own, compiled with these flags in place
# of its own, with ten times as many cases, which may take ten times as long. (Steps run without `set -e`.)
again() {
    local folder=build/long/$1 preset=$2 labels='props|stress' targets=(props primitives-stress)
    if [[ $preset == tsan ]]; then labels=stress targets=(primitives-stress); fi
    cmake --preset "$preset" -B "$folder" --fresh --log-level=WARNING "-DCMAKE_CXX_FLAGS_DEBUG=$3" \
        "-DSHM_RC_PARAMS=max_success=10000 seed=$seed" -DSHM_TEST_CPU_SECONDS=6000 "${@:4}" &&
        cmake --build "$folder" --parallel "$(nproc)" --target "${targets[@]}" &&
        ctest --test-dir "$folder" --output-on-failure --no-tests=error --parallel "$(nproc)" --label-regex "$labels" \
            --exclude-regex '^(native\.|explore-check|fiber-check)'
}
export -f again
export seed

# Left out of one step: scenarios that have too many executions to finish when two ineffective rounds are allowed.
too_many='*slab_three_threads*:*aba_t*:*generation_wraps*:*both_killed*:*recoverer_killed*'

run_steps \
    "ci/deps.sh --ci" \
    "again o2 dev -O2" \
    "again clang-o0 dev -O0 -DCMAKE_TOOLCHAIN_FILE=cmake/clang.cmake" \
    "again asan-ubsan-o2 asan-ubsan '-O2 -g1'" \
    "again tsan-o2 tsan '-O2 -g1'" \
    "make model-check MODELS=model-check-clang" \
    "make model-check ARGS='--engine relacy --no-orders --executions 1000000'" \
    "make model-check ARGS='--engine explore --no-orders --ineffective-rounds 1'" \
    "make model-check ARGS='--engine explore --no-orders --ineffective-rounds 2 --gtest_filter=-$too_many'" \
    "build/model-check/models/clients-check --gtest_brief=1 --clients 20000 --seed $seed" \
    "ci/portability.sh --long" \
    "ci/cross_compilers.sh" \
    "ci/aarch64.sh" \
    "ci/i686.sh" \
    "make bench" \
    "make soak SECONDS=300" \
    "make kill-test KILLS=200000 SEED=$seed" \
    "make coverage"
