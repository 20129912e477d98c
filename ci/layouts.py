#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""The byte tables of docs/layouts.md, made of the headers' own tables: layouts.py [--write]

An offset stands in a header's fields(), which the compiler checks; what a field holds stands at its declaration. Without
--write, the page has to hold the tables that would be written.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/layouts.md"
HEADERS = ["spsc_ring_header", "bip_buffer_header", "treiber_slab_header", "slot_meta", "var_slot_pool_header",
           "segment_header"]
BEGIN, END = "<!-- made by ci/layouts.py -->\n", "<!-- end -->\n"


def tables_of(header):
    """A table for each struct of the header that has fields()."""
    text = (ROOT / f"core/shm/{header}.hpp").read_text()
    for struct in re.finditer(r"((?:^///.*\n)+)(?:template .*\n)?struct (?:alignas\(\w+\) )?(\w+)[^;\n]*\{\n([\s\S]*?)^\};\n", text,
                              re.MULTILINE):
        comment, name, body = struct.groups()
        rows = re.findall(r'\{"(\w+)", (\d+), offsetof\(h, \1\), sizeof\(h::\1\)\}', " ".join(body.split()))
        promised = re.search(r"std::array<field, (\d+)> fields", body)
        if not promised:
            continue
        if len(rows) != int(promised[1]):
            sys.exit(f"ci/layouts.py: {header}.hpp: {name}: expected {promised[1]} rows in the form of the others, found {len(rows)}")
        said = dict(re.findall(r"(\w+)(?:\[\w+\]|\{\}| = 0)?;\s*///< (.*)$", body, re.MULTILINE))
        sentence = re.match(r"(.*?\.)(?: |$)", " ".join(line[4:] for line in comment.splitlines()))[1]
        yield f"**{name}**: {sentence[0].lower()}{sentence[1:]}\n\n| byte | field | holds |\n|---|---|---|\n"
        for field, offset in rows:
            if field not in said:
                sys.exit(f"ci/layouts.py: {header}.hpp: expected a comment ///< at the declaration of {field}, found none")
            yield f"| {offset} | `{field}` | {said[field]} |\n"
        yield "\n"


def main():
    if sys.argv[1:] not in ([], ["--write"]):
        print(f"ci/layouts.py: expected --write or nothing, found {' '.join(sys.argv[1:])}", file=sys.stderr)
        sys.exit(2)
    tables = "".join(line for header in HEADERS for line in tables_of(header))
    page = PAGE.read_text()
    begin, end = page.find(BEGIN), page.find(END)
    if not 0 <= begin < end:
        sys.exit(f"ci/layouts.py: {PAGE.relative_to(ROOT)}: expected a line {BEGIN.strip()} and a line {END.strip()}, found none")
    wanted = page[:begin] + BEGIN + "\n" + tables + page[end:]
    if sys.argv[1:]:
        PAGE.write_text(wanted)
    elif page != wanted:
        sys.exit(f"ci/layouts.py: {PAGE.relative_to(ROOT)}: expected the tables of the headers of today, found others; "
                 "ci/layouts.py --write writes them")


if __name__ == "__main__":
    main()
