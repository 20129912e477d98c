# SPDX-License-Identifier: MIT OR Apache-2.0
"""What a long run is at: one line that is rewritten on a terminal, and elsewhere a plain line every ten seconds."""
import sys
import time


class Progress:
    def __init__(self, name):
        self.name = name
        self.started = self.last = time.monotonic()
        self.on_terminal = sys.stdout.isatty()

    def seconds(self):
        return time.monotonic() - self.started

    def show(self, k, n, what):
        """k of n are done, and `what` runs now."""
        now = time.monotonic()
        if now - self.last < (0.1 if self.on_terminal else 10):
            return
        self.last = now
        text = f"{self.name}: {k} of {n}, {self.seconds():.0f} s: {what}"
        print(f"\r\033[K{text[:140]}" if self.on_terminal else text, end="" if self.on_terminal else "\n", flush=True)

    def clear(self):
        if self.on_terminal:
            print("\r\033[K", end="", flush=True)

    def row(self, text):
        """A result, which stays."""
        self.clear()
        print(text, flush=True)

    def say(self, text):
        self.row(f"{self.name}: {text}")
