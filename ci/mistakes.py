#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Plants each mistake of */mistakes.toml in a copy of the tree, and runs the one scenario or test that has to
find it. Mistakes inside functions are compiled together and chosen when a program runs; the others are compiled one
at a time. docs/mistakes.md has the format of the tables and what each verdict means."""
import argparse
import concurrent.futures
import dataclasses
import fnmatch
import os
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "ci"))
import plant  # noqa: E402
from progress import Progress  # noqa: E402

WORK = ROOT / "build" / "mistakes"
KEYS = {"name", "sentence", "file", "old", "new", "change", "found_by", "relacy", "cannot_show", "alone", "expression"}
CPU_SECONDS = 30  # of one run; then it counts as endless
ASLEEP_SECONDS = 15  # in which nothing of a run could have moved; then it counts as endless, too


def stop(sentence):
    print(f"mistakes: {sentence}", file=sys.stderr)
    sys.exit(2)


@dataclasses.dataclass
class Mistake:
    table: str
    name: str
    sentence: str
    changes: list
    found_by: str
    relacy: str
    cannot_show: str
    alone: bool
    number: int = 0

    @property
    def title(self):
        return f"{self.table}-{self.name}"

    @property
    def is_scenario(self):
        return " " not in self.found_by


def tables_in(folder):
    """(name, path) of each table: of those of the tree, the name of what it is about."""
    if folder is None:
        own_names = {"tests": "checker", "proptests": "foundations"}
        return [(own_names.get(path.parent.name, path.parent.name), path) for path in
                sorted(ROOT / name for name in tracked_files() if name.endswith("/mistakes.toml"))]
    return [(path.name.split(".")[0], path) for path in sorted(folder.glob("*.toml"))]


def read_tables(tables, sources):
    """Every row, checked: what is wrong with one is said before anything is compiled."""
    mistakes, wrong = [], []
    for table, path in tables:
        try:
            rows = tomllib.loads(path.read_text())
        except tomllib.TOMLDecodeError as error:
            wrong.append(f"{table}: expected TOML, found: {error}")
            continue
        if set(rows) - {"mistake"}:
            wrong.append(f"{table}: expected [[mistake]] alone, found {', '.join(sorted(set(rows) - {'mistake'}))}")
        for row in rows.get("mistake", []):
            where = f"{table}: {row.get('name', 'a row without a name')}"
            for key in sorted(set(row) - KEYS):
                wrong.append(f"{where}: expected one of {', '.join(sorted(KEYS))}, found {key}")
            for key in ("name", "sentence"):
                if not row.get(key):
                    wrong.append(f"{where}: expected its {key}, found none")
            if ("found_by" in row) == ("cannot_show" in row):
                wrong.append(f"{where}: expected found_by or cannot_show, found {'both' if 'found_by' in row else 'neither'}")
            given = row.get("change") or [row]
            changes = []
            for change in given:
                file, old, new = (change.get(key) for key in ("file", "old", "new"))
                if None in (file, old, new):
                    if "cannot_show" not in row:
                        wrong.append(f"{where}: expected file, old and new, found {', '.join(sorted(change))}")
                    continue
                if file not in sources:
                    wrong.append(f"{where}: expected a source file, found {file}")
                    continue
                count = sources[file].count(old) if old else 0
                if count != 1:
                    wrong.append(f"{where}: expected its old text once in {file}, found it {count} times")
                    continue
                changes.append(plant.Change(file, sources[file].index(old), old, new, bool(row.get("expression"))))
            mistakes.append(Mistake(table, row.get("name", ""), row.get("sentence", ""), changes,
                                    row.get("found_by", ""), row.get("relacy", ""), row.get("cannot_show", ""),
                                    bool(row.get("alone"))))
    names = [mistake.title for mistake in mistakes]
    wrong += [f"{name}: expected a name of its own, found it {names.count(name)} times"
              for name in sorted(set(names)) if names.count(name) > 1]
    planted = {}
    for mistake in mistakes:
        edits = tuple(sorted((change.file, *change.narrowed()) for change in mistake.changes))
        if edits and planted.setdefault(edits, mistake.title) != mistake.title:
            wrong.append(f"{mistake.title}: expected a mistake of its own, found that of {planted[edits]}")
    if wrong:
        stop("\nmistakes: ".join(wrong))
    for number, mistake in enumerate(mistakes, 1):
        mistake.number = number
    return mistakes


def tracked_files():
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                            check=True, capture_output=True).stdout
    return [name for name in os.fsdecode(listed).split("\0") if name and (ROOT / name).is_file()]


def lay(tree, files, replaced):
    """A copy of the tree, with other contents for some files. What has not changed keeps its time: it is not built again."""
    wanted = set(files)
    if tree.exists():
        for path in tree.rglob("*"):
            if path.is_file() and str(path.relative_to(tree)) not in wanted:
                path.unlink()
    for name in files:
        contents = replaced[name].encode() if name in replaced else (ROOT / name).read_bytes()
        path = tree / name
        if path.exists() and path.read_bytes() == contents:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents)
        if (ROOT / name).exists():
            path.chmod((ROOT / name).stat().st_mode)


def configure(tree, build):
    log = WORK / f"{build.name}.log"
    # clang without optimisation compiles the properties in half of the time that anything else takes.
    command = ["cmake", "--preset", "model-check-clang", "-S", str(tree), "-B", str(build), "--log-level=WARNING",
               "-DCMAKE_CXX_FLAGS_RELWITHDEBINFO=-O0", f"-DCMAKE_CXX_FLAGS=-w -I{tree}", "-DCMAKE_COMPILE_WARNING_AS_ERROR=OFF"]
    with log.open("w") as out:
        if subprocess.run(command, cwd=tree, stdout=out, stderr=subprocess.STDOUT).returncode != 0:
            stop(f"expected the copy in {tree} to configure, found:\n{log.read_text()}")


def compile_targets(build, targets, jobs, log, tell):
    """Whether they compile; tell(k, n) as the build goes on."""
    with log.open("w") as out:
        ninja = subprocess.Popen(["cmake", "--build", str(build), "--parallel", str(jobs), "--target", *targets],
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for line in ninja.stdout:
            out.write(line)
            step = re.match(r"\[(\d+)/(\d+)\b", line)
            if step:
                tell(int(step[1]), int(step[2]))
        return ninja.wait() == 0


@dataclasses.dataclass
class Ended:
    how: str  # passed, failed, dies of SIGNAL, has no end
    output: str
    reached: bool


def run(command, number, name):
    """Runs a program with one mistake chosen; 0: none."""
    reached = WORK / "reached" / name
    reached.parent.mkdir(parents=True, exist_ok=True)
    reached.write_bytes(b"\0" * 4096)
    environment = dict(os.environ, RC_PARAMS="max_success=1000 seed=1", SHM_MISTAKE=str(number),
                       SHM_MISTAKE_REACHED=str(reached))
    environment.pop("GTEST_TOTAL_SHARDS", None)
    output = WORK / "output" / name
    output.parent.mkdir(parents=True, exist_ok=True)
    watched = [ROOT / "ci" / "watched.py", "--cpu", str(CPU_SECONDS), "--asleep", str(ASLEEP_SECONDS), *command]
    with output.open("wb") as out:
        process = subprocess.Popen(watched, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                                   start_new_session=True)
        status = process.wait()
    try:
        os.killpg(process.pid, signal.SIGKILL)  # the children that a test leaves when it dies
    except ProcessLookupError:
        pass
    ended = "passed" if status == 0 else "has no end" if status == 124 else "failed" if status > 0 else \
        f"dies of {signal.Signals(-status).name}"
    return Ended(ended, output.read_text(errors="replace"), reached.read_bytes()[0] != 0)


class Programs:
    """The commands of one build folder."""

    def __init__(self, build, primitives):
        self.build = build
        self.primitives = primitives

    def target(self, mistake):
        if not mistake.is_scenario:
            return mistake.found_by.split(" ", 1)[0]
        for primitive in sorted(self.primitives, key=len, reverse=True):
            if mistake.found_by.startswith(primitive + "_"):
                return f"{primitive}-check"
        if mistake.table in self.primitives:
            return f"{mistake.table}-check"
        stop(f"{mistake.title}: expected found_by to be a scenario of {', '.join(self.primitives)}, "
             f"or a program and its test, found {mistake.found_by}")

    def command(self, mistake, engine=None):
        target = self.target(mistake)
        found = [path for path in (self.build / target, *self.build.glob(f"*/{target}"), *self.build.glob(f"*/*/{target}"))
                 if path.is_file()]
        program = str(found[0]) if found else target
        if not mistake.is_scenario:
            return [program, f"--gtest_filter={mistake.found_by.split(' ', 1)[1]}", "--gtest_catch_exceptions=0"]
        family = target.removesuffix("-check")
        how = {"explore": [], "unpruned": ["--ineffective-rounds", "1"], "relacy": []}[engine]
        name = "relacy" if engine == "relacy" else "explore"
        return [program, "--no-orders", "--jobs", "1", "--engine", name,
                f"--gtest_filter={family}.{mistake.found_by}/{name}", *how]


def engines_of(mistake):
    return ["explore", "unpruned", "relacy"] if mistake.is_scenario else [None]


def verdict_of(mistake, ended):
    """What a run with the mistake says: (found, in words)."""
    words = ended.how
    if mistake.is_scenario:
        rows = [line.split() for line in ended.output.splitlines()]
        if any(row and row[-1] == "FAIL" and len(row) > 3 for row in rows):
            words = "found"
        elif any(row and row[-1] == "INCOMPLETE" and len(row) > 3 for row in rows):
            words = "INCOMPLETE"
        elif ended.how == "passed":
            words = "SURVIVED"
        found = words == "found"
    else:
        found = ended.how != "passed"
        words = "found" if ended.how == "failed" else "SURVIVED" if not found else f"found, {ended.how}"
    if found and not ended.reached:
        return False, f"{words}, though the mistake was NOT REACHED"
    if not found and not ended.reached:
        return False, "NOT REACHED"
    return found, words


def judge(mistake, programs):
    """One mistake against what its row names: (found, a line)."""
    said = {}
    for engine in engines_of(mistake):
        ended = run(programs.command(mistake, engine), mistake.number, f"{mistake.title}.{engine or 'test'}")
        said[engine] = verdict_of(mistake, ended)
        if engine != "relacy" and not said[engine][0]:
            break
    if not mistake.is_scenario:
        found, words = said[None]
        return found, f"{words} by {mistake.found_by}" if found else f"{words}: {mistake.found_by}"
    if not said["explore"][0]:
        return False, f"explore: {said['explore'][1]}: {mistake.found_by}"
    if not said["unpruned"][0]:
        return False, f"explore without pruning: {said['unpruned'][1]}: {mistake.found_by}"
    by_relacy, words = said["relacy"]
    if by_relacy and mistake.relacy:
        return False, f"Relacy: expected not to find it ({mistake.relacy}), found by {mistake.found_by}"
    if not by_relacy and not mistake.relacy:
        return False, f"Relacy: {words}, and its row does not say why: {mistake.found_by}"
    return True, f"found by {mistake.found_by}" + ("" if by_relacy else f"; not by Relacy: {mistake.relacy}")


def as_it_is(mistake, programs):
    """Without a mistake the scenario or test has to pass, or it would seem to find whatever is planted."""
    for engine in engines_of(mistake):
        name = mistake.found_by.replace("/", "_").replace(" ", "_")
        ended = run(programs.command(mistake, engine), 0, f"as_it_is.{name}.{engine or 'test'}")
        if mistake.is_scenario:
            ran = re.search(rf"^{re.escape(mistake.found_by)} .*PASS$", ended.output, re.MULTILINE)
        else:
            ran = re.search(r"Running [1-9]\d* test", ended.output)
        if not ran and ended.how == "passed":
            return f"expected a scenario or test of that name, found none{f' under {engine}' if engine else ''}"
        if engine == "relacy" and ended.how != "passed" and mistake.relacy:
            continue
        if ended.how != "passed":
            return f"expected it to pass as it is, found: {ended.how}{f' under {engine}' if engine else ''}"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*",
                        help="only mistakes whose TABLE-NAME contains one of these, or matches it, as with *")
    parser.add_argument("--list", action="store_true", help="print the mistakes and what finds each")
    parser.add_argument("--check", action="store_true", help="only read the tables, and see that each old text is there")
    parser.add_argument("--write", type=Path, metavar="TREE",
                        help="only write the sources with the one mistake into a copy of the tree")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="programs at a time (default: every CPU)")
    parser.add_argument("--tables", type=Path, help="a folder of other tables, NAME.toml")
    asked = parser.parse_args()

    files = tracked_files()
    sources = {name: (ROOT / name).read_text() for name in files if name.endswith((".hpp", ".cpp"))}
    tables = tables_in(asked.tables)
    every = read_tables(tables, sources)
    for name in asked.names:
        if not any(name in m.title or fnmatch.fnmatchcase(m.title, name) for m in every):
            stop(f'expected part of a mistake\'s name (--list shows them), found "{name}"')
    chosen = [m for m in every if not asked.names or
              any(name in m.title or fnmatch.fnmatchcase(m.title, name) for name in asked.names)]
    excused = [m for m in chosen if m.cannot_show]
    wanted = [m for m in chosen if not m.cannot_show]
    if asked.list:
        for m in chosen:
            print(f"{m.title}\n    {m.sentence}\n    {m.found_by or 'cannot be shown: ' + m.cannot_show}")
        return 0
    if asked.check:
        print(f"mistakes: {len(every)} rows in {len(tables)} tables, each old text stands exactly once")
        return 0

    if asked.write:
        if len(chosen) != 1:
            stop(f"--write: expected one mistake, found {len(chosen)}")
        for name, text in plant.changed_sources(sources, chosen[0]).items():
            (asked.write / name).write_text(text)
        return 0

    primitives = re.findall(r"^\s*shm_primitive\((\w+)", (ROOT / "CMakeLists.txt").read_text(), re.MULTILINE)
    tree, build = WORK / "tree", WORK / "build"
    programs = Programs(build, primitives)
    WORK.mkdir(parents=True, exist_ok=True)
    line = Progress("mistakes")

    # All of them are planted, whichever were asked for: another choice compiles nothing anew.
    together, apart = plant.divide(sources, [m for m in every if not m.cannot_show])
    planted = {**plant.planted_sources(sources, together), plant.HEADER_NAME: plant.HEADER}
    together, apart = [m for m in together if m in wanted], [m for m in apart if m in wanted]
    files.append(plant.HEADER_NAME)
    line.say(f"{len(wanted)} to plant, {len(together)} of them in one build and {len(apart)} alone; logs in {WORK.relative_to(ROOT)}/")

    results, failed = {}, []

    def tell(mistake, found, words):
        results[mistake.title] = found
        if not found:
            failed.append(mistake.title)
        line.row(f"{mistake.title:<52} {words}")

    lay(tree, files, planted)
    configure(tree, build)
    targets = sorted({programs.target(m) for m in wanted})
    if not compile_targets(build, targets, asked.jobs, WORK / "compile.log",
                           lambda k, n: line.show(k, n, f"steps of compiling {len(targets)} programs with all mistakes")):
        line.clear()
        print((WORK / "compile.log").read_text()[-6000:], file=sys.stderr)
        stop("expected the copy with the mistakes to compile, found the above; a mistake that cannot be chosen at run time "
             "says alone = true")

    running = []

    def at_a_time(rows, act):
        """act(row) for each, a few at a time; (row, what it returned) as each is done."""
        def one(row):
            running.append(row)
            try:
                return act(row)
            finally:
                running.remove(row)
        with concurrent.futures.ThreadPoolExecutor(asked.jobs) as pool:
            runs = {pool.submit(one, row): row for row in rows}
            for finished in concurrent.futures.as_completed(runs):
                yield runs[finished], finished.result()

    witnesses = list({m.found_by: m for m in wanted}.values())
    for done, (mistake, wrong) in enumerate(at_a_time(witnesses, lambda m: as_it_is(m, programs)), 1):
        line.show(done, len(witnesses), f"as it is: {', '.join(m.found_by for m in running)}")
        if wrong:
            failed.append(mistake.found_by)
            line.row(f"{mistake.found_by:<52} {wrong}")
    for mistake, verdict in at_a_time(together, lambda m: judge(m, programs)):
        tell(mistake, *verdict)
        line.show(len(results), len(wanted), ", ".join(m.title for m in running))
    for mistake in apart:
        lay(tree, files, {**planted, **plant.reached_sources(sources, mistake)})
        log = WORK / "output" / f"{mistake.title}.compile"
        if compile_targets(build, [programs.target(mistake)], asked.jobs, log,
                           lambda k, n: line.show(len(results), len(wanted), f"{mistake.title}: compiling, {k} of {n}")):
            tell(mistake, *judge(mistake, programs))
        else:
            tell(mistake, False, f"DOES NOT COMPILE: {log.relative_to(ROOT)}")
    if apart:
        lay(tree, files, planted)

    for m in excused:
        line.row(f"{m.title:<52} cannot be shown: {m.cannot_show}")
    line.clear()
    found = sum(results.values())
    for title in failed:
        print(f"mistakes: {title}: FAILED")
    print(f"mistakes: {len(results)} planted, {found} found, {len(excused)} that nothing can show, "
          f"{sum(name.endswith('.patch') and 'mistakes' in name for name in files)} patches, {line.seconds():.0f} s")
    print(f"mistakes: {found} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
