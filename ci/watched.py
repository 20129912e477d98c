#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Runs a program and ends it when it hangs: watched.py [--cpu SECONDS] [--asleep SECONDS] PROGRAM [ARGUMENT...]

A limit in wall time would fail on a busy machine. A program hangs when it and its children have used so much CPU time, or
when for so long none of their threads has run or could have run. Either way all of them are killed and the exit status is
124; otherwise it ends as the program does. Children of children count, whoever of their parents has died. What is still
there a second after the program has ended is killed and said, and the exit status remains the program's.
"""

import ctypes
import os
import resource
import signal
import sys
import time

TICKS = os.sysconf("SC_CLK_TCK")
PR_SET_CHILD_SUBREAPER = 36  # whose parent dies becomes our child, and is not lost to init


def processes():
    """Of each process: its parent, and the ticks of CPU time that it and the children that it has waited for have used."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as file:
                    fields = file.read().rpartition(") ")[2].split()
            except OSError:
                continue  # it has ended
            found[int(name)] = int(fields[1]), sum(map(int, fields[11:15]))
    return found


def family():
    """All processes below this one, with what each has used."""
    parents = processes()
    members, more = set(), {os.getpid()}
    while more:
        members |= more
        more = {pid for pid, (parent, _) in parents.items() if parent in members} - members
    return {pid: parents[pid][1] for pid in members - {os.getpid()} if pid in parents}


def reaped(first):
    """Takes every child that has ended. Returns the status of that one, if it is among them, and whether any child is left."""
    status = None
    while True:
        try:
            ended, how = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status, False
        if ended == 0:
            return status, True
        if ended == first:
            status = how


def end_all():
    """Kills all processes below this one, those too that are forked meanwhile."""
    left = True
    while left:
        for pid in family():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        signal.sigtimedwait([signal.SIGCHLD], 0.1)
        _, left = reaped(None)


def can_run(pid):
    """Whether a thread of it runs, waits for a CPU or waits for a disk."""
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/stat") as file:
                if file.read().rpartition(") ")[2][0] in "RD":
                    return True
    except OSError:
        pass
    return False


def main():
    words, limits = sys.argv[1:], {"--cpu": 600.0, "--asleep": 60.0}
    while len(words) > 2 and words[0] in limits:
        limits[words[0]] = float(words[1])
        words = words[2:]
    if not words or words[0].startswith("-"):
        sys.exit("usage: watched.py [--cpu SECONDS] [--asleep SECONDS] PROGRAM [ARGUMENT...]")

    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        sys.exit(f"watched.py: prctl(PR_SET_CHILD_SUBREAPER): {os.strerror(ctypes.get_errno())}")
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    child = os.fork()
    if child == 0:
        for changed in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):  # what Python does to these is not the program's
            signal.signal(changed, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        try:
            os.execvp(words[0], words)
        except OSError as error:
            os.write(2, f"watched.py: {words[0]}: {error.strerror}\n".encode())
            os._exit(127)

    last, moved = -1, time.monotonic()
    while True:
        signal.sigtimedwait([signal.SIGCHLD], 1)
        status, left = reaped(child)
        if status is not None:
            break
        used = family()
        total = sum(used.values()) + round(sum(os.times()[2:4]) * TICKS)  # and of those that have been taken
        if total != last or any(map(can_run, used)):
            last, moved = total, time.monotonic()
        said = None
        if total > limits["--cpu"] * TICKS:
            said = f"it has used {total / TICKS:.0f} s of CPU time"
        elif time.monotonic() - moved > limits["--asleep"]:
            said = f"none of its {len(used)} processes has run for {time.monotonic() - moved:.0f} s"
        if said:
            end_all()
            print(f"watched.py: {' '.join(words)} hangs: {said}; killed", flush=True)
            os._exit(124)
    deadline = time.monotonic() + 1
    while left and (wait := deadline - time.monotonic()) > 0:
        signal.sigtimedwait([signal.SIGCHLD], wait)
        _, left = reaped(None)
    if left:
        print(f"watched.py: {' '.join(words)} has ended and left {len(family())} processes; killed", flush=True)
        end_all()
    if os.WIFSIGNALED(status):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the program has left its own
        signal.signal(os.WTERMSIG(status), signal.SIG_DFL) if os.WTERMSIG(status) != signal.SIGKILL else None
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
