#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""The lines of core/ that no property, stress test or example executes: coverage.py

Builds and runs them with g++'s counters and reads these by gcov. A line of a template that nobody instantiates has no
counter, and is not seen. What runs only in children that another process kills is counted as not executed. Three tests
in which no counter could be written, since they limit what a file may hold or count system calls, are left out. Exit
status 1 if any line was not executed.
"""

import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build/coverage"


def run(*command):
    subprocess.run(command, cwd=ROOT, check=True)


def ranges(numbers):
    """1-3, 7"""
    runs = []
    for number in sorted(numbers):
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in runs)


def counts_of(objects):
    """How often each line of core/ ran, in any program: a header has counters in each."""
    counts = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, notes in enumerate(objects):
            subprocess.run(["gcov", "--json-format", "--preserve-paths", str(notes)], cwd=folder, check=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for report in Path(folder).glob("*.gcov.json.gz"):
                for file in json.loads(gzip.open(report).read())["files"]:
                    name = os.path.relpath((BUILD / file["file"]).resolve(), ROOT)
                    if name.startswith("core/shm/"):
                        lines = counts.setdefault(name, {})
                        for line in file["lines"]:
                            lines[line["line_number"]] = lines.get(line["line_number"], 0) + line["count"]
                report.unlink()
            if sys.stdout.isatty():
                print(f"\r\033[Kcoverage: {number + 1} of {len(objects)} objects read", end="", flush=True)
    if sys.stdout.isatty():
        print("\r\033[K", end="")
    return counts


def main():
    if not shutil.which("gcov"):
        sys.exit("ci/coverage.py: expected gcov, found none: ci/deps.sh installs it, with g++")
    for old in BUILD.rglob("*.gcda"):
        old.unlink()
    jobs = os.environ.get("JOBS", str(os.cpu_count()))
    run("cmake", "--preset", "coverage", "--log-level=WARNING")
    run("cmake", "--build", "--preset", "coverage", "--parallel", jobs)
    run("ctest", "--preset", "coverage", "--parallel", jobs)
    counts = counts_of(sorted(BUILD.rglob("*.gcda")))
    expected = {str(path.relative_to(ROOT)) for path in (ROOT / "core/shm").glob("*.cpp")}
    if not expected <= counts.keys():
        sys.exit(f"ci/coverage.py: expected counters of every source, found none of {', '.join(expected - counts.keys())}")
    all_lines = missed = 0
    for name, lines in sorted(counts.items()):
        never = [number for number, count in lines.items() if count == 0]
        all_lines, missed = all_lines + len(lines), missed + len(never)
        print(f"{name}: " + (f"not executed: {ranges(never)}" if never else f"all of {len(lines)} lines"))
    print(f"coverage: {all_lines - missed} of {all_lines} lines of core/ are executed, {missed} are not")
    sys.exit(missed != 0)


if __name__ == "__main__":
    main()
