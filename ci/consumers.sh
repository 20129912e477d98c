#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Every way in which a stranger takes this library: installed static and shared, by CMake and by pkg-config, from the
# .tar.gz and the .deb, and as a part of the stranger's own build. For each a consumer is built and run, whose flags are
# stricter than ours. Then: what the packages hold, the versions that must agree, and all that the documents show.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
snippets=
trap 'if [[ $snippets ]]; then kill "$snippets" 2>/dev/null || true; fi; rm -rf "$work"' EXIT
refuse() { echo "ci/consumers.sh: $*" >&2; exit 1; }
same() { [[ $2 == "$3" ]] || refuse "$1: expected \"$2\", found \"$3\""; }
quietly() { "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2; refuse "failed: $*"; }; }
say() { printf '%-36s %-9s %s\n' "$@"; }

for tool in g++ clang++ cmake ninja git pkg-config dpkg fakeroot lintian; do
    command -v "$tool" >/dev/null || refuse "$tool is not installed: ci/deps.sh installs what is needed"
done
version=$(sed -n 's/.*version = "\(.*\)";/\1/p' core/shm/version.hpp)
export CMAKE_GENERATOR=Ninja CMAKE_BUILD_PARALLEL_LEVEL=2
unset CMAKE_PREFIX_PATH PKG_CONFIG_PATH

# Of the recipes, what can be read without vcpkg and Conan: their syntax, the files that they name, their version.
cat >"$work/port.cmake" <<CMAKE
foreach(command IN ITEMS cmake_configure cmake_install cmake_config_fixup fixup_pkgconfig install_copyright)
  function(vcpkg_\${command})
    foreach(argument IN LISTS ARGN)
      if(IS_ABSOLUTE "\${argument}" AND NOT EXISTS "\${argument}")
        message(FATAL_ERROR "expected a file, found none: \${argument}")
      endif()
    endforeach()
  endfunction()
endforeach()
set(PORT shm-primitives)
set(CURRENT_PACKAGES_DIR $work/port)
include($PWD/packaging/vcpkg/portfile.cmake)
CMAKE
quietly cmake -P "$work/port.cmake"
for recipe in packaging/conan/conanfile.py packaging/conan/test_package/conanfile.py; do
    quietly python3 -c 'import ast, sys; ast.parse(open(sys.argv[1]).read(), sys.argv[1])' "$recipe"
done
same "version in vcpkg.json" "$version" \
    "$(python3 -c 'import json, sys; print(json.load(sys.stdin)["version"])' <packaging/vcpkg/vcpkg.json)"
same "version in conanfile.py" "$version" "$(sed -n 's/^    version = "\(.*\)"$/\1/p' packaging/conan/conanfile.py)"
same "newest version in CHANGELOG.md" "$version" "$(sed -n 's/^## \([0-9.]*[0-9]\).*/\1/p' CHANGELOG.md | head -n 1)"
say "versions" "" "$version in version.hpp, vcpkg.json, conanfile.py, CHANGELOG.md"

# What git tracks, or would track, as a repository: what is not in it, no consumer may need.
source=$work/source
mkdir "$source"
git ls-files -z --cached --others --exclude-standard | while IFS= read -rd '' file; do
    if [[ -f $file ]]; then printf '%s\0' "$file"; fi
done | tar --create --null --files-from=- | tar --extract --directory "$source"
git -C "$source" init --quiet --initial-branch main
git -C "$source" add --all
git -C "$source" -c user.name=ci -c user.email=ci commit --quiet --message "as it is"

gcc_flags=(-Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wold-style-cast -Wnon-virtual-dtor
    -Woverloaded-virtual -Wcast-align -Wcast-qual -Wformat=2 -Wduplicated-cond -Wlogical-op -Werror)
# All but: two that object to C++ newer than 98, two that object to each other (of a switch with a case for all), one to
# every struct with a gap, one to every pointer that is indexed.
clang_flags=(-Weverything -Wno-c++98-compat -Wno-c++98-compat-pedantic -Wno-switch-default -Wno-padded
    -Wno-unsafe-buffer-usage -Wno-unknown-warning-option -Werror)
strict() { if [[ $1 == g++ ]]; then echo "${gcc_flags[*]}"; else echo "${clang_flags[*]}"; fi; }

consumer=$work/consumer.cpp
ran() {  # KIND COMPILER PROGRAM
    local printed
    printed=$("$3") || refuse "$1, $2: expected $3 to exit with 0, found $?"
    same "$1, $2: what it printed" "$version 42" "$printed"
    say "$1" "$2" "$printed"
}

# by_cmake KIND COMPILER LINES [OPTION...]: a project that finds the library by those lines.
by_cmake() {
    local kind=$1 compiler=$2 lines=$3 project build
    shift 3
    project=$(mktemp -d "$work/project.XXXX")
    build=$project/build
    printf '%s\n' 'cmake_minimum_required(VERSION 3.23)' 'project(stranger VERSION 3 LANGUAGES CXX)' "$lines" \
        "add_executable(stranger $consumer)" 'target_link_libraries(stranger PRIVATE shm::primitives)' \
        'install(TARGETS stranger)' >"$project/CMakeLists.txt"
    # What is found by find_package is a system header otherwise, whose warnings are not shown.
    quietly cmake -S "$project" -B "$build" -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_CXX_FLAGS="$(strict "$compiler")" \
        -DCMAKE_BUILD_TYPE=Release -DCMAKE_NO_SYSTEM_FROM_IMPORTED=ON "$@"
    if grep -q Warning "$work/log"; then refuse "$kind: expected no warning, found: $(<"$work/log")"; fi
    quietly cmake --build "$build"
    ran "$kind" "$compiler" "$build/stranger"
    built=$build
}
found_in() { by_cmake "$1" "$2" "find_package(shm_primitives ${version%.*} REQUIRED)
if(NOT shm_primitives_DIR MATCHES \"^$3/\")
  message(FATAL_ERROR \"expected a package in $3, found \${shm_primitives_DIR}\")
endif()" -DCMAKE_PREFIX_PATH="$3"; }

# by_pkg_config KIND COMPILER PREFIX: one line for a compiler and nothing else.
by_pkg_config() {
    local flags pc
    pc=$(find "$3" -name shm-primitives.pc)
    export PKG_CONFIG_PATH=${pc%/*}
    same "$1: version of the pkg-config file" "$version" "$(pkg-config --modversion shm-primitives)"
    read -ra flags <<<"$(pkg-config --cflags --libs shm-primitives)"
    flags+=("-Wl,-rpath,$(pkg-config --variable=libdir shm-primitives)")
    unset PKG_CONFIG_PATH
    # shellcheck disable=SC2046  # they are several words
    quietly "$2" -std=c++20 -O2 $(strict "$2") "$consumer" "${flags[@]}" -o "$work/by_pkg_config"
    ran "$1" "$2" "$work/by_pkg_config"
}

# Made once, and moved, so that nothing can lean on where it was made.
quietly make -C "$source" install package PREFIX="$work/made"
mv "$work/made" "$work/static"
quietly cmake --install "$source/build/release" --component model --prefix "$work/model"
quietly cmake -S "$source" -B "$work/build-shared" -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=ON -DSHM_PROOFS=none
quietly cmake --build "$work/build-shared"
quietly cmake --install "$work/build-shared" --prefix "$work/made"
mv "$work/made" "$work/shared"
quietly cmake "$source/build/release" -DCMAKE_INSTALL_LIBDIR="$work/absolute/l" \
    -DCMAKE_INSTALL_INCLUDEDIR="$work/absolute/i"
quietly cmake --install "$source/build/release" --prefix "$work/elsewhere"

# The shared library exports what the static one has that is not inline, and nothing else.
shared=$(readlink -f "$work/shared/lib/libshm_primitives.so")
functions() { nm --extern-only --defined-only "$@" | sed -n 's/^[0-9a-f]* T //p' | sort; }
exports=$(nm --dynamic --defined-only "$shared" | sed 's/^[0-9a-f]* . //' | sort)
diff <(functions "$work/static/lib/libshm_primitives.a") - <<<"$exports" | c++filt >"$work/log" ||
    refuse "exports: expected the static library's functions, found otherwise (< lacking, > too many): $(<"$work/log")"
same "name of the shared library" "libshm_primitives.so.${version%.*}" \
    "$(objdump --private-headers "$shared" | awk '$1 == "SONAME" { print $2 }')"
say "shared, exports" "" "our $(wc -l <<<"$exports") functions and nothing else, libshm_primitives.so.${version%.*}"

"$source/ci/snippets.py" "$work/static" g++ clang++ >"$work/shown" 2>&1 &  # in the meantime; it takes a while
snippets=$!

# What the component model adds, and nothing else may need.
mapfile -t checker < <(cd "$work/model" && find . -type f | sort)
[[ " ${checker[*]} " == *" ./lib/libshm_model.a "* ]] || refuse "component model: expected a library, found ${checker[*]}"
if [[ -e $work/static/include/shm/relacy_atomics.hpp ]]; then refuse "Relacy's layer is installed"; fi

# The consumer includes every header, calls into each part of the library, and says which version it was built with.
{
    for header in "$work"/static/include/shm/{,*/}*.hpp; do
        header=${header#"$work/static/include/"}
        [[ -e $work/model/include/$header ]] || echo "#include <$header>"
    done
    cat <<'CPP'
#include <iostream>
#include <utility>
#include <unistd.h>
int main() {
    using ring = shm::spsc_ring<int>;
    const auto made = shm::memfd_region::create(ring::required_size(2)).value();
    const auto bytes = shm::memfd_region::attach(shm::unique_fd{dup(made.fd())}).value();
    const auto numbers = ring::create(bytes.region(), 2).value();
    auto [producer, consumer] = numbers.split(shm::this_process().value()).value();
    const auto refused = shm::mmap_region::attach("/no such file");
    if (refused || refused.error().sentence().empty() || shm::reap(-2)) return 1;
    if (producer.try_push(42) != shm::push_result::pushed) return 1;
    std::cout << shm::version << ' ' << consumer.try_pop().value_or(0) << '\n';
}
CPP
} >"$consumer"

found_in "find_package, static" g++ "$work/static"
found_in "find_package, static" clang++ "$work/static"
found_in "find_package, shared" g++ "$work/shared"
by_pkg_config "pkg-config, static" clang++ "$work/static"
by_pkg_config "pkg-config, shared" g++ "$work/shared"
by_pkg_config "pkg-config, absolute folders" g++ "$work/absolute"

# Somebody's own lock, checked: the example as a project outside of the tree. And what is said where there is no checker.
check_your_own() {  # KIND COMPILER PREFIX
    local build
    build=$(mktemp -d "$work/own.XXXX")
    quietly cmake -S "$source/examples/check_your_own" -B "$build" -DCMAKE_CXX_COMPILER="$2" -DCMAKE_PREFIX_PATH="$3" \
        -DCMAKE_CXX_FLAGS="-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror" -DCMAKE_NO_SYSTEM_FROM_IMPORTED=ON
    quietly cmake --build "$build"
    quietly ctest --test-dir "$build" --output-on-failure --no-tests=error
    say "$1" "$2" "$("$build/spinlock")"
}
clang=$(compgen -c clang++- | grep -x 'clang++-1[6-9]' | sort | tail -n 1)  # 14 has no std::source_location
check_your_own "COMPONENTS model, static" g++ "$work/static"
check_your_own "COMPONENTS model, static" "$clang" "$work/static"
check_your_own "COMPONENTS model, shared" g++ "$work/shared"
if grep -rli boost "$work"/static/lib/{pkgconfig,cmake/shm_primitives/shm_primitivesTargets*}; then
    refuse "expected shm::primitives to know nothing of Boost, found it in these"
fi
cp -r "$work/static" "$work/without"
(cd "$work/without" && rm "${checker[@]}")
refused_component() {  # SENTENCE PREFIX COMPONENT
    local project
    project=$(mktemp -d "$work/project.XXXX")
    printf '%s\n' 'cmake_minimum_required(VERSION 3.23)' 'project(stranger LANGUAGES CXX)' \
        "find_package(shm_primitives REQUIRED COMPONENTS $3)" >"$project/CMakeLists.txt"
    if cmake -S "$project" -B "$project/build" -DCMAKE_PREFIX_PATH="$2" "${@:4}" >"$work/log" 2>&1; then
        refuse "COMPONENTS $3: expected a refusal, found none"
    fi
    xargs <"$work/log" | grep -qF "$1" || refuse "COMPONENTS $3: expected \"$1\", found: $(<"$work/log")"
    say "COMPONENTS $3" "" "refused: $1"
}
refused_component "found atomics and primitives alone" "$work/without" model
refused_component "expected Boost.Context, found none" "$work/static" model -DCMAKE_DISABLE_FIND_PACKAGE_Boost=ON
refused_component "COMPONENTS: expected atomics, primitives or model, found other" "$work/static" other

# A version that is not there is refused with both values.
mkdir "$work/wrong"
printf '%s\n' 'cmake_minimum_required(VERSION 3.23)' 'project(stranger LANGUAGES CXX)' \
    'find_package(shm_primitives 9 REQUIRED)' >"$work/wrong/CMakeLists.txt"
if cmake -S "$work/wrong" -B "$work/wrong/build" -DCMAKE_PREFIX_PATH="$work/static" >"$work/log" 2>&1; then
    refuse "find_package(shm_primitives 9): expected a refusal, found none"
fi
for value in 'requested version "9"' "version: $version"; do
    grep -q "$value" "$work/log" || refuse "find_package(shm_primitives 9): expected $value, found: $(<"$work/log")"
done
say "find_package, version 9" "" "refused: $(sed -n 's/^ *\(.*Config.cmake\), \(version: .*\)/\2/p' "$work/log")"

# In the stranger's own build: one target, and otherwise nothing.
embedded="
get_cmake_property(before CACHE_VARIABLES)
%s
get_cmake_property(after CACHE_VARIABLES)
list(REMOVE_ITEM after \${before})
list(FILTER after EXCLUDE REGEX \"^(SHM_|shm_primitives_|FETCHCONTENT_|GIT_EXECUTABLE)\")
get_property(targets DIRECTORY \${shm_primitives_SOURCE_DIR} PROPERTY BUILDSYSTEM_TARGETS)
get_property(tests DIRECTORY \${shm_primitives_SOURCE_DIR} PROPERTY TESTS)
if(NOT \"\${targets}/\${tests}/\${after}\" STREQUAL \"shm_atomics;shm_primitives//\")
  message(FATAL_ERROR \"expected the targets shm_atomics and shm_primitives, no tests, nothing in the cache but SHM_* and \"
    \"shm_primitives_*; found \${targets}; \${tests}; \${after}\")
endif()"
in_a_build() {  # KIND COMPILER LINES
    # shellcheck disable=SC2059  # the format is the one above
    by_cmake "$1" "$2" "$(printf "$embedded" "$3")"
    quietly cmake --install "$built" --prefix "$built/installed"
    same "$1: what the stranger installs" "bin/stranger" "$(find "$built/installed" -type f -printf '%P ' | xargs)"
}
fetch="include(FetchContent)
FetchContent_Declare(shm_primitives GIT_REPOSITORY file://$source GIT_TAG main)
FetchContent_MakeAvailable(shm_primitives)"
in_a_build "add_subdirectory" g++ "add_subdirectory($source shm)"
in_a_build "add_subdirectory" clang++ "add_subdirectory($source shm)"
in_a_build "FetchContent, from a repository" g++ "$fetch"

# The packages.
deb=$source/build/packages/libshm-primitives-dev_${version}_$(dpkg --print-architecture).deb
tgz=$source/build/packages/shm-primitives-$version-linux-$(uname -m).tar.gz
for package in "$deb" "$tgz"; do
    [[ -f $package ]] || refuse "expected $package, found $(cd "${package%/*}" && echo *)"
done
mkdir "$work/unpacked"
tar --extract --gzip --file "$tgz" --directory "$work/unpacked"
found_in ".tar.gz, find_package" g++ "$work/unpacked/$(basename "$tgz" .tar.gz)"
by_pkg_config ".tar.gz, pkg-config" clang++ "$work/unpacked"

# dpkg installs below a folder, with this system's list of packages, so that it must find what the package depends on.
# That needs no root: there are no scripts to run, and fakeroot lets it change owners.
root=$work/root
mkdir -p "$root"/var/lib/dpkg/{info,updates,triggers}
cp /var/lib/dpkg/status "$root/var/lib/dpkg"
cp /var/lib/dpkg/info/format "$root/var/lib/dpkg/info"
dpkg-query --show --showformat "$root/var/lib/dpkg/info/\${binary:Package}.list\n" | xargs touch  # or it warns
same "version of the .deb" "$version" "$(dpkg-deb --field "$deb" Version)"
quietly env PATH="$PATH:/usr/sbin:/sbin" fakeroot dpkg --root="$root" --log=/dev/null --install "$deb"
found_in ".deb, find_package" clang++ "$root/usr"
by_pkg_config ".deb, pkg-config" g++ "$root/usr"
quietly lintian --allow-root --fail-on error,warning "$deb"
say ".deb, lintian" "" "no error, no warning: $(dpkg-deb --field "$deb" Section Depends | xargs)"

shown=0
wait "$snippets" || shown=$?
snippets=
cat "$work/shown"
((shown == 0)) || refuse "what the documents show does not work: see above"
