#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Headers and library without exceptions and without RTTI: with every g++ from 12 and clang++ from 14 that is installed,
# as C++20 and as C++23. The headers are compiled together, twice over (each alone: ci/tidy.py); the library is linked with
# the README's example, which is run; and it is mixed with a program that throws.
#
#     ci/portability.sh --long               each header alone with each compiler and standard, with and without optimisation
# shellcheck disable=SC2016  # what the inner shell expands
set -euo pipefail
cd "$(dirname "$0")/.."

long=false
case ${1-} in
    --long) long=true ;;
    '') ;;
    *) echo "ci/portability.sh: expected --long or nothing, found $1" >&2 && exit 2 ;;
esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bare=(-fno-exceptions -fno-rtti)
checked=(-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -Icore -Iatomics)
checkers='atomics/shm/(checking|explore|explore_atomics|relacy|relacy_atomics)[.]hpp'  # for g++ and clang from 16 on; they need the checker
mapfile -t headers < <(find core/shm atomics/shm -name '*.hpp' | sort | grep -vE "$checkers")

# each COMMAND...: runs it with each file that it is given on standard input, up to the first that fails.
each() { xargs -P "$(nproc)" -I '{}' "$@" || return 1; }

# headers COMPILER...: each alone, and not hurt by a second include.
mkdir "$work/alone"
for header in "${headers[@]#*/}"; do
    printf '#include <%s>\n#include <%s>\n' "$header" "$header" >"$work/alone/${header//\//_}.cpp"
done
cat "$work"/alone/*.cpp >"$work/together.cpp"
if ! $long; then rm "$work"/alone/*.cpp && mv "$work/together.cpp" "$work/alone"; fi
headers() { printf '%s\n' "$work"/alone/*.cpp | each "$@" "${bare[@]}" "${checked[@]}" -fsyntax-only '{}'; }

# library COMPILER...: as an archive in a folder of that compiler's.
library() {
    rm -rf "${work:?}/$1" && mkdir "$work/$1"
    printf '%s\n' core/shm/*.cpp |
        each bash -c '"${@:2}" -c "$1" -o "$0/$(basename "$1").o"' "$work/$1" '{}' "$@" "${checked[@]}"
    ar rcs "$work/$1/library.a" "$work/$1"/*.o
}

# prints TEXT COMPILER... SOURCE: what the program, linked with the library, has to print.
prints() {
    local expected=$1 found
    shift
    "$@" "${checked[@]}" "$work/$1/library.a" -o "$work/$1/program" -pthread
    found=$("$work/$1/program" | tr '\n' ' ')
    [[ $found == "$expected" ]] || { echo "$*: expected $expected, found $found" >&2 && return 1; }
}

cat >"$work/throws.cpp" <<'CPP'
#include <iostream>
#include <memory>
#include <stdexcept>
#include <typeinfo>
#include <shm/heap_region.hpp>
#include <shm/mmap_region.hpp>
#include <shm/spsc_ring.hpp>
using ring = shm::spsc_ring<int>;
struct base { virtual ~base() = default; };
struct derived : base {};
int main() try {
    auto memory = shm::heap_region::create(ring::required_size(2)).value();
    auto ends = ring::create(memory.region(), 2).value().split(shm::this_process().value()).value();
    const std::unique_ptr<base> one = std::make_unique<derived>();
    if (ends.first.try_push(1) != shm::push_result::pushed || dynamic_cast<derived*>(one.get()) == nullptr) return 1;
    const auto none = shm::mmap_region::attach("/proc/no such file");
    if (none || typeid(none) != typeid(shm::result<shm::mmap_region>)) return 1;
    throw std::runtime_error{none.error().sentence()};
} catch (const std::exception& thrown) {
    std::cout << thrown.what() << '\n';
}
CPP
refusal="file: expected one of that name, found none "

# A check that lets everything pass would be seen here.
echo 'inline int f() { throw 1; }' >"$work/shm.hpp"
if g++ -std=c++20 "${bare[@]}" -fsyntax-only -x c++ "$work/shm.hpp" 2>/dev/null; then
    echo "ci/portability.sh: a header that throws was not refused" >&2
    exit 1
fi

mapfile -t compilers < <(ci/compilers.sh)
[[ " ${compilers[*]}" == *" g++"* && " ${compilers[*]}" == *" clang++"* ]] || {
    echo "ci/portability.sh: expected a g++ from 12 on and a clang++ from 14 on, found ${compilers[*]:-none}" >&2
    exit 1
}

# all_of COMPILER: everything above, a line for each combination.
all_of() {
    local name standard level build
    name="$1 $("$1" -dumpfullversion -dumpversion)"
    passed() { printf '%-18s %s\n' "$name" "$*" | tee --append "$work/passed"; }
    for standard in c++20 c++2b; do
        headers "$1" "-std=$standard"
        passed "$standard       ${#headers[@]} headers, $($long && echo "each alone" || echo together)"
        for level in $($long && echo -O0) -O2; do
            build=("$1" "-std=$standard" "$level")
            library "${build[@]}" "${bare[@]}"
            prints "42 43 " "${build[@]}" "${bare[@]}" examples/readme.cpp
            passed "$standard  $level  library, and the README's example run"
        done
    done
    # The last library, without exceptions and RTTI, under a program with them; and the reverse.
    prints "$refusal" "${build[@]}" "$work/throws.cpp"
    library "${build[@]}"
    prints "42 43 " "${build[@]}" "${bare[@]}" examples/readme.cpp
    passed "$standard  $level  mixed with a program that throws, and the reverse"
}

# One process is busy for most of that: all compilers at a time.
declare -A checks
for compiler in "${compilers[@]}"; do
    all_of "$compiler" &
    checks[$compiler]=$!
done
for compiler in "${compilers[@]}"; do
    wait "${checks[$compiler]}" || { echo "ci/portability.sh: $compiler failed: see above" >&2 && exit 1; }
done
echo "${#compilers[@]} compilers, $(wc -l <"$work/passed") combinations without exceptions and RTTI: no warning, no failure"
