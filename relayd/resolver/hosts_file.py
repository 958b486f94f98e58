"""Names that this machine knows by itself: its hosts file, and `localhost` (RFC 6761 §6.3).

For next hops that an operator wrote down, never for hosts that come out of MX records: those are the DNS's to say.
"""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path

from relayd.resolver.answer import Answer, Mx, NoData, Resolver, Tlsa

HOSTS_FILE = Path("/etc/hosts")

_MAX_SIZE = 4 << 20
_LOOPBACK = ("127.0.0.1", "::1")

_Stamp = tuple[int, int, int]


class HostsFile:
    """The addresses in a hosts file (hosts(5)).  It is read again when it changes; past 4 MiB it is cut off.

    An unreadable file is an empty one, as for the C library.
    """

    def __init__(self, path: Path = HOSTS_FILE) -> None:
        self._path = path
        self._stamp: _Stamp | None = None
        self._names: dict[str, list[str]] = {}

    def addresses(self, name: str) -> tuple[str, ...]:
        """The addresses of `name`, both families, in the order of the file; () when it is not there."""
        stamp = self._look()
        if stamp != self._stamp:
            self._names = self._read() if stamp is not None else {}
            self._stamp = stamp
        return tuple(self._names.get(_plain(name), ()))

    def _look(self) -> _Stamp | None:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return (found.st_mtime_ns, found.st_size, found.st_ino)

    def _read(self) -> dict[str, list[str]]:
        try:
            with self._path.open("rb") as file:
                text = file.read(_MAX_SIZE).decode("utf-8", "replace")
        except OSError:
            return {}
        names: dict[str, list[str]] = {}
        for line in text.splitlines():
            words = line.partition("#")[0].split()
            if len(words) < 2:
                continue
            try:
                address = str(ipaddress.ip_address(words[0]))
            except ValueError:
                continue
            for name in words[1:]:
                known = names.setdefault(_plain(name), [])
                if address not in known:
                    known.append(address)
        return names


class LocalFirst:
    """A Resolver whose addresses come from the hosts file where it has the name, else from `resolver`.

    `localhost` and names below it are the loopback addresses when the file does not say otherwise; the DNS is never
    asked for them (RFC 6761 §6.3).
    """

    def __init__(self, resolver: Resolver, file: HostsFile) -> None:
        self._resolver = resolver
        self._file = file

    async def mx(self, name: str) -> Answer[Mx]:
        """As `resolver`."""
        return await self._resolver.mx(name)

    async def txt(self, name: str) -> Answer[bytes]:
        """As `resolver`."""
        return await self._resolver.txt(name)

    async def ptr(self, address: str) -> Answer[str]:
        """As `resolver`."""
        return await self._resolver.ptr(address)

    async def tlsa(self, name: str) -> Answer[Tlsa]:
        """As `resolver`."""
        return await self._resolver.tlsa(name)

    async def addresses(self, name: str, family: int) -> Answer[str]:
        """A name of the hosts file has the addresses there and no others."""
        known = self._file.addresses(name) or (_LOOPBACK if _is_localhost(name) else ())
        if not known:
            return await self._resolver.addresses(name, family)
        of_family = tuple(each for each in known if (":" in each) == (family == 6))
        if not of_family:
            raise NoData(f"{name} has no IPv{family} address in the hosts file")
        return Answer(of_family, canonical=_plain(name))


def _plain(name: str) -> str:
    return name.lower().rstrip(".")


def _is_localhost(name: str) -> bool:
    plain = _plain(name)
    return plain == "localhost" or plain.endswith(".localhost")
