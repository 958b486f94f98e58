"""TLS contexts of a client: unverified for opportunistic and required TLS, verified for routes that ask for it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence

from relayd.routing.next_hop import NextHop, TlsMode


class TlsContexts:
    """Makes each context once, off the event loop: loading the system's authorities takes tens of milliseconds.

    ca_files: PEM files trusted beside the system's (`queue.outbound.tls.ca-files`); route_ca_files: more of them, by
    route id.
    """

    def __init__(self, ca_files: Sequence[str] = (), route_ca_files: Mapping[str, Sequence[str]] | None = None) -> None:
        self._ca_files = tuple(ca_files)
        self._route_ca_files = {id: tuple(files) for id, files in (route_ca_files or {}).items()}
        self._made: dict[tuple[bool, tuple[str, ...]], ssl.SSLContext] = {}

    async def context(self, next_hop: NextHop) -> ssl.SSLContext:
        """The context for connections to `next_hop`.  Raises OSError when an authority file cannot be read."""
        verified = demanded_mode(next_hop) is TlsMode.VERIFIED
        files: tuple[str, ...] = ()
        if verified:
            files = self._ca_files + self._route_ca_files.get(next_hop.route or "", ())
        made = self._made.get((verified, files))
        if made is None:
            made = await asyncio.to_thread(_verifying, files) if verified else _trusting()
            self._made[verified, files] = made
        return made


def demanded_mode(next_hop: NextHop) -> TlsMode:
    """The TLS that is demanded: a next hop that gets a password must show a valid certificate."""
    return TlsMode.VERIFIED if next_hop.username is not None else next_hop.tls


def _verifying(files: tuple[str, ...]) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
    for file in files:
        context.load_verify_locations(cafile=file)
    return context


def _trusting() -> ssl.SSLContext:
    """Encrypts, whoever the peer is: its name came from an unsigned DNS anyway (RFC 7435)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
