#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""What ci/mistakes.py must not say: that a mistake was found which was not, or planted which was not."""
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.dont_write_bytecode = True
import mistakes  # noqa: E402
import plant  # noqa: E402

SOURCE = """#pragma once
template <class Position, class Atomics>
class ring {
    template <class Header>
    int size(Header& shared) const noexcept {
        // a brace { in a comment, and "another {"
        const auto seen = shared.load();
        if (seen > limit) return -1;
        return seen - begin;
    }
    ring(ring&& other) noexcept : begin{other.begin}, limit{take(other.limit, 0)} {}
    unsigned limit = 16;
    int begin{0};
};
"""


def change(old, new, expression=False):
    assert SOURCE.count(old) == 1, old
    return plant.Change("ring.hpp", SOURCE.index(old), old, new, expression)


def mistake(*changes, found_by="ring_props ring.is_right", relacy="", number=1):
    return mistakes.Mistake("ring", f"number_{number}", "It is wrong.", list(changes), found_by, relacy, "", False, number)


class Planting(unittest.TestCase):
    def divided(self, *rows):
        together, apart = plant.divide({"ring.hpp": SOURCE}, rows)
        return [row.number for row in together], [row.number for row in apart]

    def planted(self, *rows):
        return plant.planted_sources({"ring.hpp": SOURCE}, rows)["ring.hpp"]

    def test_a_function_is_a_block_and_a_class_and_an_initialiser_are_none(self):
        rows = [mistake(change("seen > limit", "seen >= limit"), number=1),
                mistake(change("limit = 16", "limit = 17"), number=2),
                mistake(change("begin{other.begin}", "begin{0}"), number=3),
                mistake(change("take(other.limit, 0)", "other.limit", expression=True), number=4)]
        self.assertEqual(self.divided(*rows), ([1, 4], [2, 3]))

    def test_both_the_mistake_and_the_original_are_there(self):
        text = self.planted(mistake(change("seen > limit", "seen >= limit"), number=7))
        self.assertEqual(text.count("if (::shm_mistakes::planted(7)) {"), 1)
        self.assertEqual((text.count("seen >= limit"), text.count("seen > limit")), (1, 1))

    def test_two_mistakes_of_one_block_do_not_mix(self):
        text = self.planted(mistake(change("seen > limit", "seen >= limit"), number=1),
                            mistake(change("seen - begin", "seen"), number=2))
        first = text[text.index("planted(1)"):text.index("planted(2)")]
        self.assertIn("seen >= limit", first)
        self.assertIn("return seen - begin;", first)

    def test_what_one_change_declares_the_next_may_use(self):
        row = mistake(change("const auto seen = shared.load();", "const auto first = shared.load();"),
                      change("if (seen > limit)", "const auto seen = first; if (seen > limit)"))
        text = self.planted(row)
        self.assertEqual(text.count("planted(1)"), 1)

    def test_an_expression_is_chosen_where_it_stands(self):
        text = self.planted(mistake(change("take(other.limit, 0)", "other.limit", expression=True), number=4))
        self.assertIn("limit{(::shm_mistakes::planted(4) ? (other.limit) : (take(other.limit, 0)))}", text)


class Verdicts(unittest.TestCase):
    """With runs that end as the test says, by engine."""

    def judged(self, row, **ends):
        def run(_command, _number, name):
            return ends[name.rpartition(".")[2]]
        real, mistakes.run = mistakes.run, run
        try:
            return mistakes.judge(row, mistakes.Programs(Path("/nowhere"), ["ring"]))
        finally:
            mistakes.run = real

    FAILS = mistakes.Ended("failed", "ring_two  2  explore  9  complete  0.00  FAIL\n", True)
    PASSES = mistakes.Ended("passed", "ring_two  2  explore  9  complete  0.00  PASS\n", True)
    CUT_OFF = mistakes.Ended("failed", "ring_two  2  explore  9  complete  0.00  INCOMPLETE\n", True)
    BROKEN = mistakes.Ended("failed", "ring_two  2  explore  9  complete  0.00  FAIL: the scenario is at fault\n", True)
    UNREACHED = mistakes.Ended("failed", "ring_two  2  explore  9  complete  0.00  FAIL\n", False)

    def test_a_test_that_passes_has_not_found_it(self):
        self.assertEqual(self.judged(mistake(), test=self.PASSES), (False, "SURVIVED: ring_props ring.is_right"))

    def test_a_test_that_fails_dies_or_has_no_end_has_found_it(self):
        for how in ("failed", "dies of SIGSEGV", "has no end"):
            self.assertTrue(self.judged(mistake(), test=mistakes.Ended(how, "", True))[0])

    def test_nothing_is_found_that_was_not_reached(self):
        self.assertFalse(self.judged(mistake(), test=self.UNREACHED)[0])
        self.assertFalse(self.judged(mistake(), test=mistakes.Ended("passed", "", False))[0])
        row = mistake(found_by="ring_two")
        self.assertFalse(self.judged(row, explore=self.UNREACHED, unpruned=self.FAILS, relacy=self.FAILS)[0])

    def test_a_scenario_has_to_fail_under_each_engine(self):
        row = mistake(found_by="ring_two")
        self.assertTrue(self.judged(row, explore=self.FAILS, unpruned=self.FAILS, relacy=self.FAILS)[0])
        for other in (self.PASSES, self.CUT_OFF, self.BROKEN, mistakes.Ended("has no end", "", True)):
            self.assertFalse(self.judged(row, explore=other, unpruned=self.FAILS, relacy=self.FAILS)[0])
            self.assertFalse(self.judged(row, explore=self.FAILS, unpruned=other, relacy=self.FAILS)[0])
            self.assertFalse(self.judged(row, explore=self.FAILS, unpruned=self.FAILS, relacy=other)[0])

    def test_what_relacy_cannot_see_it_must_not_find(self):
        row = mistake(found_by="ring_two", relacy="it keeps the order of stores")
        self.assertTrue(self.judged(row, explore=self.FAILS, unpruned=self.FAILS, relacy=self.PASSES)[0])
        self.assertFalse(self.judged(row, explore=self.FAILS, unpruned=self.FAILS, relacy=self.FAILS)[0])


class Tables(unittest.TestCase):
    def refused(self, sentence, rows):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "bad.toml").write_text(rows)
            said = subprocess.run([mistakes.ROOT / "ci/mistakes.py", "--check", "--tables", folder], capture_output=True,
                                  text=True, check=False)
        self.assertEqual(said.returncode, 2, said.stdout)
        self.assertIn(sentence, said.stderr)

    ROW = '[[mistake]]\nname = "one"\nsentence = "It is wrong."\nfile = "core/shm/version.hpp"\n'
    ONCE = 'old = "#pragma once"\n'

    def test_each_row_fits_the_sources_as_they_are(self):
        for sentence, row in (
                ("its old text once in core/shm/version.hpp, found it 0 times", 'old = "no such"\nnew = ""\nfound_by = "x"'),
                ("its old text once in core/shm/version.hpp, found it 3 times", 'old = "version"\nnew = ""\nfound_by = "x"'),
                ("expected found_by or cannot_show, found neither", self.ONCE + 'new = ""'),
                ("expected file, old and new, found", self.ONCE + 'found_by = "x"'),
                ("expected one of", self.ONCE + 'new = ""\nfound_by = "x"\nfound = "y"'),
                ("expected TOML", 'old = "')):
            self.refused(sentence, self.ROW + row)

    def test_no_two_rows_are_one(self):
        row = self.ROW + self.ONCE + 'new = ""\nfound_by = "x"\n'
        self.refused("expected a name of its own, found it 2 times", row + row)
        self.refused("expected a mistake of its own, found that of bad-one", row + row.replace('"one"', '"two"'))


if __name__ == "__main__":
    unittest.main()
