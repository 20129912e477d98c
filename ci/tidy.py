#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""clang-tidy of every source, several read as one, and each header compiled alone: tidy.py [FILE...]

clang-tidy walks through all that a file includes, again for each file: of 30 seconds for a file of properties, 17 go into
GoogleTest, RapidCheck and the standard library. So files with the same flags are read as one. Files without a namespace
that has a name each get one, behind everything that any of them includes; the others just follow each other, folder by
folder. Files that do not compile together are read alone. Every source that git tracks is read, a model as compiled for
real threads. With FILEs: these alone.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GROUP = 8  # files; more would need gigabytes of memory
OWN_NAMES = ("/model.cpp", "/clients.cpp")  # they all define the same ones
# Compiled by scripts with flags of their own, or completed by `make new-primitive`.
WITHOUT_FLAGS = ("ci/", "examples/check_your_own/", "tools/new_primitive/")


def tracked(*patterns):
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
                            check=True, capture_output=True, text=True).stdout.split()
    return [name for name in listed if (ROOT / name).is_file()]


def flags_by_file(build):
    """The flags of each source; the last target's, where several compile it: that of a model is for real threads."""
    flags = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        words = shlex.split(entry["command"])
        kept, words = [], iter(words[1:])
        for word in words:
            if word in ("-o", "-c", "-isystem"):
                value = next(words)
                if word == "-isystem":
                    kept += [word, value]
            elif word.startswith(("-I", "-D", "-std")):  # no warnings: joined files shadow each other's names
                kept.append(word)
        name = os.path.relpath(os.path.join(entry["directory"], entry["file"]), ROOT)
        flags[name] = kept
    return flags


def has_namespace(text):
    """Whether it can stand in no other: it opens one that has a name, specializes a template of one, or replaces `new`."""
    return re.search(r"^(namespace [\w:]+ \{|template <>\n\w+ \w+::|(\[\[\S+\]\] )?void\* operator new)", text, re.MULTILINE)


def groups_of(names, flags):
    """Lists of files that are read as one."""
    alike = {}
    for name in names:
        text = (ROOT / name).read_text()
        key = [word for word in flags[name] if word.startswith(("-I", "-isystem", "-DFMT", "-std"))]
        if has_namespace(text):
            alone = name.endswith(OWN_NAMES) or re.search(r"^int main\(", text, re.MULTILINE)
            key += [name if alone else str(Path(name).parent)]
        else:
            key += ["rapidcheck" if "rapidcheck" in text else "gtest" if "gtest/gtest" in text else "neither"]
        alike.setdefault(tuple(key), []).append(name)
    groups = []
    for members in alike.values():
        count = -(-len(members) // GROUP)
        groups += [members[first::count] for first in range(count)]
    return groups


def source_of(members):
    """One file that holds them."""
    included, bodies = [], []
    for number, name in enumerate(members):
        path = ROOT / name
        include = f'#include "{path}"  // NOLINT(bugprone-suspicious-include)'
        if has_namespace(path.read_text()):
            bodies.append(include)
            continue
        for kind, what in re.findall(r'^#include ([<"])(.*)[>"]$', path.read_text(), re.MULTILINE):
            local = path.parent / what
            line = f'#include "{local}"' if kind == '"' and local.exists() else f"#include <{what}>"
            if line not in included:
                included.append(line)
        bodies.append(f"namespace read_{number} {{\n{include}\n}}")
    return "\n".join(included + bodies) + "\n"


def newest_tidy():
    for version in (19, 18, 17, 16):
        if path := shutil.which(f"clang-tidy-{version}"):
            return path
    sys.exit("ci/tidy.py: clang-tidy is not installed: ci/deps.sh installs it")


def refuse_bad_sample(command, folder):
    """A lint that has gone blind is seen: of a file that is read alone, or as one with another, in a namespace or behind it."""
    samples, joined = folder / "proptests", folder / "joined.cpp"  # what is included is judged by the name of its folder
    samples.mkdir(exist_ok=True)
    bad, named, good = (samples / f"{name}.cpp" for name in ("bad", "bad_named", "good"))
    bad.write_text("int BadName = 0;\n")
    named.write_text("namespace named {\nint BadName = 0;\n}\n")
    good.write_text("int good_name = 0;\n")
    for members in ([bad], [good, bad], [good, named]):
        file = bad if len(members) == 1 else joined
        if file == joined:
            file.write_text(source_of(members))
        said = subprocess.run([*command, str(file), "--", "-std=c++20"], capture_output=True, text=True)
        where = rf"{re.escape(str(members[-1]))}:\d+:\d+: .*\[readability-identifier-naming"
        if said.returncode == 0 or not re.search(where, said.stdout):
            sys.exit(f"ci/tidy.py: expected {members[-1]}, read from {file}, to be refused for its name, "
                     f"found: {said.stdout}{said.stderr}")


def main():
    names = [name for name in tracked("*.cpp") if not name.startswith(WITHOUT_FLAGS)]
    asked = [os.path.relpath(Path(word).resolve(), ROOT) for word in sys.argv[1:]]
    for word, name in zip(sys.argv[1:], asked):
        if name not in names:
            print(f"ci/tidy.py: expected a .cpp file that git tracks and a target compiles, found {word}", file=sys.stderr)
            sys.exit(2)
    names = list(dict.fromkeys(asked)) or names
    jobs = int(os.environ.get("JOBS", os.cpu_count()))
    build = ROOT / "build/lint"
    subprocess.run(["cmake", "--preset", "lint", "--log-level=ERROR"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    alone = subprocess.run(["cmake", "--build", "--preset", "lint", "--parallel", str(jobs), "--target",
                            "all_verify_interface_header_sets"], cwd=ROOT, check=False).returncode
    print(f"lint: each header compiles alone: {'FAILED' if alone else 'passed'}", flush=True)
    folder = build / "tidy"
    folder.mkdir(exist_ok=True)
    tidy = [newest_tidy(), f"--config-file={ROOT}/.clang-tidy", "--quiet"]
    refuse_bad_sample(tidy, folder)

    flags = flags_by_file(build)
    unknown = [name for name in names if name not in flags]
    if unknown:
        sys.exit(f"ci/tidy.py: expected flags of every source, found none of {', '.join(unknown)}")
    groups = [[name] for name in names] if asked else groups_of(names, flags)

    def read(number, members):
        file = ROOT / members[0]
        if len(members) > 1:
            file = folder / f"joined_{number}.cpp"
            file.write_text(source_of(members))
        words = list(dict.fromkeys(word for name in members for word in flags[name]))
        before = time.monotonic()
        done = subprocess.run([*tidy, str(file), "--", *words, "-Wreserved-identifier"],
                              capture_output=True, text=True)
        if len(members) > 1 and "[clang-diagnostic-error]" in done.stdout:
            apart = [read(number, [name]) for name in members]
            return (members, max(one[1] for one in apart), "".join(one[2] for one in apart),
                    "".join(one[3] for one in apart), time.monotonic() - before)
        return members, done.returncode, done.stdout.replace(f"{ROOT}/", ""), done.stderr, time.monotonic() - before

    size = {name: (ROOT / name).stat().st_size for name in names}
    groups.sort(key=lambda members: -len(members) * 20000 - sum(size[name] for name in members))  # the longest first
    failed, begun, files, told = alone != 0, time.monotonic(), 0, set()
    with ThreadPoolExecutor(jobs) as pool:
        running = [pool.submit(read, number, members) for number, members in enumerate(groups)]
        for done in as_completed(running):
            members, status, found, errors, seconds = done.result()
            files += len(members)
            failed |= status != 0
            for finding in re.split(r"(?m)^(?=\S+:\d+:\d+: (?:warning|error))", found):
                if finding not in told:  # a header is read with each file that includes it
                    told.add(finding)
                    print(finding, end="")
            if status != 0 and not found:
                print(errors)
            progress = f"clang-tidy: {files} of {len(names)} sources, {time.monotonic() - begun:.0f} s"
            if sys.stdout.isatty():
                print(f"\r\033[K{progress}", end="", flush=True)
            else:
                print(f"{progress}; {seconds:.0f} s of them for {' '.join(members)}", flush=True)
    print(f"{chr(10) if sys.stdout.isatty() else ''}lint: clang-tidy of {files} sources: {'FAILED' if failed else 'passed'}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
