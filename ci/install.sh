#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# The README's example, built by a stranger's project: against the installed package, with each compiler, and with this
# tree as a subproject, which must bring the library and nothing else.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
quietly() { "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2 && return 1; }; }

project() {
    mkdir "$work/$1"
    cat >"$work/$1/CMakeLists.txt" <<END
cmake_minimum_required(VERSION 3.23)
project(stranger LANGUAGES CXX)
$2
add_executable(readme $PWD/examples/readme.cpp)
target_link_libraries(readme PRIVATE shm::primitives)
END
}
project packaged "find_package(shm_primitives 0.1 REQUIRED)"
project embedded "add_subdirectory($PWD shm_primitives)
get_property(targets DIRECTORY $PWD PROPERTY BUILDSYSTEM_TARGETS)
if(NOT targets STREQUAL shm_primitives)
  message(FATAL_ERROR \"expected the target shm_primitives alone, found \${targets}\")
endif()"

quietly make install PREFIX="$work/prefix"
[[ ! -e $work/prefix/include/shm/relacy_atomics.hpp ]] || { echo "a checker's header is installed" >&2 && exit 1; }
for compiler in g++ clang++; do
    for project in packaged embedded; do
        quietly cmake -S "$work/$project" -B "$work/$project-$compiler" -G Ninja \
            -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_PREFIX_PATH="$work/prefix" -DCMAKE_CXX_FLAGS=-Werror
        quietly cmake --build "$work/$project-$compiler" --target readme
        "$work/$project-$compiler/readme" >"$work/printed"
        [[ $(tr '\n' ' ' <"$work/printed") == "42 43 " ]] ||
            { echo "expected 42 43, found $(tr '\n' ' ' <"$work/printed")" >&2 && exit 1; }
        echo "$project, $compiler: built and run"
    done
done
