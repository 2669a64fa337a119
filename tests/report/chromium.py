"""A headless Chromium, led over the two pipes of its DevTools protocol, so that no driver and no port is needed."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
ARGUMENTS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe")
SECONDS = 60


def browser_path() -> str | None:
    """Return an installed Chromium or Chrome."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Browser:
    """One page of a running browser.

    Args:
        write, read: ends of the pipes that Chromium has as its descriptors 3 and 4.
    """

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read = write, read
        self._rest = b""
        self._number = 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for room in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{room}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command, gather events, and return its answer."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            found = self._next()
            if found.get("id") != self._number:
                self.events.append(found)
            elif "error" in found:
                raise RuntimeError(f"{method}: {found['error']}")
            else:
                return dict(found["result"])

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            block = os.read(self._read, 1 << 16)
            if not block:
                raise RuntimeError("the browser has gone")
            self._rest += block
        message, self._rest = self._rest.split(b"\0", 1)
        return dict(json.loads(message))

    def open(self, path: Path, *, width: int, height: int = 900) -> None:
        """Load a file in a window of a width, and wait until it is complete."""
        self.events.clear()
        mobile = width < 600
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)
        self.call("Page.navigate", url=path.resolve().as_uri())
        limit = time.monotonic() + SECONDS
        while self.evaluate("document.readyState + location.protocol") != "completefile:":
            if time.monotonic() > limit:
                raise TimeoutError(f"{path} does not load")
            time.sleep(0.02)

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression in the page; the page's policy does not concern it."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def complaints(self) -> list[str]:
        """Return what the console and the log have said, and every request for anything but the file itself."""
        self.evaluate("0")
        told = [json.dumps(e["params"]) for e in self.events if e["method"] in ("Log.entryAdded", "Runtime.consoleAPICalled")]
        thrown = [json.dumps(e["params"]) for e in self.events if e["method"] == "Runtime.exceptionThrown"]
        asked = [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]
        return told + thrown + [url for url in asked if not url.startswith("file:")]

    def paper(self, path: Path) -> None:
        """Print the page into a PDF."""
        path.write_bytes(base64.b64decode(self.call("Page.printToPDF", paperWidth=8.27, paperHeight=11.69)["data"]))


@contextlib.contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """Run Chromium with a profile in a folder."""
    path = browser_path()
    if path is None:
        raise RuntimeError("no Chromium is installed")
    to_child, from_child = os.pipe(), os.pipe()
    # Chromium reads from its descriptor 3 and writes to 4; the shell puts ours there (by name: 3<&12 is beyond some shells).
    shell = f'exec "$0" "$@" 3</dev/fd/{to_child[0]} 4>/dev/fd/{from_child[1]}'
    command = ["/bin/sh", "-c", shell, path, *ARGUMENTS, f"--user-data-dir={folder / 'profile'}", "about:blank"]
    child = subprocess.Popen(
        command, pass_fds=(to_child[0], from_child[1]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    os.close(to_child[0])
    os.close(from_child[1])
    try:
        yield Browser(to_child[1], from_child[0])
    finally:
        child.terminate()
        child.wait(SECONDS)
        os.close(to_child[1])
        os.close(from_child[0])
