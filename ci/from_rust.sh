#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Whether docs/from-rust.md tells the truth: compiles the code of each row that is `here`, and looks up each scenario.
#
#     ci/from_rust.sh [COMPILER]             c++ if not said
# shellcheck disable=SC2016  # the backticks are those of the page
set -euo pipefail
cd "$(dirname "$0")/.."
compiler=${1:-c++}
page=docs/from-rust.md

generated=$(mktemp -d)
trap 'rm -rf "$generated"' EXIT

# What the rows speak of. Nothing is run or linked, so nothing needs to be made.
fixtures() {
    cat <<'CPP'
#include <cstddef>
#include <cstdint>
#include <span>
#include <shm/bip_buffer.hpp>
#include <shm/doorbell.hpp>
#include <shm/heap_region.hpp>
#include <shm/mmap_region.hpp>
#include <shm/spsc_ring.hpp>
#include <shm/treiber_slab.hpp>
#include <shm/var_slot_pool.hpp>
using ring_type = shm::spsc_ring<std::uint64_t>;
using raw_type = shm::spsc_ring_raw<std::uint64_t>;
extern void* address;
extern std::size_t size_bytes;
extern std::uint64_t e;
extern shm::region bytes;
extern shm::heap_region heap;
extern shm::mmap_region file;
extern shm::peer_id me;
extern ring_type ring;
extern ring_type::producer producer;
extern ring_type::consumer consumer;
extern shm::spsc_ring_header<> header;
extern std::span<raw_type::slot> slots;
extern raw_type raw;
extern raw_type::producer raw_producer;
extern raw_type::consumer raw_consumer;
using slab_type = shm::treiber_slab<>;
using raw_slab_type = shm::treiber_slab_raw<>;
extern slab_type slab;
extern slab_type::member member;
extern shm::slot_handle handle;
extern shm::slot_meta<> slot;
extern shm::treiber_slab_header<> slab_header;
extern std::span<raw_slab_type::entry> entries;
extern std::span<raw_slab_type::meta> metas;
extern std::span<const shm::pool_class> classes;
extern shm::doorbell bell;
extern shm::doorbell_handle bell_handle;
extern int fd;
CPP
}

# Rows become one function each: an expression as it is, a statement as it is. Refuses a row that has no known status.
functions() {
    awk -F ' *[|] *' -v page="$page" '
        /^\|/ && !/^\|---/ && !/ status \|$/ {
            status = $(NF - 1)
            code = $3
            gsub(/^`|`$/, "", code)
            if ((NF != 6 && NF != 4) || (status != "here" && status != "planned")) {
                printf "%s:%d: expected a row that ends in here or planned, found: %s\n", page, NR, $0 >"/dev/stderr"
                exit 1
            }
            if (NF == 6 && status == "here") {
                print "#line " NR " \"" page "\""
                print "void row_" NR "() { " (code ~ /;$/ ? code : "static_cast<void>(" code ");") " }"
            }
        }' "$1"
}
compiles() {
    { fixtures && functions "$1"; } >"$generated/rows.cpp" &&
        "$compiler" -std=c++20 -fsyntax-only -Wall -Wextra -Werror -Wno-unused-variable -Icore -Iatomics \
            "$generated/rows.cpp"
}
rows() { grep -cE "^\|.*\| $1 \|\$" "$2"; }

# First it has to refuse what is wrong, so that a check that has gone blind is seen.
for wrong in '| `x` | `ring.no_such_name()` | | here |' '| `x` | `ring.capacity()` | | |' '| `x` | `ring` | | her |'; do
    { cat "$page" && echo "$wrong"; } >"$generated/wrong.md"
    if compiles "$generated/wrong.md" 2>/dev/null; then
        echo "ci/from_rust.sh: did not refuse the row $wrong" >&2
        exit 1
    fi
done

compiles "$page"
failed=0
while read -r scenario; do
    grep -q "\"$scenario\"" models/*/model.cpp && continue
    echo "ci/from_rust.sh: $page: expected a scenario $scenario in models/, found none" >&2
    failed=1
done < <(sed -n 's/^| `\([a-z_]*\)` | here |$/\1/p' "$page")
echo "$page: $(grep -c '^#line' "$generated/rows.cpp") rows compiled by $compiler," \
    "$(grep -cE '^\| `[a-z_]*` \| here \|$' "$page") scenarios found, $(rows planned "$page") rows planned"
exit "$failed"
