#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Whether what the documents show works, against an installed library: ci/snippets.py PREFIX COMPILER...

  ```cpp     with a main(): built and run. Else: words of a header, or compiled as a file
  ```cmake   the end of a CMakeLists.txt whose target `mine` is the document's first program: configured, built, run
  ```sh      run where that program is mine.cpp and this tree is shm-primitives/
  ```text    and a block of no language: output, nothing to run; a block in any other language is refused
  ///     code, in the comment of a header: compiled in a function

First it has to refuse a bad sample of each, so that a check that has gone blind is seen.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WARNINGS = ["-std=c++20", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]

# What the headers' examples speak of. They are compiled, not linked.
FIXTURES = """
#include <array>
#include <cassert>
#include <cstddef>
#include <cstring>
#include <unistd.h>
#include <shm/channel.hpp>
#include <shm/descriptor.hpp>
#include <shm/doorbell.hpp>
#include <shm/heap_region.hpp>
#include <shm/memfd_region.hpp>
#include <shm/message_framing.hpp>
#include <shm/mmap_region.hpp>
#include <shm/proof_of_death.hpp>
#include <shm/segment_builder.hpp>
#include <shm/spsc_ring.hpp>
#include <shm/wakeup.hpp>
struct price { int cents; };
extern std::size_t size, capacity;
extern int connection, item;
extern const char* program;
extern shm::channel_invitation invitation;
extern shm::wakeup<> wake;
struct something_published { void try_push(int); bool is_empty(); };
extern something_published ring;
"""


class Refused(Exception):
    pass


def run(command, directory, env=None):
    done = subprocess.run(command, cwd=directory, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=300)
    if done.returncode != 0:
        raise Refused(f"expected {' '.join(map(str, command))} to exit with 0, found {done.returncode}:\n{done.stdout}")
    return " ".join(done.stdout.split())


class Checker:
    def __init__(self, prefix, compilers, work):
        self.prefix, self.compilers, self.work = prefix, compilers, work
        pkgconfig = next(prefix.rglob("pkgconfig"))
        self.env = os.environ | {"PKG_CONFIG_PATH": str(pkgconfig), "CMAKE_PREFIX_PATH": str(prefix)}
        self.flags = [run(["pkg-config", option, "shm-primitives"], work, self.env).split()
                      for option in ("--cflags", "--libs")]
        self.headers = [(path.relative_to(ROOT), " ".join(path.read_text().split()))
                        for path in sorted([*ROOT.glob("core/shm/**/*.hpp"), *ROOT.glob("atomics/shm/*.hpp")])]
        (work / "shm-primitives").symlink_to(ROOT)

    def cpp(self, code, place):
        source = self.work / "snippet.cpp"
        source.write_text(f'#line {place[1] + 1} "{place[0]}"\n{code}')
        if re.search(r"\bint main\(", code):
            (self.work / "mine.cpp").write_text(code)
            printed = [self.built(compiler, source) for compiler in self.compilers]
            return f"built and run by {', '.join(self.compilers)}: {printed[0]}"
        words = " ".join(code.split()).rstrip(";{ ")
        for path, text in self.headers:
            if words in text:
                return f"found in {path}"
        return self.compiled(source)

    def built(self, compiler, source):
        cflags, libs = self.flags
        if "#include <shm/model/" in source.read_text():  # the component, for which there is no pkg-config file
            if compiler == "clang++":  # of which Debian's, 14, has no std::source_location
                compiler = next(filter(shutil.which, (f"clang++-{version}" for version in (19, 18, 17, 16))), compiler)
            libs = [libs[0], "-lshm_model", *libs[1:], "-lboost_context"]
        run([compiler, *WARNINGS, source, *cflags, *libs, "-o", "snippet"], self.work)
        return run(["./snippet"], self.work)

    def compiled(self, source, *options):
        for compiler in self.compilers:
            run([compiler, *WARNINGS, *options, "-fsyntax-only", *self.flags[0], source], self.work)
        return f"compiled by {', '.join(self.compilers)}"

    def cmake(self, code, _):
        (self.work / "CMakeLists.txt").write_text(
            f"cmake_minimum_required(VERSION 3.23)\nproject(reader CXX)\nadd_executable(mine mine.cpp)\n{code}")
        with tempfile.TemporaryDirectory(dir=self.work) as build:
            configure = ["cmake", "-S", ".", "-B", build, "-G", "Ninja", f"-DCMAKE_CXX_COMPILER={self.compilers[0]}"]
            run(configure, self.work, self.env)
            run(["cmake", "--build", build], self.work)
            return f"built and run by cmake and {self.compilers[0]}: " + run([f"{build}/mine"], self.work)

    def sh(self, code, _):
        printed = run(["bash", "-euc", code], self.work, self.env)
        return f"run: {printed or 'and it said nothing'}"

    def text(self, *_):
        return None

    def block(self, language, code, place):
        if language not in ("cpp", "cmake", "sh", "text", ""):
            raise Refused(f"expected a block of cpp, cmake, sh, text or no language, found \"{language}\"")
        return getattr(self, language or "text")(code, place)

    def examples(self, found):
        """All of them in one file: (code, header, line) each."""
        source = self.work / "snippet.cpp"
        source.write_text(FIXTURES + "".join(
            f'void example_{number}() {{\n#line {line} "{header}"\n{code}}}\n'
            for number, (code, header, line) in enumerate(found)))
        return self.compiled(source, "-Wno-unused-variable", "-Wno-unused-but-set-variable")


def blocks(document):
    """(language, code, line) of each fenced block."""
    for found in re.finditer(r"^```(.*)\n((?:.*\n)*?)^```$", document, re.MULTILINE):
        yield found[1], found[2], document.count("\n", 0, found.start()) + 1


def examples(header):
    """(code, line) of each example in a comment."""
    for found in re.finditer(r"^///\n((?:///     \S.*\n)+)///\n", header, re.MULTILINE):
        yield found[1].replace("///", ""), header.count("\n", 0, found.start()) + 2


def refuses(kind, check, *arguments):
    try:
        check(*arguments)
    except Refused:
        return
    sys.exit(f"snippets: expected a bad sample of {kind} to be refused, found it accepted")


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__.splitlines()[0])
    tracked = run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], ROOT).split()
    tracked = [name for name in tracked if (ROOT / name).is_file()]
    failed = 0

    def say(place, check, *arguments):
        nonlocal failed
        try:
            said = check(*arguments)
            if said:
                print(f"{place[0]}:{place[1]}: {said}", flush=True)
        except Refused as refused:
            print(f"{place[0]}:{place[1]}: {refused}", file=sys.stderr)
            failed = 1

    with tempfile.TemporaryDirectory() as work:
        checker = Checker(Path(sys.argv[1]).resolve(), sys.argv[2:], Path(work))
        (Path(work) / "mine.cpp").write_text("int main() {}\n")
        sample = ("sample", 0)
        refuses("cpp, a program", checker.block, "cpp", "int main() { return 1; }\n", sample)
        refuses("cpp, a fragment", checker.block, "cpp", "shm::no_such_name x;\n", sample)
        refuses("cmake", checker.block, "cmake", "target_link_libraries(mine PRIVATE shm::primitives)\n", sample)
        refuses("sh", checker.block, "sh", "pkg-config --libs no-such-package\n", sample)
        refuses("another language", checker.block, "rust", "fn main() {}\n", sample)
        refuses("an example in a header", checker.examples, [("no_such_name();\n", "sample", 1)])

        documents = [name for name in tracked if name.endswith(".md")]
        shown = [(name, *block) for name in documents for block in blocks((ROOT / name).read_text())]
        for name, language, code, line in shown:
            say((name, line), checker.block, language, code, (name, line))
        headers = [name for name in tracked if re.fullmatch(r"core/shm/\w+\.hpp", name)]
        found = [(code, name, line) for name in headers for code, line in examples((ROOT / name).read_text())]
        if not shown or not found:
            sys.exit(f"snippets: expected blocks and examples, found {len(shown)} and {len(found)}")
        say(("core/shm", f"{len(found)} examples in comments"), checker.examples, found)
    sys.exit(failed)


main()
