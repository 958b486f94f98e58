"""Where a filter listens: a Unix socket or a TCP port."""

from __future__ import annotations

import asyncio
import re
import socket
from dataclasses import dataclass
from typing import Any

from relayd.filters.channel import Channel
from relayd.filters.peer_tls import PeerTls
from relayd.options import Kind, OptionError, Raw

_TCP = re.compile(r"(?:tcp:|inet6?:)?(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^\s:@/\[\]]+)):(?P<port>\d{1,5})")
_SENDMAIL = re.compile(r"inet6?:(?P<port>\d{1,5})@(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^\s@/\[\]]+))")
_UNIX = re.compile(r"(?:unix|local):(?P<path>/\S+)")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """path: of a Unix socket; "" for the TCP `port` of `host`."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    async def connect(
        self, limit: int = 1 << 16, tls: PeerTls | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection; limit: octets of a line that is waited for.  tls: over TCP alone.  OSError."""
        if self.path:
            return await asyncio.open_unix_connection(self.path, limit=limit)
        context = None if tls is None else await tls.context()
        return await asyncio.open_connection(self.host, self.port, limit=limit, ssl=context)

    async def open_channel(self, tls: PeerTls | None = None) -> Channel:
        """A connection for who must read what was said before a write failed.  OSError."""
        channel = Channel(await self._open_socket())
        if tls is not None and not self.path:
            try:
                await channel.begin_tls(await tls.context(), self.host)
            except BaseException:
                channel.close()
                raise
        return channel

    async def _open_socket(self) -> socket.socket:
        loop = asyncio.get_running_loop()
        places: list[tuple[int, Any]] = [(socket.AF_UNIX, self.path)]
        if not self.path:
            found = await loop.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
            places = [(each[0], each[4]) for each in found]
        problem: OSError | None = None
        for kind, place in places:
            opened = socket.socket(kind, socket.SOCK_STREAM)
            opened.setblocking(False)
            try:
                await loop.sock_connect(opened, place)
                return opened
            except OSError as error:
                opened.close()
                problem = error
            except BaseException:
                opened.close()
                raise
        raise problem or OSError(f"{self} has no address")


def parse_endpoint(value: Raw) -> Endpoint:
    """From "unix:/path", "host:port" or "[::1]:port"; also as milters are used to: "local:/path", "inet:port@host".

    OptionError.
    """
    if isinstance(value, str):
        text = value.strip()
        if unix := _UNIX.fullmatch(text):
            return Endpoint(path=unix["path"])
        for pattern in (_SENDMAIL, _TCP):
            found = pattern.fullmatch(text)
            if found is not None and 0 < int(found["port"]) < 65536:
                return Endpoint(host=found["v6"] or found["host"], port=int(found["port"]))
    raise OptionError('expected an address such as "unix:/run/clamav/clamd.ctl" or "127.0.0.1:3310"')


ENDPOINT = Kind("address", parse_endpoint)
