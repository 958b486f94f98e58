"""SpamAssassin's daemon: SPAMC/1.5, the command SYMBOLS, one connection for a scan."""

from __future__ import annotations

import asyncio
import contextlib
import re

from relayd.filters.endpoint import Endpoint
from relayd.filters.peer_tls import PeerTls
from relayd.filters.scan import Outcome, Scan, ScanFailed, Scannable

MAX_REPLY = 256 << 10
_STATUS = re.compile(r"SPAMD/[\d.]{1,8} (\d{1,5}) ([^\r\n]*)")
_SPAM = re.compile(r"(True|Yes|False|No)\s*;\s*(-?[\d.]{1,20})\s*/\s*(-?[\d.]{1,20})", re.I)
_SYMBOL = re.compile(r"[A-Za-z0-9_]{1,100}")
_UNSAFE = re.compile(r"[^\x21-\x7e]")


class Spamd:
    """See `scan.Scanner`.  user: whose preferences are used, "" for the daemon's own."""

    def __init__(self, endpoint: Endpoint, user: str = "", tls: PeerTls | None = None) -> None:
        self._endpoint = endpoint
        self._tls = tls
        self._user = _UNSAFE.sub("", user)

    async def scan(self, message: Scannable) -> Scan:
        """What SpamAssassin makes of the message."""
        request = f"SYMBOLS SPAMC/1.5\r\nContent-length: {message.size}\r\n"
        if self._user:
            request += f"User: {self._user}\r\n"
        reader, writer = await self._endpoint.connect(MAX_REPLY, self._tls)
        try:
            with contextlib.suppress(ConnectionError):
                writer.write(request.encode("ascii") + b"\r\n")
                async for piece in message.octets():
                    writer.write(piece)
                    await writer.drain()
                if writer.can_write_eof():
                    writer.write_eof()
            return read_answer(await _all(reader))
        finally:
            writer.transport.abort()

    async def ping(self) -> None:
        """PING."""
        reader, writer = await self._endpoint.connect(MAX_REPLY, self._tls)
        try:
            writer.write(b"PING SPAMC/1.5\r\n\r\n")
            answer = (await reader.readline()).decode("ascii", "replace")
            if "PONG" not in answer:
                raise ScanFailed(f"spamd answers PING with {answer[:100]!r}")
        finally:
            writer.transport.abort()

    async def close(self) -> None:
        """Nothing is kept."""


async def _all(reader: asyncio.StreamReader) -> bytes:
    """Everything up to the end; ScanFailed past MAX_REPLY."""
    octets = bytearray()
    while piece := await reader.read(1 << 16):
        octets += piece
        if len(octets) > MAX_REPLY:
            raise ScanFailed(f"spamd's answer is longer than {MAX_REPLY} octets")
    return bytes(octets)


def read_answer(octets: bytes) -> Scan:
    """The answer to SYMBOLS.  ScanFailed; EOFError when it is not whole."""
    head, blank, body = octets.partition(b"\r\n\r\n")
    lines = head.decode("ascii", "replace").split("\r\n")
    status = _STATUS.fullmatch(lines[0])
    if status is None:
        if not octets:
            raise EOFError("spamd closed the connection without an answer")
        raise ScanFailed(f"spamd: {lines[0][:100]!r} is no answer")
    if int(status[1]) != 0:
        raise ScanFailed(f"spamd: {status[2][:100]}")
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    length = fields.get("content-length", "")
    if not blank or not length.isascii() or not length.isdigit() or len(length) > 9 or len(body) < int(length):
        raise EOFError("spamd's answer is cut short")
    verdict = _SPAM.fullmatch(fields.get("spam", ""))
    if verdict is None:
        raise ScanFailed("spamd's answer has no verdict")
    try:
        score, required = float(verdict[2]), float(verdict[3])
    except ValueError:
        raise ScanFailed("spamd's answer has no score") from None
    is_spam = verdict[1].lower() in ("true", "yes")
    symbols = dict.fromkeys(_SYMBOL.findall(body[: int(length)].decode("ascii", "replace")), 0.0)
    return Scan(
        outcome=Outcome.FOUND if is_spam else Outcome.PASSED,
        what="spam" if is_spam else "",
        score=score,
        required=required,
        symbols=symbols,
    )
