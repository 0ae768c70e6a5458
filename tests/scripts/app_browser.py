"""A headless Chromium, driven by the W3C WebDriver protocol of Debian's `chromium-driver`."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

DRIVER, CHROMIUM = shutil.which("chromedriver"), shutil.which("chromium")
WHY_NOT = "needs a headless Chromium: `apt-get install chromium chromium-driver`"

_PATIENCE = 120  # s
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key that the protocol gives elements


class Browser:
    """One window.

    Args:
        session: URL of the driver's session.
    """

    def __init__(self, session: str) -> None:
        self.session = session

    def open(self, url: str) -> None:
        self._post("url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """What a JavaScript function of this body returns."""
        return self._post("execute/sync", {"script": script, "args": list(arguments)})

    def type(self, css: str, text: str) -> None:
        """Type into a field, or drop a file, which stands there by its path."""
        element = self._post("element", {"using": "css selector", "value": css})[_ELEMENT]
        self._post(f"element/{element}/value", {"text": text})

    def click(self, css: str) -> None:
        element = self._post("element", {"using": "css selector", "value": css})[_ELEMENT]
        self._post(f"element/{element}/click", {})

    def text(self, css: str) -> str:
        """The text of an element as a reader sees it; nothing where there is none."""
        return str(self.run("return document.querySelector(arguments[0])?.innerText ?? ''", css))

    def wait(self, ready: Callable[[], Any]) -> Any:
        """Ask until something comes of it."""
        end = time.monotonic() + _PATIENCE
        while not (found := ready()):
            assert time.monotonic() < end, f"not within {_PATIENCE} s; the page says: {self.text('body')}"
            time.sleep(0.2)
        return found

    def screenshot(self, path: Path) -> Path:
        with urlopen(f"{self.session}/screenshot", timeout=_PATIENCE) as answer:
            path.write_bytes(base64.b64decode(json.load(answer)["value"]))
        return path

    def _post(self, command: str, body: dict[str, Any]) -> Any:
        return _post(f"{self.session}/{command}", body)


@contextmanager
def browser(size: tuple[int, int] = (1280, 800), dark: bool = False) -> Iterator[Browser]:
    """Start Chromium with a window of this size, and end it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
    options += [f"--window-size={size[0]},{size[1]}", *(["--force-dark-mode"] if dark else [])]
    driver = subprocess.Popen([str(DRIVER), f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        session = _session(f"http://127.0.0.1:{port}/session", options)
        try:
            yield Browser(session)
        finally:
            urlopen(Request(session, method="DELETE"), timeout=_PATIENCE).close()
    finally:
        driver.terminate()
        driver.wait()


def _session(url: str, options: list[str]) -> str:
    chromium = {"binary": CHROMIUM, "args": options}
    body = {"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": chromium}}}
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            return f"{url}/{_post(url, body)['sessionId']}"
        except URLError as error:  # the driver is not up yet
            if isinstance(error, HTTPError) or time.monotonic() > end:
                raise
            time.sleep(0.2)


def _post(url: str, body: dict[str, Any]) -> Any:
    try:
        with urlopen(Request(url, json.dumps(body).encode()), timeout=_PATIENCE) as answer:
            return json.load(answer)["value"]
    except HTTPError as error:
        raise AssertionError(json.load(error)["value"]["message"]) from error
