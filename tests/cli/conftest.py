"""The daemon's side of the command line, played: its control socket and its submit socket."""

from __future__ import annotations

import http.server
import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest


@dataclass
class Asked:
    """A request that the control socket got.  body: decoded JSON, or octets of another type."""

    method: str
    path: str
    query: list[tuple[str, str]]
    body: Any
    authorization: str | None


@dataclass
class FakeControl:
    """Answers by `METHOD /path`; what is not in `answers` is 404.  An int is a bare status, bytes are octets."""

    path: Path
    answers: dict[str, Any] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)


class _UnixHttpServer(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


def _handler(fake: FakeControl) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def address_string(self) -> str:
            return "unix"

        def log_message(self, format: str, *arguments: Any) -> None:
            """Say nothing."""

        def _answer(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            octets = self.rfile.read(length)
            is_json = self.headers.get("Content-Type") == "application/json"
            body = (json.loads(octets) if is_json else octets) if octets else None
            query = parse_qsl(parts.query)
            fake.asked.append(Asked(self.command, parts.path, query, body, self.headers.get("Authorization")))
            answer = fake.answers.get(f"{self.command} {parts.path}", 404)
            if callable(answer):
                answer = answer(dict(query))
            status = answer if isinstance(answer, int) else 200
            if isinstance(answer, int):
                answer = {"type": "about:blank", "status": status, "title": "T", "detail": f"detail of {status}"}
            is_octets = isinstance(answer, bytes)
            raw = answer if is_octets else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/octet-stream" if is_octets else "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        do_GET = do_POST = do_PATCH = do_DELETE = _answer

    return Handler


@pytest.fixture
def control(tmp_path: Path) -> Iterator[FakeControl]:
    """A control socket; its `path` goes into `--url unix:...`."""
    fake = FakeControl(tmp_path / "control.sock")
    with _UnixHttpServer(str(fake.path), _handler(fake)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield fake
        server.shutdown()
        thread.join()


@dataclass
class Mail:
    """A message that the submit socket took."""

    mail: str
    rcpt: list[str]
    content: bytes


@dataclass
class FakeSubmit:
    """An SMTP server on a Unix socket.  replies: to a command that starts with the key, instead of the usual one."""

    path: Path
    replies: dict[str, str] = field(default_factory=dict)
    extensions: list[str] = field(default_factory=lambda: ["SIZE 1000000", "8BITMIME", "SMTPUTF8"])
    greeting: str = "220 relay.test ESMTP"
    taken: list[Mail] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)

    def reply(self, command: str, usual: str) -> str:
        """The scripted answer, or the usual one."""
        for start, answer in self.replies.items():
            if command.upper().startswith(start.upper()):
                return answer
        return usual


def _smtp_handler(fake: FakeSubmit) -> type[socketserver.StreamRequestHandler]:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self._say(fake.greeting)
            self.mail, self.rcpt = "", list[str]()
            while line := self.rfile.readline():
                command = line.decode().rstrip("\r\n")
                fake.commands.append(command)
                verb = command[:4].upper()
                if verb == "EHLO":
                    lines = ["relay.test", *fake.extensions]
                    self._say("\r\n".join(f"250{' ' if each is lines[-1] else '-'}{each}" for each in lines))
                elif verb == "DATA":
                    self._data(command)
                elif verb == "QUIT":
                    self._say("221 2.0.0 bye")
                    return
                else:
                    self._envelope(verb, command)

        def _envelope(self, verb: str, command: str) -> None:
            answer = fake.reply(command, "250 2.1.0 ok")
            if verb == "MAIL":
                self.mail, self.rcpt = command, []
            elif verb == "RCPT" and answer.startswith("250"):
                self.rcpt.append(command)
            self._say(answer)

        def _data(self, command: str) -> None:
            answer = fake.reply(command, "354 go on")
            self._say(answer)
            if not answer.startswith("354"):
                return
            lines = []
            while (line := self.rfile.readline()) not in (b".\r\n", b""):
                lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
            final = fake.reply("final", f"250 2.0.0 queued as {len(fake.taken) + 1}")
            if final.startswith("250"):
                fake.taken.append(Mail(self.mail, self.rcpt, b"".join(lines)))
            self._say(final)

        def _say(self, text: str) -> None:
            self.wfile.write(text.encode() + b"\r\n")

    return Handler


@pytest.fixture
def submit(tmp_path: Path) -> Iterator[FakeSubmit]:
    """A submit socket in the data directory of the `config` fixture."""
    (tmp_path / "data").mkdir()
    fake = FakeSubmit(tmp_path / "data" / "submit.sock")
    with _UnixHttpServer(str(fake.path), _smtp_handler(fake)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield fake
        server.shutdown()
        thread.join()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration whose data directory is `tmp_path/data`, and which listens nowhere that answers."""
    path = tmp_path / "relayd.toml"
    path.write_text(
        f'server.data-dir = "{tmp_path}/data"\n[server.listener.smtp]\nbind = ["127.0.0.1:1"]\n', encoding="utf-8"
    )
    return path


@pytest.fixture(autouse=True)
def _no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RELAYD_CONFIG", "RELAYD_URL", "RELAYD_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def message() -> Callable[..., dict[str, Any]]:
    """Makes a Message of the control API."""

    def make(id: int = 128, **fields: Any) -> dict[str, Any]:
        recipient = {"address": "bob@b.example", "status": {"temp_fail": "Connection to 'b.example' failed: refused"}}
        domain = {
            "name": "b.example",
            "status": {"temp_fail": "Connection to 'b.example' failed: refused"},
            "recipients": [recipient],
            "retry_num": 2,
            "next_retry": "2026-11-21T06:00:00Z",
            "next_notify": None,
            "expires": "2026-11-26T05:00:00Z",
        }
        usual = {"id": id, "return_path": "ann@a.example", "domains": [domain], "created": "2026-11-21T05:00:00Z"}
        return {**usual, "size": 2048, **fields}

    return make
