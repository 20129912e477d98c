#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Whether pages fit their window: ci/pages.py CHROMIUM [--screenshot FILE] PAGE...

In headless Chromium, at the widths of a phone and of a desk, light and dark: no page is wider than its window, no text is
smaller than 11 px, nothing is written to the console, nothing is fetched. Each fault is a line, and the exit status 1.
"""
import base64
import fcntl
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

WIDTHS = (390, 1440)
SMALLEST = 11
MEASURE = """(() => {
  const shown = [...document.querySelectorAll('body, body *')].filter(e => e.getClientRects().length && e.innerText);
  const size = e => parseFloat(getComputedStyle(e).fontSize);
  const lost = [...document.querySelectorAll('a[href^="#"]')].filter(
      a => !document.getElementById(a.getAttribute('href').slice(1)));
  return {width: document.scrollingElement.scrollWidth, window: innerWidth,
          smallest: Math.min(...shown.map(size)), text: shown.length, lost: lost.length};
})()"""


class Browser:
    """Chromium, spoken to over two pipes: a JSON object and a zero byte each."""

    def __init__(self, chromium, profile):
        theirs_in, self.ours_out = os.pipe()
        self.ours_in, theirs_out = os.pipe()
        theirs = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (theirs_in, theirs_out)]
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                   "--remote-debugging-pipe", f"--user-data-dir={profile}"]
        # It wants its pipes as 3 and 4.
        self.process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{theirs[0]} 4>&{theirs[1]}', "bash", chromium, *options],
            pass_fds=theirs, stderr=subprocess.DEVNULL)
        for end in (theirs_in, theirs_out, *theirs):
            os.close(end)
        self.number, self.unread, self.events, self.session = 0, b"", [], None
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def next_message(self):
        while b"\0" not in self.unread:
            read = os.read(self.ours_in, 1 << 16)
            if not read:
                sys.exit("pages: expected an answer of Chromium, found that it has ended")
            self.unread += read
        message, _, self.unread = self.unread.partition(b"\0")
        return json.loads(message)

    def ask(self, method, **parameters):
        self.number += 1
        question = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            question["sessionId"] = self.session
        os.write(self.ours_out, json.dumps(question).encode() + b"\0")
        while True:
            message = self.next_message()
            if message.get("id") != self.number:
                self.events.append(message)
            elif "error" in message:
                sys.exit(f"pages: {method}: {message['error']['message']}")
            else:
                return message["result"]

    def show(self, page, width, scheme):
        """What was measured, and what happened meanwhile."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.events.clear()
        self.ask("Page.navigate", url=page.resolve().as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self.next_message())
        measured = self.ask("Runtime.evaluate", expression=MEASURE, returnByValue=True)["result"]["value"]
        return measured, self.events

    def end(self):
        self.session = None
        self.ask("Browser.close")
        self.process.wait()


def faults(browser, page):
    own = page.resolve().as_uri()
    for width in WIDTHS:
        for scheme in ("light", "dark"):
            measured, events = browser.show(page, width, scheme)
            where = f"{page.name}, {width} px, {scheme}"
            if measured["window"] != width or measured["width"] > width:
                yield f"{where}: expected a page of {width} px, found {measured['width']} in {measured['window']}"
            if not measured["text"] or measured["smallest"] < SMALLEST:
                yield f"{where}: expected text of {SMALLEST} px or more, found {measured['smallest']}"
            if measured["lost"]:
                yield f"{where}: expected links to parts of the page, found {measured['lost']} that lead nowhere"
            for event in events:
                said = event.get("params", {})
                if event.get("method") in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"):
                    yield f"{where}: expected a silent console, found {json.dumps(said)[:200]}"
                if event.get("method") == "Network.requestWillBeSent" and said["request"]["url"] != own:
                    yield f"{where}: expected nothing to be fetched, found {said['request']['url']}"


BAD = {
    "too wide": "<meta name=viewport content='width=device-width'><p style='width: 2000px'>wide",
    "no viewport": "<p>wide on a phone",
    "small text": "<meta name=viewport content='width=device-width'><p style='font-size: 8px'>small",
    "an error": "<meta name=viewport content='width=device-width'><p>text<script>missing()</script>",
    "a fetched picture": "<meta name=viewport content='width=device-width'><p>text<img src='elsewhere.png'>",
    "a link to nowhere": "<meta name=viewport content='width=device-width'><a href='#gone'>text</a>",
}


def main():
    arguments = sys.argv[1:]
    if not arguments:
        sys.exit(__doc__.splitlines()[0])
    chromium = arguments.pop(0)
    screenshot = arguments[1] if arguments[:1] == ["--screenshot"] else None
    pages = [Path(name) for name in (arguments[2:] if screenshot else arguments)]
    found = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(chromium, profile)
        for name, text in BAD.items():
            bad = Path(profile) / "bad.html"
            bad.write_text(f"<!doctype html><html><body>{text}")
            if not any(faults(browser, bad)):
                sys.exit(f"pages: expected a bad sample with {name} to be refused, found it accepted")
        for page in pages:
            found += faults(browser, page)
        if screenshot:
            browser.show(pages[0], WIDTHS[-1], "light")
            browser.ask("Emulation.setScrollbarsHidden", hidden=True)
            picture = browser.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True,
                                  clip={"x": 0, "y": 0, "width": WIDTHS[-1], "height": 1050, "scale": 0.75})
            Path(screenshot).write_bytes(base64.b64decode(picture["data"]))
        browser.end()
    print("\n".join(found), end="\n" if found else "")
    sys.exit(1 if found else 0)


main()
