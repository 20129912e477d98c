#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Lays a primitive: new_primitive.py NAME

Its header, its proofs and a table of mistakes, from the templates in tools/new_primitive/, with what is still owed marked OWED; and its
registration. All of it or, when anything is refused, nothing. docs/adding-a-primitive.md is the path from there.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LAID = {  # where, from which template, and what it is
    "core/shm/{}.hpp": (".hpp", "the primitive, beginning with its class comment"),
    "models/{}/model.cpp": ("_model.cpp", "every interleaving, and a death at every step"),
    "models/{}/mistakes.toml": ("_mistakes.toml", "mistakes that are known, and what finds each"),
    "proptests/{}_props.cpp": ("_props.cpp", "every sequence of calls"),
    "sanitizers/{}_stress.cpp": ("_stress.cpp", "real threads and processes"),
}


def refuse(expected, found):
    print(f"new-primitive: expected {expected}, found {found}; nothing was written", file=sys.stderr)
    sys.exit(2)


def filled(suffix, name):
    text = (ROOT / f"tools/new_primitive/new_primitive{suffix}").read_text().replace("new_primitive", name)
    magic = hashlib.sha256(name.encode()).hexdigest()[:16]
    return re.sub(r"(magic_value = 0x)\w+", rf"\g<1>{magic}", text)


def with_line(path, text, line, place):
    """The text of that file with one line more, after the last match of the pattern `place`."""
    ends = [match.end() for match in re.finditer(place, text, re.MULTILINE)]
    if not ends:
        refuse(f"a place in {path} for: {line.strip()}", "none")
    return f"{text[:ends[-1]]}{line}\n{text[ends[-1]:]}"


def registered(name):
    """CMakeLists.txt and README.md with one primitive more."""
    cmake = (ROOT / "CMakeLists.txt").read_text()
    header = f"    core/shm/{name}.hpp"
    headers = re.findall(r"^    core/shm/\w+\.hpp$", cmake, re.MULTILINE)
    before = max((other for other in headers if other < header), default="  PUBLIC FILE_SET HEADERS BASE_DIRS core FILES")
    cmake = with_line("CMakeLists.txt", cmake, header, f"^{before}\n")
    cmake = with_line("CMakeLists.txt", cmake, f"  shm_primitive({name})", r"^  # The primitives\..*\n(?:  +\S.*\n)+")
    row = (
        f"| [`{name}`](core/shm/{name}.hpp) | OWED: what it is, in a few words | [model](models/{name}/model.cpp) "
        f"| [properties](proptests/{name}_props.cpp) | [stress](sanitizers/{name}_stress.cpp) |"
    )
    readme = with_line("README.md", (ROOT / "README.md").read_text(), row, r"^\| \[`\w+`\]\(core/shm/.*\n")
    return {"CMakeLists.txt": cmake, "README.md": readme}


def complaint(stage):
    """What the compiler says, if anything, when the staged header joins the others: its name is a keyword, or taken."""
    headers = sorted({header.name for root in (ROOT, stage) for header in (root / "core/shm").glob("*.hpp")})
    program = "".join(f"#include <shm/{header}>\n" for header in headers)
    found = subprocess.run(
        ["g++", "-std=c++20", "-fsyntax-only", "-x", "c++", "-"]
        + [f"-I{folder}" for folder in (stage / "core", ROOT / "core", ROOT / "atomics")],
        input=program,
        capture_output=True,
        text=True,
    )
    errors = re.findall(r"error: (.*)", found.stderr)
    return None if found.returncode == 0 else (errors or [found.stderr.strip()])[0]


def main():
    name = sys.argv[1] if len(sys.argv) == 2 else ""
    if not name:
        refuse("NAME=x, the name of the primitive", "none")
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
        refuse("a name in snake_case", f'"{name}"')
    laid = {path.format(name): filled(suffix, name) for path, (suffix, _) in LAID.items()}
    for path in laid:
        if (ROOT / path).exists():
            refuse("a name that is free", path)

    # Made in a folder of its own and moved when all of it is there.
    with tempfile.TemporaryDirectory(dir=ROOT, prefix=".new_primitive_") as folder:
        stage = Path(folder)
        changed = registered(name)
        for path, text in {**laid, **changed}.items():
            (stage / path).parent.mkdir(parents=True, exist_ok=True)
            (stage / path).write_text(text)
        for path in changed:
            shutil.copymode(ROOT / path, stage / path)
        taken = complaint(stage)
        if taken:
            refuse("a name that C++ and namespace shm leave free", f'"{name}" ({taken})')
        formatter = shutil.which("clang-format-19")
        if formatter:
            subprocess.run([formatter, "-i", *(stage / path for path in laid if path.endswith("pp"))], check=True)
        for path in {**laid, **changed}:
            (ROOT / path).parent.mkdir(exist_ok=True)
            os.replace(stage / path, ROOT / path)

    for path, (_, what) in LAID.items():
        print(f"{path.format(name):<40} {what}")
    print(f"{'CMakeLists.txt, README.md':<40} its header, its proofs and its row")
    if not formatter:
        print("clang-format-19 is not installed (ci/deps.sh installs it): ci/lint.sh may ask for another formatting")
    print(f"Next: `make check NAME={name}` says what each still owes; docs/adding-a-primitive.md says in which order.")


if __name__ == "__main__":
    main()
