"""Fetches an MTA-STS policy by HTTPS (RFC 8461 §3.3).

The certificate must be valid for `mta-sts.<domain>`; nothing but a 200 of text/plain counts, redirects are not
followed, and no more than 64 KB are read.  Addresses come from our resolver, and private ones are refused where mail to
them is: the name is a stranger's, and must not make us speak to our own network.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable

import aiohttp

from relayd.resolver.answer import Resolver
from relayd.resolver.names import Names
from relayd.routing.mta_sts import MAX_POLICY, BadPolicy, Policy, parse_policy, policy_url

_SECONDS = 30.0
_CONNECT = 10.0


class FetchFailed(Exception):
    """The policy could not be had; the text says why.  certificate: the web server's is not valid."""

    def __init__(self, text: str, *, certificate: bool = False) -> None:
        super().__init__(text)
        self.certificate = certificate


class PolicyFetcher:
    """context: makes the TLS context, verified.  allow_private: `queue.outbound.allow-private`.  port: 443, tests
    change it.  seconds: for one policy, all in all.
    """

    def __init__(
        self,
        resolver: Resolver,
        context: Callable[[], Awaitable[ssl.SSLContext]],
        *,
        allow_private: bool,
        port: int = 443,
        seconds: float = _SECONDS,
    ) -> None:
        self._resolver = resolver
        self._context = context
        self._allow_private = allow_private
        self._port = port
        self._seconds = seconds

    async def fetch(self, domain: str) -> Policy:
        """The policy of a domain.  Raises FetchFailed, and BadPolicy when what came is none."""
        try:
            async with asyncio.timeout(self._seconds):
                return parse_policy(await self._body(policy_url(domain, self._port)))
        except BadPolicy:
            raise
        except TimeoutError:
            raise FetchFailed(f"no policy within {self._seconds:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            certificate = isinstance(error, aiohttp.ClientConnectorCertificateError)
            raise FetchFailed(str(error) or type(error).__name__, certificate=certificate) from error

    async def _body(self, url: str) -> bytes:
        names = Names(self._resolver, self._allow_private)
        connector = aiohttp.TCPConnector(
            ssl=await self._context(), resolver=names, use_dns_cache=False, force_close=True, limit=4
        )
        timeout = aiohttp.ClientTimeout(total=self._seconds, sock_connect=_CONNECT)
        headers = {"User-Agent": "relayd", "Accept": "text/plain", "Accept-Encoding": "identity"}
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers) as session,
            session.get(url, allow_redirects=False) as answer,
        ):
            if answer.status != 200:
                raise FetchFailed(f"the web server answered {answer.status}")
            if answer.content_type != "text/plain":
                raise FetchFailed(f"the web server sent {answer.content_type[:64]}, not text/plain")
            body = bytearray()
            while len(body) <= MAX_POLICY:
                block = await answer.content.read(MAX_POLICY + 1 - len(body))
                if not block:
                    break
                body += block
            return bytes(body)
