#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""What the compiler does not check in core/: lint_core.py FILE...

No preprocessor line but #pragma once and #include: one code for production and for every checker.
Every memory order stands alone on its line and says there what it is for: its [edge], or why relaxed is enough.
Every operation on an atomic names its order. Every [edge] is declared in a class comment of its file or of a header
that the file includes; a declared edge has both ends, there or where it is included: an operation that releases and one
that acquires.
"""

import re
import sys
from pathlib import Path

ORDER = re.compile(r"\b(?:memory_order(?:_|::))?(relaxed|acquire|release|acq_rel|seq_cst)\b(?!\s*\()")
BOTH = {"acquire", "release"}
ENDS = {"acquire": {"acquire"}, "release": {"release"}, "acq_rel": BOTH, "seq_cst": BOTH}
OPERATION = re.compile(
    r"(?:\.|->)\s*(load|store|exchange|compare_exchange_weak|compare_exchange_strong|fetch_\w+)\s*\("
    r"|\b(?:Atomics::)(fence|await|await_until)\s*\("
)
DECLARED = re.compile(r"^\s*///\s+(?:Edges\s+)?\[([^\]]+)\]\s", re.MULTILINE)
INCLUDED = re.compile(r"^#include <(shm/[^>]+)>", re.MULTILINE)
NOT_CODE = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.DOTALL)


def code_of(text):
    """The text with comments and strings blanked; lines and columns stay."""
    return NOT_CODE.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)


def arguments(code, start):
    """What stands between the parenthesis that opens just before `start` and the one that closes it."""
    depth = 1
    for end in range(start, len(code)):
        depth += {"(": 1, ")": -1}.get(code[end], 0)
        if depth == 0:
            return code[start:end]
    return code[start:]


def declared_edges(text):
    """The edges that the class comments of a text declare: [name] first on its line, in an Edges section."""
    edges = set()
    for comment in re.findall(r"(?:^[ \t]*///.*\n)+", text, re.MULTILINE):
        for section in re.findall(r"^[ \t]*/// Edges\s.*\n(?:[ \t]*///  .*\n)*", comment, re.MULTILINE):
            edges.update(DECLARED.findall(section))
    return edges


def faults_of(path, roots, ends):
    """What is wrong with a file. `ends` learns which orders there are at each edge, by the file that declares it."""
    text = path.read_text()
    code = code_of(text)
    declared_in = {edge: path for edge in declared_edges(text)}
    for edge in declared_in:
        ends.setdefault((path, edge), set())
    for header in INCLUDED.findall(text):
        for root in roots:
            if (root / header).is_file():
                for edge in declared_edges((root / header).read_text()):
                    declared_in.setdefault(edge, root / header)

    for number, (line, whole) in enumerate(zip(code.splitlines(), text.splitlines()), start=1):
        if line.lstrip().startswith("#") and not re.match(r"\s*#(pragma once$|include [<\"])", whole):
            yield number, "no preprocessor line but #pragma once and #include: absorb it in the atomics layer"
        orders = ORDER.findall(line)
        if not orders:
            continue
        if len(orders) > 1:
            yield number, f"{len(orders)} orders on one line, so one has no comment: one order a line"
            continue
        comment = whole.partition("// ")[2] if "//" in whole else ""
        edges = re.findall(r"\[([^\]]+)\]", comment)
        for edge in edges:
            if edge not in declared_in:
                yield number, f"[{edge}] is declared in no Edges section of this file or of a header it includes"
            elif orders[0] != "relaxed":
                ends.setdefault((declared_in[edge], edge), set()).update(ENDS[orders[0]])
        if orders[0] != "relaxed" and not edges:
            yield number, f"{orders[0]} without its edge: end the line in `// [edge]`"
        elif not edges and len(comment.split()) < 2:
            yield number, "relaxed without a reason: end the line in the few words why that is enough"

    for found in OPERATION.finditer(code):
        if not ORDER.search(arguments(code, found.end())):
            yield code.count("\n", 0, found.end()) + 1, f"{found[1] or found[2]} without an order: say which"


def main():
    files = [Path(name) for name in sys.argv[1:]]
    if not files:
        sys.exit("usage: lint_core.py FILE...")
    roots = {path.parent.parent for path in files}
    ends = {}
    refused = [
        f"{path}:{number}: {what}" for path in files for number, what in sorted(set(faults_of(path, roots, ends)))
    ]
    refused += [
        f"{path}:1: [{edge}] is declared and lacks an end: an operation that releases and one that acquires"
        for (path, edge), orders in sorted(ends.items())
        if path in files and orders != BOTH
    ]
    sys.exit("\n".join(refused) or 0)


if __name__ == "__main__":
    main()
