#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Every g++ from 12 on and every clang++ from 14 on that is installed, each once, one a line.
set -euo pipefail

declare -A known
for compiler in g++ g++-{12..20} clang++ clang++-{14..24}; do
    path=$(command -v "$compiler") || continue
    path=$(readlink -f "$path")
    [[ -n ${known[$path]:-} ]] && continue
    known[$path]=1
    version=$("$compiler" -dumpversion)
    case $compiler in
        g++*) oldest=12 ;;
        *) oldest=14 ;;
    esac
    ((${version%%.*} < oldest)) || echo "$compiler"
done
