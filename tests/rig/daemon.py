"""A relayd daemon as its own process, the way an operator runs it: `python -m relayd serve --config FILE`.

Ports are chosen by the kernel and read back; SIGKILL and a restart on the same data are ordinary moves here.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.rig.postfix import free_port, wait_for_port
from tests.rig.stated import VARIABLE
from tests.rig.usage import descendants

_ROOT = Path(__file__).resolve().parents[2]

_HASHED = "$argon2id$v=19$m=8,t=1,p=1$Td1xjnUCpnYaeUMRc2naqw$qf7ermvJdy30iC2ywc9tCRFPVScAad5lFwEdSc8yrjA"
"""The secret for-tests-only, at the least cost."""


def toml_value(value: Any) -> str:
    """A value as TOML writes it; JSON's strings, numbers, booleans and lists are TOML's."""
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml_value(each) for each in value) + "]"
    return json.dumps(value)


NO_CHECKS = dict.fromkeys(
    (
        "auth.spf.verify.ehlo",
        "auth.spf.verify.mail-from",
        "auth.dkim.verify",
        "auth.arc.verify",
        "auth.dmarc.verify",
        "auth.iprev.verify",
    ),
    "disabled",
)
"""No daemon of a test asks the machine's DNS; those of the checks name a server of their own."""


class Daemon:
    """One daemon below `directory`.  `settings` are dotted keys over a small default; the ports are the bound ones.

    program: what Python runs in place of relayd; in a run that notes which events are stated, relayd that does so.
    """

    def __init__(
        self,
        directory: Path,
        settings: Mapping[str, Any] | None = None,
        *,
        environment: Mapping[str, str] | None = None,
        program: tuple[str, ...] = (),
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.data = directory / "data"
        self.config = directory / "relayd.toml"
        self.output = directory / "output.log"
        self.smtp_port = free_port()
        self.http_port = free_port()
        self.environment = dict(environment or {})
        self.program = program or ("-m", "tests.rig.stated" if os.environ.get(VARIABLE) else "relayd")
        self.settings: dict[str, Any] = {
            "server.hostname": "relay.test",
            "server.data-dir": str(self.data),
            "server.listener.smtp.bind": [f"127.0.0.1:{self.smtp_port}"],
            "server.listener.smtp.protocol": "smtp",
            "server.listener.http.bind": [f"127.0.0.1:{self.http_port}"],
            "server.listener.http.protocol": "http",
            "authentication.fallback-admin.user": "admin",
            "authentication.fallback-admin.secret": _HASHED,
            "queue.outbound.allow-private": True,
            "queue.min-free": "1MB",
            "spam-filter.enable": False,
            **NO_CHECKS,
            **(settings or {}),
        }
        self.process: subprocess.Popen[bytes] | None = None
        self._prefixed = False

    def write_config(self) -> None:
        """Write `settings` to the configuration file."""
        lines = []
        for key, value in self.settings.items():
            lines.append(f"{key} = {toml_value(value)}")
        self.config.write_text("\n".join(lines) + "\n")

    def start(self, *, wait: bool = True, prefix: tuple[str, ...] = (), pass_fds: tuple[int, ...] = ()) -> Daemon:
        """Start it; with `wait` return once it is ready.

        `prefix` goes in front of the command (strace, a shell); `pass_fds` stay open in it.
        """
        self.write_config()
        self._prefixed = bool(prefix)
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [*prefix, sys.executable, *self.program, "serve", "--config", str(self.config)],
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=_ROOT,
                env={**os.environ, **self.environment},
                pass_fds=pass_fds,
            )
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, timeout: float = 30.0) -> None:
        """Return once the SMTP listener accepts and `/healthz/ready` is 200."""
        assert self.process is not None
        until = time.monotonic() + timeout
        while self.process.poll() is None and time.monotonic() < until:
            try:
                status, _ = self.request("GET", "/healthz/ready")
                if status == 200:
                    return
            except OSError:
                pass
            time.sleep(0.02)
        raise RuntimeError(f"relayd did not become ready:\n{self.output.read_text(errors='replace')[-4000:]}")

    def wait_alive(self, timeout: float = 30.0) -> None:
        """Return once the control socket answers, ready or not."""
        until = time.monotonic() + timeout
        while True:
            try:
                self.request("GET", "/healthz/live")
                return
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)

    @property
    def pid(self) -> int:
        """Process id of the daemon (of what `prefix` started, when there is one)."""
        assert self.process is not None
        return self.process.pid

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def kill_group(self) -> None:
        """SIGKILL the daemon under a `prefix` and the prefix itself."""
        for each in descendants(self.pid):
            os.kill(each, signal.SIGKILL)
        assert self.process is not None
        self.process.wait()

    def signal(self, number: int) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def stop(self, timeout: float = 60.0) -> int:
        """SIGTERM and wait; the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            # strace holds such signals back while what it runs lives; a shell that did exec is the daemon itself
            below = descendants(self.pid) - {self.pid} if self._prefixed else set()
            for each in below or {self.pid}:
                os.kill(each, signal.SIGTERM)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """One control request over loopback HTTP as the fallback administrator: status and decoded body."""
        import base64
        import http.client

        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=30)
        token = base64.b64encode(b"admin:for-tests-only").decode()
        headers = {"Authorization": f"Basic {token}"}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            raw = response.read()
        finally:
            connection.close()
        if response.headers.get_content_type().endswith("json"):
            return response.status, json.loads(raw)
        return response.status, raw.decode("utf-8", "replace")

    def data_of(self, method: str, path: str, body: Any = None) -> Any:
        """The `data` of a request that must succeed."""
        status, answer = self.request(method, path, body)
        if status != 200 or "data" not in answer:
            raise AssertionError(f"{method} {path}: {status} {answer}")
        return answer["data"]

    def queued(self, text: str = "") -> list[dict[str, Any]]:
        """The queued messages, those that match `text`."""
        found = self.data_of("GET", "/api/queue/messages?values=1" + (f"&text={quote(text)}" if text else ""))
        items: list[dict[str, Any]] = found["items"]
        return items

    def wait_empty(self, timeout: float = 60.0) -> None:
        """Return once nothing is queued."""
        until = time.monotonic() + timeout
        while self.data_of("GET", "/api/queue/messages?limit=1")["total"]:
            if time.monotonic() > until:
                raise TimeoutError(f"still queued: {self.queued()[:3]}")
            time.sleep(0.05)

    def audit(self) -> dict[str, Any]:
        """The queue's audit."""
        found: dict[str, Any] = self.data_of("GET", "/api/queue/audit")
        return found

    def __enter__(self) -> Daemon:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()


__all__ = ["Daemon", "free_port", "wait_for_port"]


def accepts(port: int) -> bool:
    """Whether something listens on a loopback port now."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
