"""A real browser without a window: Debian's Chromium, steered by chromedriver (W3C WebDriver over plain HTTP)."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import tempfile
import time
from typing import Any

from tests.rig.peers import require_program
from tests.rig.postfix import free_port

_ARGUMENTS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")


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
        wanted = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}}
        try:
            self._session = "/session/" + self._ask("POST", "/session", wanted, patience=20.0)["sessionId"]
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
