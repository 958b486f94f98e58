"""The addresses that web servers are connected to: from our resolver, and none of our own network unless allowed."""

from __future__ import annotations

import socket

from aiohttp.abc import AbstractResolver, ResolveResult

from relayd.resolver.answer import NoData, NoName, ResolveError, Resolver
from relayd.routing.mx import is_public

_ADDRESSES = 4
"""Of each family."""


class Names(AbstractResolver):
    """Our resolver in the form that aiohttp's client takes, for its connector.

    allow_private: addresses that are not public count too; else a name must not make us speak to our own network.
    aiohttp asks nobody about a URL with an address in place of a name: see `is_public`.
    """

    def __init__(self, resolver: Resolver, allow_private: bool) -> None:
        self._resolver = resolver
        self._allow_private = allow_private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses to try; raises OSError."""
        found: list[ResolveResult] = []
        reason = f"{host} has no address"
        for version, kind in ((4, socket.AF_INET), (6, socket.AF_INET6)):
            if family not in (socket.AF_UNSPEC, kind):
                continue
            try:
                answer = await self._resolver.addresses(host, version)
            except (NoName, NoData):
                continue
            except ResolveError as error:
                reason = str(error)
                continue
            for address in answer.records[:_ADDRESSES]:
                if not self._allow_private and not is_public(address):
                    reason = f"{host} has the private address {address} (queue.outbound.allow-private)"
                    continue
                found.append(
                    ResolveResult(
                        hostname=host, host=address, port=port, family=kind, proto=0, flags=socket.AI_NUMERICHOST
                    )
                )
        if not found:
            raise OSError(None, reason)  # aiohttp shows the second
        return found

    async def close(self) -> None:
        """Nothing to close."""
