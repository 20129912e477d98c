#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""What nobody sees of a workflow before it runs: lint_workflows.py FILE...

It is YAML. Each action is pinned by the 40 digits of a commit, with its version behind it. Each job ends in time, and may
only read. Each script, target of make and preset that a step names is there.
"""

import json
import re
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
PRESETS = {
    preset["name"]
    for kind, presets in json.loads((ROOT / "CMakePresets.json").read_text()).items()
    if kind.endswith("Presets")
    for preset in presets
    if not preset.get("hidden")
}
PINNED = re.compile(r"uses:\s*[\w./-]+@[0-9a-f]{40}\s+# v\d")


def faults_of_command(command):
    for script in re.findall(r"(?<![\w./-])(?:ci|tools)/[\w./-]+", command):
        if not (ROOT / script).is_file():
            yield f"expected {script}, found no such script"
    for target in re.findall(r"(?:^|\s)make\s+([a-z][a-z-]*)", command):
        if target not in TARGETS:
            yield f"expected a target of the Makefile, found make {target}"
    for preset in re.findall(r"--preset\s+(\S+)", command):
        if preset not in PRESETS:
            yield f"expected a preset of CMakePresets.json, found --preset {preset}"


def faults_of(path):
    text = path.read_text()
    try:
        workflow = yaml.safe_load(text)
    except yaml.YAMLError as error:
        yield f"expected YAML, found {' '.join(str(error).split())}"
        return
    for number, line in enumerate(text.splitlines(), start=1):
        if re.match(r"[\s-]*uses:", line) and not PINNED.search(line):
            yield f"line {number}: expected an action pinned by a commit of 40 digits and its version, found: {line.strip()}"
    if workflow.get("permissions") != {"contents": "read"}:
        yield f"permissions: expected contents: read, found {workflow.get('permissions')}"
    for name, job in workflow["jobs"].items():
        if "timeout-minutes" not in job:
            yield f"job {name}: expected timeout-minutes, found none"
        if "permissions" in job:
            yield f"job {name}: expected the workflow's permissions, found its own"
        for step in job["steps"]:
            for fault in faults_of_command(step.get("run", "")):
                yield f"job {name}: {fault}"


def main():
    files = [Path(name) for name in sys.argv[1:]]
    if not files:
        sys.exit("usage: lint_workflows.py FILE...")
    sys.exit("\n".join(f"{path}: {fault}" for path in files for fault in faults_of(path)) or 0)


if __name__ == "__main__":
    main()
