#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Which folder includes which, and that no include runs upward: layers.py [--draw] [FOLDER]

Reads the includes of every source that git tracks. Each folder may include those below it, as LAYERS lists them; a file of
the tree is included in quotes by its whole path, an installed header in angle brackets, and a file of tests by nobody else.
Without --draw, docs/architecture.svg has to be what would be drawn. FOLDER: another tree, of which no picture is expected.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PICTURE = "docs/architecture.svg"
INSTALLED = ("core/", "atomics/", "checker/include/")  # include roots
OF_TESTS = ("proptests", "sanitizers", "bench/test", "checker/tests")  # nobody else includes what is there
TEMPLATES = "tools/new_primitive/"  # of files of other folders

# From the bottom up: a folder, where it is drawn (row, column), what it is, and what it may include. "models" includes two
# headers by a name that the include path completes: <layers.hpp>, which belongs to an engine.
LAYERS = {
    "atomics": (0, 2, "the seam: the concept, and a layer for each machine", ()),
    "core": (1, 1, "the library", ("atomics",)),
    "checker": (1, 3, "the checker", ("atomics",)),
    "testkit": (2, 2, "what tests share", ("core", "atomics")),
    "checker/tests": (4, 3, "what it must find", ("checker", "models", "testkit", "core", "atomics")),
    "models": (3, 3, "every interleaving", ("testkit", "checker", "core", "atomics")),
    "proptests": (4, 2, "every sequence of calls", ("models", "testkit", "core", "atomics")),
    "sanitizers": (3, 1, "real threads, real kills", ("testkit", "core", "atomics")),
    "tools": (3, 0, "shm-inspect", ("core", "atomics", "testkit")),
    "bench": (4, 0, "speed beside others", ("core", "atomics", "testkit")),
    "examples": (3, 4, "programs to begin with", ("core", "atomics", "checker", "testkit")),
    "ci": (4, 4, "who checks all that", ("core", "atomics")),
}


def folder_of(name):
    return next((folder for folder in LAYERS if "/" in folder and name.startswith(folder + "/")), name.split("/")[0])


def sources(root):
    listed = subprocess.run(["git", "-C", root, "ls-files", "--cached", "--others", "--exclude-standard", "*.hpp", "*.cpp"],
                            capture_output=True, text=True, check=False)
    names = listed.stdout.split() if listed.returncode == 0 else []
    return [name for name in names if (root / name).is_file() and not name.startswith(TEMPLATES)] or \
        sorted(str(path.relative_to(root)) for path in root.rglob("*.[hc]pp"))


def included(root, name, quoted, what):
    """The file of the tree that is meant, or None."""
    for folder in ("", *INSTALLED):
        if (root / folder / what).is_file():
            return folder + what
    return str(Path(name).parent / what) if quoted and (root / name).parent.joinpath(what).is_file() else None


def read(root):
    """(refused, how many includes go from which folder to which, lines of each folder)."""
    refused, arrows, lines = [], {}, {}
    for name in sources(root):
        text = (root / name).read_text()
        of = folder_of(name)
        lines[of] = lines.get(of, 0) + text.count("\n")
        if of not in LAYERS:
            refused.append(f"{name}: expected a folder of {', '.join(LAYERS)}, found {of}")
            continue
        for number, line in enumerate(text.splitlines(), 1):
            include = re.match(r'#include ([<"])([^>"]+)[>"]', line)
            found = include and included(root, name, include[1] == '"', include[2])
            if not found:
                continue
            to = folder_of(found)
            place = f"{name}:{number}"
            installed = next((folder for folder in INSTALLED if found.startswith(folder + "shm/")), "")
            wanted = f"<{found.removeprefix(installed)}>" if installed else f'"{found}"'
            if include[0] != f"#include {wanted}":
                refused.append(f"{place}: expected {wanted}, found {include[0].removeprefix('#include ')}")
            if to != of and to not in LAYERS[of][3]:
                allowed = ", ".join(LAYERS[of][3]) or "nothing"
                refused.append(f"{place}: expected {of}/ to include {allowed} below it, found {found}")
            for tests in OF_TESTS:
                if found.startswith(tests + "/") and not name.startswith(tests + "/"):
                    refused.append(f"{place}: expected nobody to include a file of tests, found {found}")
            if to != of:
                arrows[of, to] = arrows.get((of, to), 0) + 1
    return refused, arrows, lines


def drawing(arrows, lines):
    """Boxes in rows, what stands below is included by what stands above it."""
    wide, high, gap_x, gap_y = 190, 64, 26, 64
    rows = 1 + max(layer[0] for layer in LAYERS.values())

    def corner(folder):
        row, column = LAYERS[folder][:2]
        return 20 + column * (wide + gap_x), 20 + (rows - 1 - row) * (high + gap_y)

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {40 + 5 * wide + 4 * gap_x} {40 + rows * high + (rows - 1) * gap_y}"'
        ' font-family="sans-serif">',
        "<title>Which folder includes which</title>",
        "<style>rect{fill:#f4f6fa;stroke:#56657f}text{fill:#1c2431;font-size:12px;text-anchor:middle}"
        ".name{font-size:16px;font-weight:bold}path{stroke:#8593ab;fill:none}marker path{fill:#8593ab}"
        "@media(prefers-color-scheme:dark){rect{fill:#1f2733;stroke:#8593ab}text{fill:#e6ebf4}}</style>",
        '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0 8 4 0 8z"/></marker>',
    ]
    for (of, to), count in sorted(arrows.items()):
        (x1, y1), (x2, y2) = corner(of), corner(to)
        share_of, share_to = (LAYERS[to][1] + 1) / 6, (LAYERS[of][1] + 1) / 6  # of the width: arrows do not lie on each other
        out.append(f'<path d="M{x1 + wide * share_of:.0f} {y1 + high} L{x2 + wide * share_to:.0f} {y2}" '
                   f'stroke-width="{1 + min(count, 200) / 80:.1f}" marker-end="url(#tip)"><title>{of} includes {to}: '
                   f"{count} times</title></path>")
    whole = sum(lines.values())
    for folder, (_, _, what, _) in LAYERS.items():
        x, y = corner(folder)
        share = round(100 * lines.get(folder, 0) / whole)
        out.append(f'<rect x="{x}" y="{y}" width="{wide}" height="{high}" rx="6"/>'
                   f'<text class="name" x="{x + wide // 2}" y="{y + 22}">{folder}/</text>'
                   f'<text x="{x + wide // 2}" y="{y + 40}">{what.split(":")[0]}</text>'
                   f'<text x="{x + wide // 2}" y="{y + 56}">{share} % of the lines</text>')
    return "\n".join(out) + "\n</svg>\n"


def main():
    words = sys.argv[1:]
    draw = "--draw" in words
    folders = [word for word in words if word != "--draw"]
    if len(folders) > 1 or any(not Path(folder).is_dir() for folder in folders):
        print(f"ci/layers.py: expected --draw and a folder, found {' '.join(words)}", file=sys.stderr)
        sys.exit(2)
    root = Path(folders[0]).resolve() if folders else ROOT
    refused, arrows, lines = read(root)
    picture = drawing(arrows, lines)
    if draw:
        (root / PICTURE).write_text(picture)
    elif root == ROOT:
        # The shares of lines change with every line; the arrows and boxes must be those of the picture.
        def plain(text):
            return re.sub(r"\d+ % of the lines|: \d+ times|stroke-width=\"[\d.]+\"", "", text)
        if not (root / PICTURE).is_file() or plain((root / PICTURE).read_text()) != plain(picture):
            refused.append(f"{PICTURE}: expected the includes of today, found others: ci/layers.py --draw")
    print("\n".join(refused), end="\n" if refused else "")
    sys.exit(bool(refused))


if __name__ == "__main__":
    main()
