#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Installs the packages that building, proving and linting need, on Debian and Ubuntu. What is there is left alone.
#
#     ci/deps.sh --ci                        and those that only ci/run.sh needs
set -euo pipefail

packages=(
    g++ clang cmake ninja-build make git                               # the build
    libgtest-dev librapidcheck-dev relacy-dev                          # the proofs
    libboost-context-dev                                               # the fibers of the model check
    libcli11-dev libfmt-dev nlohmann-json3-dev libssl-dev              # the tools and examples
    libboost-dev libreaderwriterqueue-dev libatomic-queue-dev          # what the bench measures beside
    binutils patch python3 python3-yaml shellcheck                     # the lints and planted mistakes
    doxygen doxygen-awesome-css                                        # the reference
)
case ${1-} in
    --ci)
        packages+=(pkg-config fakeroot lintian)  # ci/consumers.sh
        packages+=(chromium)  # ci/pages.sh
        packages+=(parallel)  # ci/shards.sh
        if [[ $(uname -m) == x86_64 ]]; then
            packages+=(g++-aarch64-linux-gnu g++-i686-linux-gnu qemu-user)
        fi ;;
    '') ;;
    *) echo "ci/deps.sh: expected --ci or nothing, found $1" >&2 && exit 2 ;;
esac
clang_packages() { echo "clang-$1" "clang-format-$1" "clang-tidy-$1" "libclang-rt-$1-dev"; }

say() { echo "ci/deps.sh: $*"; }
fail() { say "$*" >&2; exit 1; }
known() { apt-cache show --no-all-versions "$1" >/dev/null 2>&1; }
not_installed() {
    local package
    for package in "$@"; do
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || echo "$package"
    done
}
newest_clang() {
    local version
    for version in 19 18 17 16; do
        if known "clang-$version"; then echo "$version" && return; fi
    done
    return 1
}

read -ra wanted <<<"${packages[*]} $(clang_packages 19)"
if ! command -v apt-get >/dev/null; then
    fail "this is neither Debian nor Ubuntu (no apt-get). Install what these packages hold, and give cmake" \
         "-DSHM_RELACY_DIR=DIR for the folder that contains relacy/: ${wanted[*]}"
fi
mapfile -t missing < <(not_installed "${wanted[@]}")
if ((${#missing[@]} == 0)); then
    say "all ${#wanted[@]} packages are installed"
    exit
fi

apt() {
    local as_root=()
    if ((EUID != 0)); then
        command -v sudo >/dev/null || fail "neither root nor sudo; ask an administrator to install: ${missing[*]}"
        as_root=(sudo)
    fi
    "${as_root[@]}" env LC_ALL=C DEBIAN_FRONTEND=noninteractive apt-get -q "$@"
}

# The package lists of a fresh system are empty, those of an old one may be stale.
updated=false
update() { $updated || apt update; updated=true; }
newest_clang >/dev/null || update
clang=$(newest_clang) || fail "no clang from 16 to 19 in this distribution; the sanitizers need one"
if ((clang != 19)); then
    say "clang-19 is not in this distribution: using clang-$clang; the formatting lint wants 19 and will say so"
fi
read -ra wanted <<<"${packages[*]} $(clang_packages "$clang")"
mapfile -t missing < <(not_installed "${wanted[@]}")
if ((${#missing[@]} == 0)); then
    say "all ${#wanted[@]} packages are installed"
    exit
fi

update
unknown=()
for package in "${missing[@]}"; do known "$package" || unknown+=("$package"); done
((${#unknown[@]} == 0)) || fail "not in this distribution: ${unknown[*]}"

# Between what apt says, which is shown when it fails, stand the lines of its progress: pmstatus:PACKAGE:PERCENT:SENTENCE.
log=$(mktemp)
trap 'rm -f "$log"' EXIT
fresh=$(apt-get -s install --no-install-recommends "${missing[@]}" | grep -c '^Inst ') || fail "apt-get cannot install ${missing[*]}"
say "installing ${missing[*]}, $fresh packages with what they need"
progress() {
    local line kind sentence done=0 told=-10
    while read -r line; do
        IFS=: read -r kind _ _ sentence <<<"$line"
        if [[ $kind != pmstatus && $kind != dlstatus ]]; then
            echo "$line" >>"$log"
            continue
        fi
        if [[ $sentence == "Installed "* ]]; then done=$((done + 1)); fi
        if [[ -t 1 ]]; then
            printf '\r\033[Kci/deps.sh: %d of %d installed, %d s: %s' "$done" "$fresh" "$SECONDS" "$sentence"
        elif ((SECONDS >= told + 10)); then
            told=$SECONDS
            say "$done of $fresh installed, $SECONDS s: $sentence"
        fi
    done
    if [[ -t 1 ]]; then printf '\r\033[K'; fi
}
apt install --yes --no-install-recommends -o APT::Status-Fd=1 "${missing[@]}" 2>&1 | progress ||
    { cat "$log" >&2 && fail "apt-get failed: see above"; }
say "all ${#wanted[@]} packages are installed"
