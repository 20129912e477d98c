# SPDX-License-Identifier: MIT OR Apache-2.0
"""What a piece of shell names of this tree: scripts, targets of make, presets. What is not understood is refused."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
PRESETS = {
    preset["name"]
    for kind, presets in json.loads((ROOT / "CMakePresets.json").read_text()).items()
    if kind.endswith("Presets")
    for preset in presets
    if not preset.get("hidden")
}
HARMLESS = {"-s", "-k", "--no-print-directory"}  # options of make that leave it here, and are words of their own


def words_of(code):
    """The words of each command. What quotes hold is one word."""
    for quoted in (r'"([^"\n]*)"', r"'([^'\n]*)'"):
        code = re.sub(quoted, lambda found: re.sub(r"[\s;&|()#]", "_", found[1]), code.replace("\\\n", " "))
    code = re.sub(r"(^|\s)#.*", r"\1", code, flags=re.MULTILINE)
    return [command.split() for command in re.split(r"[;&|()\n]+", code)]


def faults_of_commands(code):
    for script in re.findall(r"(?<![\w.-])(?:ci|tools)/[\w./-]*\w", code):
        if not (ROOT / script).exists():
            yield f"expected {script}, found no such script"
    for words in words_of(code):
        for number, word in enumerate(words):
            after = words[number + 1 :]
            if re.fullmatch(r"(\S*/)?make", word):
                for told in after:
                    if told.startswith("-") and told not in HARMLESS and not re.fullmatch(r"-j\d+", told):
                        yield f"expected no option of make but {', '.join(sorted(HARMLESS))}, found make {told}"
                    elif not told.startswith("-") and "=" not in told and told not in TARGETS:
                        yield f"expected a target of the Makefile, found make {told}"
            if word.startswith("--preset"):
                preset = word.partition("=")[2] if "=" in word else " ".join(after[:1])
                if preset not in PRESETS:
                    yield f"expected a preset of CMakePresets.json, found {word} {' '.join(after[:1])}".rstrip()
