"""A real browser without a window: Debian's Chromium, steered by chromedriver (W3C WebDriver over plain HTTP).

Elements are found by a CSS selector and, where that is not enough, by a part of their text; what is looked for may
take `PATIENCE` seconds to come.
"""

from __future__ import annotations

import base64
import http.client
import json
import shutil
import subprocess
import tempfile
import time
from typing import Any

from tests.rig.peers import require_program
from tests.rig.postfix import free_port

PATIENCE = 15.0
"""Seconds."""

_ARGUMENTS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")
_FIND = """
const [selector, text] = arguments;
const fits = (each) => each.checkVisibility() && (each.textContent + " " + (each.ariaLabel ?? "")).includes(text);
const found = [...document.querySelectorAll(selector)].find(fits);
"""

Element = dict[str, str]
"""A reference to an element of the page, as WebDriver writes it."""


class Browser:
    """A running browser with one page."""

    def __init__(self) -> None:
        self.port = 0
        self._driver: subprocess.Popen[bytes] | None = None
        self._session = ""
        self._profile = ""

    def __enter__(self) -> Browser:
        driver, browser = require_program("chromedriver"), require_program("chromium")
        self.port = free_port()
        self._profile = tempfile.mkdtemp(prefix="relayd-browser-")
        self._driver = subprocess.Popen(
            [driver, f"--port={self.port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        options = {"binary": browser, "args": [*_ARGUMENTS, f"--user-data-dir={self._profile}"]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        try:
            answer = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}}, patience=20.0)
            self._session = "/session/" + answer["sessionId"]
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        assert self._driver is not None
        try:
            if self._session:
                self._ask("DELETE", self._session)
        finally:
            self._driver.terminate()
            self._driver.wait(20)
            shutil.rmtree(self._profile, ignore_errors=True)

    def visit(self, url: str) -> None:
        """Load a page."""
        self._ask("POST", f"{self._session}/url", {"url": url})

    def run(self, script: str, *arguments: object) -> Any:
        """What an asynchronous script of the page gives to its last argument, a callback."""
        return self._ask("POST", f"{self._session}/execute/async", {"script": script, "args": list(arguments)})

    def value(self, script: str, *arguments: object) -> Any:
        """What a script of the page returns."""
        return self._ask("POST", f"{self._session}/execute/sync", {"script": script, "args": list(arguments)})

    def element(self, selector: str, text: str = "") -> Element:
        """The first visible element of a selector whose text or label holds `text`, once there is one."""
        element: Element = self._found("found", selector, text)
        return element

    def text(self, selector: str, text: str = "") -> str:
        """What stands in an element, once it is there."""
        return str(self._found("found?.innerText", selector, text))

    def _found(self, what: str, selector: str, text: str) -> Any:
        until = time.monotonic() + PATIENCE
        while (found := self.value(f"{_FIND} return {what} ?? null;", selector, text)) is None:
            if time.monotonic() > until:
                page = self.value("return location.href + ' ' + document.body.innerText.slice(0, 3000)")
                raise AssertionError(f"no {selector} with {text!r} on {page}")
            time.sleep(0.03)
        return found

    def click(self, selector: str, text: str = "") -> None:
        """Click on an element as the mouse does: what lies over it is hit in its place, which is an error."""
        self._act(self.element(selector, text), "click", {})

    def type(self, selector: str, text: str) -> None:
        """Type into a field, in place of what it holds."""
        field = self.element(selector)
        self._act(field, "clear", {})
        self._act(field, "value", {"text": text})

    def press(self, key: str) -> None:
        """Press and release a key where the focus is; the keys without a letter by their WebDriver code points."""
        keys = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        body = {"actions": [{"type": "key", "id": "keyboard", "actions": keys}]}
        self._ask("POST", f"{self._session}/actions", body)

    def emulate(self, width: int, height: int, scheme: str = "light", *, is_phone: bool = False) -> None:
        """The size of the page in CSS pixels, the colour scheme, and whether it is a phone's."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": is_phone}
        self._command("Emulation.setDeviceMetricsOverride", metrics)
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        self._command("Emulation.setEmulatedMedia", {"features": features})

    def screenshot(self) -> bytes:
        """What can be seen, as PNG."""
        return base64.b64decode(self._ask("GET", f"{self._session}/screenshot"))

    def complaints(self) -> list[str]:
        """What the browser's console was told since the last time: errors, and what a policy forbade."""
        entries = self._ask("POST", f"{self._session}/se/log", {"type": "browser"})
        return [f"{each['level']}: {each['message']}" for each in entries if each["level"] in ("SEVERE", "WARNING")]

    def _act(self, element: Element, what: str, body: dict[str, str]) -> None:
        (reference,) = element.values()
        self._ask("POST", f"{self._session}/element/{reference}/{what}", body)

    def _command(self, name: str, parameters: dict[str, Any]) -> None:
        self._ask("POST", f"{self._session}/goog/cdp/execute", {"cmd": name, "params": parameters})

    def _ask(self, method: str, path: str, body: object = None, *, patience: float = 0.0) -> Any:
        until = time.monotonic() + patience
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            try:
                connection.request(method, path, None if body is None else json.dumps(body))
                answer = json.loads(connection.getresponse().read())["value"]
                break
            except ConnectionError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)
            finally:
                connection.close()
        if isinstance(answer, dict) and "error" in answer:
            raise RuntimeError(f"{method} {path}: {answer['error']}: {answer['message'][:500]}")
        return answer
