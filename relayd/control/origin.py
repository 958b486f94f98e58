"""Where a request comes from, as far as it can be known.

A peer among the listener's trusted proxies is believed: the client is then the rightmost address of X-Forwarded-For
that is no such proxy.  Of anybody else those headers say one thing only, that the request may come from elsewhere, and
so it has no privilege of this machine.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import web
from multidict import CIMultiDictProxy

from relayd.options import Network
from relayd.reputation.bans import Address, site_of

_FORWARDING = (
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Forwarded-Server",
    "X-Real-IP",
    "Forwarded",
    "Via",
)
_HOPS = 32
UNIX = "unix"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a request comes from.

    address: of the client; None on a Unix socket, or when a proxy did not say.  is_unix: it came by a Unix socket.
    is_local: from this machine, with no sign of a proxy in between.  is_tls: the client speaks TLS.
    """

    address: Address | None
    is_unix: bool
    is_local: bool
    is_tls: bool

    @property
    def is_private(self) -> bool:
        """Nobody between the client and us can read along."""
        return self.is_local or self.is_tls

    @property
    def site(self) -> Network | str:
        """What counts as one client: the address, of IPv6 its /64."""
        return UNIX if self.address is None else site_of(self.address)

    def __str__(self) -> str:
        return UNIX if self.address is None else str(self.address)


ORIGIN = web.RequestKey("origin", Origin)
"""Where the request comes from."""


def find_origin(
    peer: Address | None,
    headers: CIMultiDictProxy[str],
    trusted: Sequence[Network],
    *,
    is_tls: bool = False,
    is_proxied: bool = False,
) -> Origin:
    """The origin of a request with `headers` from `peer` (None: a Unix socket).

    is_tls: the connection is.  is_proxied: it began with a PROXY header, from which `peer` is.
    """
    forwarded = is_proxied or any(name in headers for name in _FORWARDING)
    if peer is None:
        return Origin(address=None, is_unix=True, is_local=not forwarded, is_tls=is_tls)
    if forwarded and _among(peer, trusted):
        protocols = [each.strip().lower() for each in ",".join(headers.getall("X-Forwarded-Proto", [])).split(",")]
        address = _client(peer, headers.getall("X-Forwarded-For", []), trusted)
        return Origin(
            address=address,
            is_unix=False,
            is_local=False,
            is_tls=all(each == "https" for each in protocols) if protocols != [""] else is_tls,
        )
    return Origin(address=peer, is_unix=False, is_local=peer.is_loopback and not forwarded, is_tls=is_tls)


def _client(peer: Address, forwarded: Sequence[str], trusted: Sequence[Network]) -> Address:
    """The rightmost address that is no trusted proxy; the last proxy's own when what it says is no address."""
    found = peer
    for text in ",".join(forwarded).rsplit(",", _HOPS)[::-1][:_HOPS]:
        hop = parse_address(text)
        if hop is None:
            break
        found = hop
        if not _among(hop, trusted):
            break
    return found


def _among(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def parse_address(text: str) -> Address | None:
    """An address, perhaps with a port or in brackets, as proxies write it; an IPv4 address in IPv6 is itself."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found
