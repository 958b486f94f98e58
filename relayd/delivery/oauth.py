"""Tokens for signing in to smarthosts (RFC 6749): by client credentials (§4.4) or by a refresh token (§6).

A token is kept in memory until shortly before it expires; connections that need one at the same moment wait for the
same answer.  Where the server gives another refresh token in place of ours, that one counts from then on and is kept
in a file of the data directory that only our user may read; it is void once the configuration names another first one.

No secret is in what is raised or stated: of the server's answer only `error` (RFC 6749 §5.2) and the status are told.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from relayd.delivery.sign_in import TokenFailed
from relayd.events import delivery as events
from relayd.events.event import Span
from relayd.routing.next_hop import NextHop, TokenGrant

SECONDS = 20.0
"""For one request, all in all."""

MAX_ANSWER = 64 << 10
EARLY = 60.0
"""Seconds before its expiry from which a token is used no more."""

_USUAL_LIFE = 300.0
"""Seconds that a token lives when the server does not say."""

_LONGEST_LIFE = 86400.0
_AGAIN_AFTER = 30.0
"""Seconds for which a failure is believed: a queue full of mail must not ask for a token with every message."""

FILE = "tokens.json"


@dataclass(slots=True)
class _Kept:
    """The token of one route.  failed, failed_until: why there is none, and until when nobody is asked again."""

    grant: TokenGrant
    token: str = ""
    until: float = 0.0
    failed: str = ""
    failed_until: float = 0.0


class Tokens:
    """The tokens of all routes.  directory: where refresh tokens that came later are kept.

    context: makes the TLS context, verified.  clock: Unix seconds.
    """

    def __init__(
        self, directory: Path, context: Callable[[], Awaitable[ssl.SSLContext]], clock: Callable[[], float]
    ) -> None:
        self.context = context
        self._path = directory / FILE
        self._clock = clock
        self._kept: dict[str, _Kept] = {}
        self._later: dict[str, dict[str, str]] = {}
        self._writing = asyncio.Lock()
        self._locks: dict[str, asyncio.Lock] = {}

    async def token(self, next_hop: NextHop, span: Span, *, instead_of: str = "") -> str:
        """A token for the route that is good now; `instead_of`: one that the host refused.  Raises TokenFailed."""
        grant, route = next_hop.grant, next_hop.key
        assert grant is not None
        async with self._locks.setdefault(route, asyncio.Lock()):
            kept = self._kept.get(route)
            if kept is None or kept.grant != grant:
                kept = self._kept[route] = _Kept(grant)
            now = self._clock()
            if kept.token and kept.token != instead_of and now < kept.until:
                return kept.token
            if kept.failed and now < kept.failed_until:
                raise TokenFailed(kept.failed)
            kept.token = ""
            try:
                answer = await self._ask(next_hop, grant, span)
            except TokenFailed as error:
                kept.failed, kept.failed_until = str(error), now + _AGAIN_AFTER
                events.TOKEN_FAILED(span, id=next_hop.route, reason=str(error))
                raise
            kept.failed = ""
            kept.token = _text(answer, "access_token")
            life = answer.get("expires_in", _USUAL_LIFE)
            known = isinstance(life, int | float) or (isinstance(life, str) and life.isdigit() and len(life) < 12)
            seconds = min(float(life), _LONGEST_LIFE) if known else _USUAL_LIFE
            kept.until = now + max(seconds - EARLY, seconds / 2)
            events.TOKEN(span, id=next_hop.route, expires=now + seconds)
            return kept.token

    async def _ask(self, next_hop: NextHop, grant: TokenGrant, span: Span) -> dict[str, Any]:
        """One request; its answer, with a good access_token."""
        form = {"client_id": grant.client_id}
        if grant.client_secret is not None:
            form["client_secret"] = grant.client_secret
        if grant.scopes:
            form["scope"] = " ".join(grant.scopes)
        current = None
        if grant.refresh_token is None:
            form["grant_type"] = "client_credentials"
        else:
            current = await asyncio.to_thread(self._refresh_token, next_hop.key, grant.refresh_token)
            form |= {"grant_type": "refresh_token", "refresh_token": current}
        try:
            async with asyncio.timeout(SECONDS):
                answer = await self._post(grant.url, form)
        except TimeoutError:
            raise TokenFailed(f"no token within {SECONDS:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise TokenFailed(f"no token: {type(error).__name__}: {_told(error)}") from None
        if not _is_token(_text(answer, "access_token")):
            raise TokenFailed("no token: the answer has no access_token that can be sent")
        later = _text(answer, "refresh_token")
        if current is not None and later and later != current:
            await self._keep(next_hop, grant.refresh_token or "", later, span)
        return answer

    async def _post(self, url: str, form: dict[str, str]) -> dict[str, Any]:
        context = await self.context() if url.startswith("https:") else True
        connector = aiohttp.TCPConnector(ssl=context, force_close=True, limit=1)
        timeout = aiohttp.ClientTimeout(total=SECONDS)
        headers = {"User-Agent": "relayd", "Accept": "application/json", "Accept-Encoding": "identity"}
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers) as session,
            session.post(url, data=form, allow_redirects=False) as answer,
        ):
            body = bytearray()
            while len(body) <= MAX_ANSWER and (block := await answer.content.read(MAX_ANSWER + 1 - len(body))):
                body += block
            if len(body) > MAX_ANSWER:
                raise TokenFailed(f"no token: the answer is longer than {MAX_ANSWER} octets")
            found = _object(bytes(body))
            if answer.status != 200:
                error = _text(found, "error")[:64]
                why = f" ({error})" if error.isascii() and error.isprintable() and error else ""
                raise TokenFailed(f"no token: the server answered {answer.status}{why}")
            return found

    # The refresh tokens that came later

    def _refresh_token(self, route: str, first: str) -> str:
        entry = self._later.get(route) or self._read().get(route)
        if isinstance(entry, dict) and entry.get("first") == _digest(first) and _text(entry, "token"):
            return _text(entry, "token")
        return first

    async def _keep(self, next_hop: NextHop, first: str, later: str, span: Span) -> None:
        """Durable before the token that came with it is used: the old one may be void already.

        Where that fails it is kept in memory and written with the next one; mail goes on, and an operator is told.
        """
        self._later[next_hop.key] = {"first": _digest(first), "token": later}
        async with self._writing:
            later_ones = dict(self._later)
            try:
                await asyncio.to_thread(self._write, later_ones)
            except OSError as error:
                reason = f"the refresh token could not be kept: {error.strerror or error}"
                events.TOKEN_FAILED(span, id=next_hop.route, reason=reason)
                return
            self._later = {key: each for key, each in self._later.items() if later_ones.get(key) != each}

    def _read(self) -> dict[str, Any]:
        try:
            return _object(self._path.read_bytes())
        except OSError:
            return {}

    def _write(self, entries: dict[str, dict[str, str]]) -> None:
        octets = json.dumps(self._read() | entries).encode()
        beside = self._path.with_name(FILE + ".new")
        beside.unlink(missing_ok=True)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._path)
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _object(octets: bytes) -> dict[str, Any]:
    """The JSON object, or an empty one."""
    try:
        found = json.loads(octets)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _text(values: dict[str, Any], name: str) -> str:
    value = values.get(name)
    return value if isinstance(value, str) else ""


def _is_token(text: str) -> bool:
    """RFC 6750 §2.1: what may stand behind "Bearer"; and no longer than a line of AUTH may be (RFC 4954 §4)."""
    return 0 < len(text) <= 8192 and text.isascii() and text.isprintable() and " " not in text


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _told(error: BaseException) -> str:
    """What an error says, without an address that may hold a secret."""
    return getattr(error, "strerror", None) or "the server could not be asked"
