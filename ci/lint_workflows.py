#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""What nobody sees of a workflow before it runs: lint_workflows.py FILE...

It is YAML, and is read as what it says, however it is spelt. It starts by EVENTS alone: none that runs a stranger's
code with rights or secrets. Each action is pinned by the 40 digits of a commit, with its version behind it. Each job
ends in time, and may only read. Each script, target of make and preset that a step names is there (commands.py).
"""

import re
import sys
from pathlib import Path

import yaml

from commands import faults_of_commands

EVENTS = {"push", "pull_request", "workflow_dispatch", "schedule"}


def faults_of_action(used, text):
    if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", str(used)):
        yield f"expected an action pinned by a commit of 40 digits, found {used}"
    elif not re.search(rf"uses: {re.escape(used)}  # v\d", text):
        yield f"expected an action pinned by a commit and, behind it, its version, found {used}"


def faults_of_job(job, text):
    if "timeout-minutes" not in job:
        yield "expected timeout-minutes, found none"
    if "permissions" in job:
        yield "expected the workflow's permissions, found its own"
    if "uses" in job:
        yield f"expected steps, found another workflow, {job['uses']}"
    for step in job.get("steps", []):
        if "uses" in step:
            yield from faults_of_action(step["uses"], text)
        yield from faults_of_commands(step.get("run", ""))


def faults_of(path):
    text = path.read_text()
    try:
        workflow = yaml.safe_load(text)
    except yaml.YAMLError as error:
        yield f"expected YAML, found {' '.join(str(error).split())}"
        return
    if not isinstance(workflow, dict) or not workflow.get("jobs"):
        yield "expected jobs, found none"
        return
    events = workflow.get("on", workflow.get(True))  # to YAML 1.1, a bare `on` is true
    for event in [events] if isinstance(events, str) else events or []:
        if event not in EVENTS:
            yield f"expected an event among {', '.join(sorted(EVENTS))}, found {event}"
    if workflow.get("permissions") != {"contents": "read"}:
        yield f"permissions: expected contents: read, found {workflow.get('permissions')}"
    for name, job in workflow["jobs"].items():
        for fault in faults_of_job(job, text):
            yield f"job {name}: {fault}"


def main():
    files = [Path(name) for name in sys.argv[1:]]
    if not files:
        sys.exit("usage: lint_workflows.py FILE...")
    sys.exit("\n".join(f"{path}: {fault}" for path in files for fault in faults_of(path)) or 0)


if __name__ == "__main__":
    main()
