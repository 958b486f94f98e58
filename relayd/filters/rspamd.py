"""rspamd: the HTTP request `/checkv2` to a worker, over TCP, TLS or a Unix socket."""

from __future__ import annotations

import math
import re
import ssl
from typing import Any

import aiohttp
import msgspec

from relayd.filters.endpoint import Endpoint
from relayd.filters.peer_tls import PeerTls, reason_of
from relayd.filters.scan import Outcome, Scan, ScanFailed, Scannable

MAX_REPLY = 4 << 20
_UNSAFE = re.compile(r"[\x00-\x1f\x7f]")
_SYMBOLS = 1000

SPAM = frozenset({"reject", "add header", "rewrite subject", "quarantine", "discard"})
"""Actions by which rspamd calls a message spam."""
LATER = frozenset({"soft reject", "greylist"})
"""Actions by which it asks for the message to come again."""


class Rspamd:
    """See `scan.Scanner`.  password: what the worker asks for, or None."""

    def __init__(self, endpoint: Endpoint, password: str | None = None, tls: PeerTls | None = None) -> None:
        self._endpoint = endpoint
        self._tls = tls
        self._password = password
        self._session: aiohttp.ClientSession | None = None

    async def scan(self, message: Scannable) -> Scan:
        """What rspamd makes of the message."""
        headers = self._headers(message)
        try:
            secure = await self._context()
            async with self._http().post("/checkv2", data=message.octets(), headers=headers, ssl=secure) as answer:
                body = await _body(answer)
                if answer.status != 200:
                    raise ScanFailed(f"rspamd: HTTP {answer.status}")
        except (aiohttp.ClientError, ValueError) as error:
            raise ScanFailed(f"rspamd: {_reason(error)}") from error
        return read_answer(body)

    async def ping(self) -> None:
        """`/ping`."""
        try:
            async with self._http().get("/ping", ssl=await self._context()) as answer:
                if answer.status != 200:
                    raise ScanFailed(f"rspamd: HTTP {answer.status}")
        except (aiohttp.ClientError, ValueError) as error:
            raise ScanFailed(f"rspamd: {_reason(error)}") from error

    async def close(self) -> None:
        """Close the connections that are kept."""
        if self._session is not None:
            await self._session.close()

    def _http(self) -> aiohttp.ClientSession:
        """Made when it is first needed: it belongs to the loop that runs then."""
        if self._session is None:
            endpoint = self._endpoint
            connector = aiohttp.UnixConnector(endpoint.path) if endpoint.path else aiohttp.TCPConnector()
            scheme = "http" if self._tls is None else "https"
            base = "http://localhost" if endpoint.path else f"{scheme}://{endpoint}"
            self._session = aiohttp.ClientSession(
                base,
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=None),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    async def _context(self) -> ssl.SSLContext | bool:
        """For a connection that is made; True: the usual one, which a connection without TLS does not look at."""
        return True if self._tls is None else await self._tls.context()

    def _headers(self, message: Scannable) -> list[tuple[str, str]]:
        told = [
            ("Content-Type", "application/octet-stream"),
            ("Content-Length", str(message.size)),
            ("Queue-Id", str(message.queue_id)),
            ("MTA-Name", message.hostname),
            ("IP", message.address),
            ("Hostname", message.client_name if message.client_name != "unknown" else ""),
            ("Helo", message.helo),
            ("From", message.return_path),
            ("User", message.account),
            ("Password", self._password or ""),
            *(("Rcpt", each) for each in message.recipients),
        ]
        return [(name, _UNSAFE.sub("", value)) for name, value in told if value]


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError) and isinstance(error.certificate_error, OSError):
        return reason_of(error.certificate_error)
    if isinstance(error, aiohttp.ClientConnectorError):
        return reason_of(error.os_error)
    return str(error) or type(error).__name__


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    octets = bytearray()
    async for piece in answer.content.iter_chunked(1 << 16):
        octets += piece
        if len(octets) > MAX_REPLY:
            raise ScanFailed(f"rspamd's answer is longer than {MAX_REPLY} octets")
    return bytes(octets)


def read_answer(body: bytes) -> Scan:
    """The answer to `/checkv2`.  ScanFailed."""
    try:
        said: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise ScanFailed("rspamd's answer is no JSON") from None
    if not isinstance(said, dict) or not isinstance(said.get("action"), str):
        error = said.get("error") if isinstance(said, dict) else None
        raise ScanFailed(f"rspamd: {str(error)[:200]}" if error else "rspamd's answer names no action")
    action = said["action"]
    outcome = Outcome.FOUND if action in SPAM else Outcome.NOT_NOW if action in LATER else Outcome.PASSED
    return Scan(
        outcome=outcome,
        what="" if outcome is Outcome.PASSED else action,
        score=_number(said.get("score")),
        required=_number(said.get("required_score")),
        symbols=_symbols(said.get("symbols")),
    )


def _symbols(said: Any) -> dict[str, float]:
    if not isinstance(said, dict):
        return {}
    found = {}
    for name, details in list(said.items())[:_SYMBOLS]:
        score = _number(details.get("score")) if isinstance(details, dict) else None
        found[str(name)[:100]] = score or 0.0
    return found


def _number(value: Any) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    return None
