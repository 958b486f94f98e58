"""Which hosts are this server: a name, or an address and port that it listens on (RFC 5321 §5.1)."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Ourselves:
    """hostname: our own name.  binds: (address, port) of each listener; "0.0.0.0" and "::" are every own address."""

    def __init__(self, hostname: str, binds: Iterable[tuple[str, int]]) -> None:
        self._hostname = hostname.lower().rstrip(".")
        self._exact: set[tuple[_Address, int]] = set()
        self._wildcards: set[int] = set()
        for host, port in binds:
            address = ipaddress.ip_address(host)
            if address.is_unspecified:
                self._wildcards.add(port)
            else:
                self._exact.add((address, port))

    def __call__(self, host: str, port: int) -> bool:
        """Whether `host`, a name or an IP address, is this server at `port`."""
        try:
            address: _Address = ipaddress.ip_address(host.strip("[]"))
        except ValueError:
            return host.lower().rstrip(".") == self._hostname
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return (address, port) in self._exact or (port in self._wildcards and is_own_address(address))


def is_own_address(address: _Address) -> bool:
    """Whether this machine has the address: what it would send from to reach its own address is that address.

    Nothing is sent.  All of 127.0.0.0/8 is ours, though the kernel sends from 127.0.0.1.
    """
    if address.is_loopback or address.is_unspecified:
        return True
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), 9))
            return ipaddress.ip_address(probe.getsockname()[0].partition("%")[0]) == address
    except OSError:  # no road there: not ours
        return False
