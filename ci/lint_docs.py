#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Whether what the documents name exists: lint_docs.py FILE.md...

Links lead to files. In code quotes and in blocks, `ci/x.sh`, `make x` and `--preset x` are there (commands.py). In
code quotes, `litmus.x` is a row of the model check, `suite.test` a test (in the pages that say so, TELLING),
`<primitive>_x` a scenario or a header. What an engine is known not to show is in docs/assumptions.md, the library's
version in CHANGELOG.md.
"""

import re
import sys
from pathlib import Path

from commands import ROOT, faults_of_commands

ASSUMPTIONS = ROOT / "docs/assumptions.md"
TELLING = {"assumptions.md", "explore.md", "faults.md", "layouts.md", "portability.md", "bad.md"}
PLACEHOLDERS = {"suite.test", "litmus.x"}
EXTENSIONS = {"hpp", "cpp", "sh", "py", "md", "txt", "hex", "cmake"}


def text_of(*patterns):
    return "\n".join(path.read_text() for pattern in patterns for path in sorted(ROOT.glob(pattern)))


def tests():
    sources = text_of("proptests/*.cpp", "tools/*/*.cpp", "sanitizers/*.cpp", "checker/**/*.cpp", "models/**/*.cpp", "examples/*.cpp")
    named = {f"{suite}.{test}" for suite, test in re.findall(r"\bTEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)\)", sources)}
    named |= {f"{suite}.{test}" for suite, test in re.findall(r"\bTYPED_TEST\(\s*(\w+),\s*(\w+)\)", sources)}
    return named | {f"litmus.{row}" for row in re.findall(r"\b(?:forbidden|allowed)<.*>\(\"(\w+)\"\)", sources)}


def unseen():
    """What the engines are known not to show."""
    sets = re.findall(r"\bblind_to\(const std::string& litmus\)[^{]*\{(.*?)\}", text_of("checker/*/engine.cpp"), re.DOTALL)
    return {f"litmus.{row}" for rows in sets for row in re.findall(r'"(\w+)"', rows)}


TESTS = tests()
MODELS = text_of("models/*/model.cpp")
PRIMITIVES = [path.parent.name for path in ROOT.glob("models/*/model.cpp")]


def faults_of_names(code):
    dotted = re.fullmatch(r"(?:each/)?([a-z]\w*)\.([a-z]\w*)", code)
    if dotted and code not in PLACEHOLDERS and dotted[2] not in EXTENSIONS and f"{dotted[1]}.{dotted[2]}" not in TESTS:
        yield f"expected a test or a litmus, found no {code}"
    if any(re.fullmatch(rf"{primitive}_\w+", code) for primitive in PRIMITIVES):
        if f'"{code}"' not in MODELS and not (ROOT / f"core/shm/{code}.hpp").is_file():
            yield f"expected a scenario, found no {code}"


def faults_of(path):
    fenced = False
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        quoted = [] if fenced else re.findall(r"`([^`]+)`", line)
        # A line that is indented is a block's, or goes on with a list: both may name something.
        block = [line] if fenced or line.startswith("    ") and not quoted else []
        for code in quoted + block:
            for fault in faults_of_commands(code):
                yield number, fault
        for code in quoted if path.name in TELLING else []:
            for fault in faults_of_names(code):
                yield number, fault
        if fenced:
            continue
        for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", line)):
            target = link.partition("#")[0]
            if target and not re.match(r"[a-z]+:", target) and not (path.parent / target).exists():
                yield number, f"expected a file, found a link to {link}"


def main():
    files = [Path(name) for name in sys.argv[1:]]
    if not files:
        sys.exit("usage: lint_docs.py FILE.md...")
    refused = [f"{path}:{number}: {fault}" for path in files for number, fault in faults_of(path)]
    version = re.search(r'version = "([0-9.]+)"', (ROOT / "core/shm/version.hpp").read_text())[1]
    if not re.search(rf"^## {re.escape(version)}\b", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE):
        refused.append(f"CHANGELOG.md: expected a section {version}, the library's version, found none")
    if not unseen():
        refused.append("checker/*/engine.cpp: expected what the engine does not show (blind_to), found none")
    for row in sorted(unseen()):
        if f"`{row}`" not in ASSUMPTIONS.read_text():
            refused.append(f"docs/assumptions.md: expected {row}, which an engine does not show, found no word of it")
    sys.exit("\n".join(refused) or 0)


if __name__ == "__main__":
    main()
