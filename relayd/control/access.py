"""Who asks: the credentials of a request.

A peer of the Unix socket whose uid is 0 or the daemon's own is an administrator.  Anyone else says Basic credentials:
those of the fallback administrator, or of an account with the role `admin`.  The check of a secret is slow by design
and happens elsewhere (`Authenticate`), off the loop.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from relayd.control.answers import FORBIDDEN, TOO_MANY, UNAUTHORIZED, Problem
from relayd.control.signing_in import Identity, local_peer
from relayd.directory.directory import TooBusy

ADMIN = "admin"


class Principal(Protocol):
    """An account as the directory answers it."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def roles(self) -> Sequence[str]:
        """Its roles."""


Authenticate = Callable[[str, str], Awaitable[Principal | None]]
"""The principal of a login and secret, None when they are not good; TooBusy when too many wait."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.  permissions: None for all of them.  identity: who signed in, None where that is not known."""

    name: str
    permissions: frozenset[str] | None = frozenset()
    identity: Identity | None = None

    def may(self, permission: str) -> bool:
        """Whether the caller has `permission`."""
        return self.permissions is None or permission in self.permissions


class Gate:
    """Finds the caller of a request.  uid: the daemon's own."""

    def __init__(self, authenticate: Authenticate, uid: int | None = None) -> None:
        self._authenticate = authenticate
        self._uid = os.geteuid() if uid is None else uid

    async def caller(self, request: web.Request) -> Caller:
        """Who asks; raises Problem 401 without good credentials, 403 with those of no administrator,
        429 when too many sign-ins wait."""
        peer = peer_uid(request)
        if peer is not None and peer in (0, self._uid):
            local = local_peer("root" if peer == 0 else "local")
            return Caller(local.name, None, local)
        given = basic(request.headers.get("Authorization", ""))
        if given is None:
            raise Problem(*UNAUTHORIZED)
        try:
            principal = await self._authenticate(*given)
        except TooBusy:
            raise Problem(*TOO_MANY) from None
        if principal is None:
            raise Problem(*UNAUTHORIZED)
        if ADMIN not in principal.roles:
            raise Problem(*FORBIDDEN)
        return Caller(principal.name, None)


def basic(header: str) -> tuple[str, str] | None:
    """Login (trimmed, lower case) and secret of an Authorization header, None when it holds none."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        login, colon, secret = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return (login.strip().lower(), secret) if colon else None


def peer_uid(request: web.Request) -> int | None:
    """The uid of a peer on a Unix socket, None on TCP."""
    transport = request.transport
    plain = transport.get_extra_info("socket") if transport is not None else None
    if plain is None or plain.family != socket.AF_UNIX:
        return None
    # uvloop's stand-in for a socket has no getsockopt; a duplicate of the descriptor does
    with socket.socket(fileno=os.dup(plain.fileno())) as duplicate:
        credentials = duplicate.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])


def is_local(request: web.Request) -> bool:
    """Whether this machine asks: a Unix socket, or loopback without a sign of a proxy in between."""
    transport = request.transport
    if transport is None:
        return False
    plain = transport.get_extra_info("socket")
    if plain is not None and plain.family == socket.AF_UNIX:
        return True
    if "X-Forwarded-For" in request.headers or "Forwarded" in request.headers:
        return False
    try:
        address = ipaddress.ip_address(remote_address(request))
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def remote_address(request: web.Request) -> str:
    """The peer's address, "unix" on a Unix socket."""
    peer = request.transport.get_extra_info("peername") if request.transport is not None else None
    return str(peer[0]).partition("%")[0] if isinstance(peer, tuple) else "unix"
