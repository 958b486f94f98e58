"""One post to a webhook: over HTTP, bounded in time and in what is read of the answer; redirects are not followed."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp

from relayd.resolver.answer import Resolver
from relayd.resolver.names import Names
from relayd.routing.mx import is_public
from relayd.webhooks.options import WebhookOptions
from relayd.webhooks.request import signatures

_READ = 64 << 10
"""Octets of an answer that are read; nothing is done with them but to let the connection end well."""

_SHOWN = 200
_MAX_HEADER = 16 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where events are posted, and how.  key: of the signatures; None: not signed.  headers: beside ours.

    throttle, backoff, timeout, discard_after: seconds, as the options of their name.  allow_private: the server may be
    in our own network, for who names it may use that; a URL that a stranger gave must not.
    """

    id: str
    url: str
    key: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    throttle: float = 1.0
    backoff: float = 1.0
    timeout: float = 30.0
    discard_after: float = 3 * 86400.0
    allow_invalid: bool = False
    ca_files: tuple[str, ...] = ()
    allow_private: bool = False

    def __repr__(self) -> str:
        return f"<Endpoint {self.id} {self.shown_url}>"  # no key, no headers, no query

    @property
    def shown_url(self) -> str:
        """The URL without its query, which may hold a token."""
        return self.url.partition("?")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """How it went.  status: of the answer, 0 without one.  reason: why it counts as failed, "" when it was taken."""

    status: int = 0
    reason: str = ""

    @property
    def is_taken(self) -> bool:
        """Whether the server took the events."""
        return not self.reason


def endpoint_of(id: str, options: WebhookOptions) -> Endpoint:
    """The endpoint that the configuration names."""
    headers = []
    for each in options.headers:
        name, _, value = each.partition(": ")
        headers.append((name, value))
    if options.username is not None:
        credentials = f"{options.username}:{options.secret or ''}".encode()
        headers.append(("Authorization", "Basic " + base64.b64encode(credentials).decode()))
    return Endpoint(
        id=id,
        url=options.url,
        key=options.signature_key,
        headers=tuple(headers),
        throttle=options.throttle,
        backoff=options.backoff,
        timeout=options.timeout,
        discard_after=options.discard_after,
        allow_invalid=options.tls_allow_invalid,
        ca_files=options.tls_ca_files,
        allow_private=True,
    )


class Poster:
    """Posts.  resolver: the one in force.  clock: Unix time, for the timestamp that is signed."""

    def __init__(self, resolver: Callable[[], Resolver], clock: Callable[[], float]) -> None:
        self._resolver = resolver
        self._clock = clock

    async def post(self, endpoint: Endpoint, body: bytes) -> Posted:
        """Post once.  Raises nothing but CancelledError."""
        try:
            async with asyncio.timeout(endpoint.timeout):
                return await self._post(endpoint, body)
        except TimeoutError:
            return Posted(reason=f"no answer within {endpoint.timeout:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Posted(reason=(str(error) or type(error).__name__)[:_SHOWN])

    async def _post(self, endpoint: Endpoint, body: bytes) -> Posted:
        if not endpoint.allow_private and (private := _private_literal(endpoint.url)):
            return Posted(reason=f"{private} is a private address")
        connector = aiohttp.TCPConnector(
            ssl=await _context(endpoint) if endpoint.url.startswith("https:") else True,
            resolver=Names(self._resolver(), endpoint.allow_private),
            use_dns_cache=False,
            force_close=True,
        )
        headers = {
            "User-Agent": "relayd",
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
            "X-Relayd-Webhook": endpoint.id,
            **signatures(endpoint.key, body, self._clock()),
            **dict(endpoint.headers),
        }
        async with (
            aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=None),  # ours is around all of it
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                max_line_size=_MAX_HEADER,
                max_field_size=_MAX_HEADER,
            ) as session,
            session.post(endpoint.url, data=body, headers=headers, allow_redirects=False) as answer,
        ):
            left = _READ
            while left > 0 and (block := await answer.content.read(left)):
                left -= len(block)
            if 200 <= answer.status < 300:
                return Posted(status=answer.status)
            if 300 <= answer.status < 400:
                return Posted(status=answer.status, reason=f"it answered {answer.status}: redirects are not followed")
            return Posted(status=answer.status, reason=f"it answered {answer.status}")


def _private_literal(url: str) -> str:
    """The address of a URL that names one which is not public, else ""."""
    host = urlsplit(url).hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return ""
    return "" if is_public(host) else host


async def _context(endpoint: Endpoint) -> ssl.SSLContext:
    """The TLS context; the files are read off the loop, each time, so that changed ones count."""

    def make() -> ssl.SSLContext:
        context = ssl.create_default_context()
        for each in endpoint.ca_files:
            context.load_verify_locations(each)
        if endpoint.allow_invalid:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    return await asyncio.to_thread(make)
