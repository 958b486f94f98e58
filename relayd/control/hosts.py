"""Whether a request is meant for us: the Host header.

A web page may let its own name point to this machine (DNS rebinding); its requests then carry that name, and nothing
else tells them from those of the operator's browser.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from relayd.control.answers import Problem
from relayd.control.origin import parse_address
from relayd.reputation.bans import Address

_BAD_HOST = (400, "Bad Request", "The request needs exactly one Host header.")
_MISDIRECTED = (
    421,
    "Misdirected Request",
    "This server does not go by that name; list it in server.http.hosts if it should.",
)


class Hosts:
    """Names that are ours, without port, in any case."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(_name(each) for each in names) | {"localhost"}

    def check(self, given: Sequence[str], own: Address | None, is_http10: bool) -> None:
        """Raise Problem 400 or 421 unless the Host headers `given` name us.

        own: the address at which the request arrived.  A client of HTTP/1.0 need not send the header.
        """
        if not given and is_http10:
            return
        if len(given) != 1 or not given[0].strip():
            raise Problem(*_BAD_HOST)
        name = _name(given[0])
        if name in self._names:
            return
        address = parse_address(name)
        if address is None or (address != own and str(address) not in self._names):
            raise Problem(*_MISDIRECTED)


def _name(host: str) -> str:
    """The name or address of a Host header, without port and final dot, in lower case."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    name = host.partition(":")[0] if host.count(":") == 1 else host
    return name.removesuffix(".")
