"""Hand a message to the daemon over SMTP: its submit socket, else the first loopback SMTP listener."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from relayd.cli.failure import BAD_DATA, NO_USER, NOT_ALLOWED, TRY_AGAIN, USAGE, Failure
from relayd.cli.where import Where

_SYSTEM_SOCKET = "/run/relayd/submit.sock"
_CONNECT_TIMEOUT = 10.0
_REPLY_TIMEOUT = 300.0


@dataclass(frozen=True)
class Reply:
    """What the daemon answered: the code, and the text of each line."""

    code: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """All of it on one line."""
        return f"{self.code} " + " ".join(self.lines)


@dataclass(frozen=True)
class Outgoing:
    """An envelope and its octets (CRLF, not dot-stuffed)."""

    return_path: str
    recipients: Sequence[str]
    content: bytes
    utf8: bool = False


class Submission:
    """One SMTP session with the daemon.  Raises Failure: 75 when it does not answer or says 4xx."""

    def __init__(self, connection: socket.socket, address: str) -> None:
        self._connection = connection
        self._file: IO[bytes] = connection.makefile("rb")
        self.address = address
        self.hostname = ""
        """The daemon's name, from its answer to EHLO."""
        self.origin = ""
        """What qualifies bare names: `server.origin`, which the submit socket tells; else the daemon's name."""
        self._extensions: set[str] = set()

    def greet(self) -> None:
        """Read the banner and send EHLO."""
        self._expect(self._read(), 220)
        answer = self._ask(f"EHLO {_ehlo_name()}")
        self._expect(answer, 250)
        self.hostname = answer.lines[0].split(" ", 1)[0]
        self._extensions = {line.split(" ", 1)[0].upper() for line in answer.lines[1:]}
        told = [line.split(" ")[1] for line in answer.lines[1:] if line.upper().startswith("XORIGIN ")]
        self.origin = told[0] if told else self.hostname

    def send(self, outgoing: Outgoing) -> list[str]:
        """Send to all recipients; the text of each final reply (several when the daemon takes fewer at a time).

        One recipient refused for good, and nothing is sent to anybody: Failure names all those refused.
        """
        waiting = list(outgoing.recipients)
        answers: list[str] = []
        while waiting:
            self._expect(self._ask(self._mail(outgoing)), 250)
            accepted, later = self._name_recipients(waiting)
            if not accepted:
                raise Failure(TRY_AGAIN, later)
            self._expect(self._ask("DATA"), 354)
            self._write(dot_stuffed(outgoing.content))
            final = self._read()
            self._expect(final, 250)
            answers.append(final.text)
            waiting = waiting[accepted:]
        return answers

    def _mail(self, outgoing: Outgoing) -> str:
        command = f"MAIL FROM:<{outgoing.return_path}>"
        if "SIZE" in self._extensions:
            command += f" SIZE={len(outgoing.content)}"
        if "8BITMIME" in self._extensions and not outgoing.content.isascii():
            command += " BODY=8BITMIME"
        international = not all(each.isascii() for each in (outgoing.return_path, *outgoing.recipients))
        if international and "SMTPUTF8" not in self._extensions:
            raise Failure(BAD_DATA, "an address is not ASCII and relayd does not offer SMTPUTF8")
        if (international or outgoing.utf8) and "SMTPUTF8" in self._extensions:
            command += " SMTPUTF8"
        return command

    def _name_recipients(self, waiting: Sequence[str]) -> tuple[int, str]:
        """How many of `waiting`, from the first, are in this transaction, and why the next one is not."""
        refused: list[tuple[str, Reply]] = []
        accepted = 0
        for recipient in waiting:
            answer = self._ask(f"RCPT TO:<{recipient}>")
            if answer.code in (250, 251, 252):
                accepted += 1
            elif 400 <= answer.code < 500 and not refused:
                return accepted, f"{recipient}: {answer.text}"
            else:
                refused.append((recipient, answer))
        if refused:
            first = refused[0][1]
            unknown = first.lines[0].startswith("5.1.") or first.code in (550, 551)
            code = NOT_ALLOWED if first.lines[0].startswith("5.7.") else NO_USER if unknown else BAD_DATA
            raise Failure(code, "\n".join(f"{recipient}: {answer.text}" for recipient, answer in refused))
        return accepted, ""

    def close(self) -> None:
        """Say goodbye; whatever the daemon answers is no matter any more."""
        try:
            self._connection.settimeout(2.0)
            self._connection.sendall(b"QUIT\r\n")
            self._file.readline(1000)
        except OSError:
            self.hostname = ""
        finally:
            self._file.close()
            self._connection.close()

    def _ask(self, command: str) -> Reply:
        if re.search(r"[\r\n\0]", command):
            raise Failure(BAD_DATA, "an address holds a line break")
        self._write(command.encode("utf-8", "surrogateescape") + b"\r\n")
        return self._read()

    def _write(self, octets: bytes) -> None:
        try:
            self._connection.sendall(octets)
        except OSError as error:
            raise Failure(TRY_AGAIN, f"the connection to {self.address} broke: {error.strerror or error}") from None

    def _read(self) -> Reply:
        lines: list[str] = []
        while True:
            try:
                raw = self._file.readline(4096)
            except OSError as error:
                raise Failure(TRY_AGAIN, f"no answer from {self.address}: {error}") from None
            line = raw.decode("utf-8", "replace").rstrip("\r\n")
            if not re.match(r"[2-5]\d\d(?:[ -]|$)", line) or len(lines) > 200:
                raise Failure(TRY_AGAIN, f"no SMTP answer from {self.address}: {line!r}")
            lines.append(line[4:])
            if line[3:4] != "-":
                return Reply(int(line[:3]), tuple(lines))

    def _expect(self, answer: Reply, code: int) -> None:
        if answer.code == code:
            return
        kind = TRY_AGAIN
        if answer.code >= 500:
            kind = NOT_ALLOWED if answer.lines[0].startswith("5.7.") else BAD_DATA
        raise Failure(kind, f"relayd answered {answer.text}")


def dot_stuffed(content: bytes) -> bytes:
    """`content`, which ends with CRLF, as DATA sends it, with the final dot."""
    stuffed = content.replace(b"\r\n.", b"\r\n..")
    return (b"." if stuffed.startswith(b".") else b"") + stuffed + b".\r\n"


def open_submission(where: Where, server: str | None = None) -> Submission:
    """A greeted session with the first place that answers; see `open_connection`."""
    submission = Submission(*open_connection(where, server))
    try:
        submission.greet()
    except BaseException:
        submission.close()
        raise
    return submission


def open_connection(where: Where, server: str | None = None) -> tuple[socket.socket, str]:
    """A connection to the first place that answers, and its address.  Raises Failure 75 when none does.

    server: "unix:/path" or "host:port" instead of the usual places.
    """
    tried: list[str] = []
    for address in [server] if server else _candidates(where):
        try:
            return connect(address), address
        except OSError as error:
            tried.append(f"{address} ({error.strerror or error})")
    raise Failure(TRY_AGAIN, "relayd does not answer at " + ", ".join(tried))


def connect(address: str) -> socket.socket:
    """A connected socket to "unix:/path", "host:port" or "[ipv6]:port".  Raises OSError; Failure 64 for a bad one."""
    if address.startswith("unix:"):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(_CONNECT_TIMEOUT)
        try:
            connection.connect(address.removeprefix("unix:"))
        except BaseException:
            connection.close()
            raise
    else:
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit():
            raise Failure(USAGE, f'expected unix:/path or host:port, not "{address}"')
        connection = socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_TIMEOUT)
    connection.settimeout(_REPLY_TIMEOUT)
    return connection


def _candidates(where: Where) -> Iterator[str]:
    """Where the daemon may be, likeliest first; the configuration is not read before it is needed."""
    named = where.path is not None
    if not named:
        yield f"unix:{_SYSTEM_SOCKET}"
    from relayd.config.places import submit_candidates

    config = where.load()
    paths: list[Path] = submit_candidates(config)
    yield from (f"unix:{path}" for path in paths if named or str(path) != _SYSTEM_SOCKET)
    from relayd.config.listeners import loopback_smtp

    yield from loopback_smtp(config)


def _ehlo_name() -> str:
    name = os.uname().nodename
    return name if re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", name) else "localhost"
