#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# The C++ reference of the installed headers, in build/docs/html. A public class or function without a comment is an
# error, and so is everything else that Doxygen warns of.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v doxygen >/dev/null || { echo "ci/docs.sh: doxygen is not installed: ci/deps.sh installs it" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# reference OUTPUT [SETTING...]: what is said last counts.
reference() {
    { cat docs/doxygen/Doxyfile && printf '%s\n' "OUTPUT_DIRECTORY = $1" "${@:2}"; } | doxygen - 2>&1
}

# First it has to refuse what is not documented, so that settings which hide it are seen.
for undocumented in 'void f();' 'struct s {
    int x;
};' 'enum class e { a };' '/// A class.
class c {
public:
    void f();
};' '/// A class.
template <class T>
class c {
public:
    static int f() { return 0; }
};'; do
    printf '#pragma once\n/// All.\nnamespace shm {\n%s\n}  // namespace shm\n' "$undocumented" >"$work/bad.hpp"
    if said=$(reference "$work" "INPUT = $work/bad.hpp") || [[ $said != *"is not documented"* ]]; then
        printf 'ci/docs.sh: expected "is not documented" of this sample, found "%s":\n%s\n' "$said" "$undocumented" >&2
        exit 1
    fi
done

rm -rf build/docs
mkdir -p build/docs
version=$(sed -nE 's/.*version = "([0-9.]+)".*/\1/p' core/shm/version.hpp)
mapfile -t headers < <(sed -nE '/FILE_SET HEADERS/,/PRIVATE/s,^ +((core|atomics)/shm/[a-z_/]+\.hpp)\)?$,\1,p' CMakeLists.txt)
((${#headers[@]})) || { echo "ci/docs.sh: expected the installed headers in CMakeLists.txt, found none" >&2; exit 1; }
reference build/docs "PROJECT_NUMBER = $version" "INPUT = docs/doxygen/main.md ${headers[*]}"
echo "ci/docs.sh: build/docs/html/index.html documents ${#headers[@]} headers of version $version"
