"""AUTH to a smarthost: PLAIN, LOGIN, CRAM-MD5 with a password; OAUTHBEARER and XOAUTH2 with a token (RFC 4954).

aiosmtplib speaks them all but OAUTHBEARER (RFC 7628), which is here.  Its `login` is not used: it would try one
mechanism after the other, and so lock accounts out.  A token that is refused is got anew once, and tried on the same
connection.  Only reached where the host proved its name.
"""

from __future__ import annotations

import base64
import time
from typing import Protocol

import aiosmtplib
from aiosmtplib import errors

from relayd.events import delivery as events
from relayd.events.event import Span
from relayd.routing.next_hop import NextHop
from relayd.smtp.extension import PeerExtensions

BY_PASSWORD = ("PLAIN", "LOGIN", "CRAM-MD5")
BY_TOKEN = ("OAUTHBEARER", "XOAUTH2")


class NoMechanism(Exception):
    """The peer offers nothing that the route may use; the text says what."""


class TokenSource(Protocol):
    """Who has tokens for a route."""

    async def token(self, next_hop: NextHop, span: Span, *, instead_of: str = "") -> str:
        """A token that is good now; `instead_of`: one that was refused.  Raises TokenFailed."""


class TokenFailed(Exception):
    """No token could be had; the text says why, and holds no secret."""


async def sign_in(
    client: aiosmtplib.SMTP, offered: PeerExtensions, next_hop: NextHop, tokens: TokenSource | None, span: Span
) -> None:
    """Sign in as the next hop's user.

    Raises NoMechanism, TokenFailed, and what aiosmtplib raises: SMTPAuthenticationError with the peer's refusal.
    """
    started = time.monotonic()
    mechanism = _mechanism(offered, next_hop)
    if next_hop.grant is None:
        await _by_password(client, mechanism, next_hop.username or "", next_hop.password or "")
    else:
        await _by_token(client, mechanism, next_hop, tokens, span)
    events.AUTH(span, hostname=next_hop.host, details=mechanism, elapsed=time.monotonic() - started)


def _mechanism(offered: PeerExtensions, next_hop: NextHop) -> str:
    wanted = next_hop.mechanisms or (BY_PASSWORD if next_hop.grant is None else BY_TOKEN)
    found = next((each for each in wanted if each in offered.auth), None)
    if found is None:
        raise NoMechanism(f"AUTH {' or '.join(wanted)} is not offered")
    return found


async def _by_password(client: aiosmtplib.SMTP, mechanism: str, username: str, password: str) -> None:
    if mechanism == "PLAIN":
        await client.auth_plain(username, password)
    elif mechanism == "LOGIN":
        await client.auth_login(username, password)
    else:
        await client.auth_crammd5(username, password)


async def _by_token(
    client: aiosmtplib.SMTP, mechanism: str, next_hop: NextHop, tokens: TokenSource | None, span: Span
) -> None:
    if tokens is None:
        raise TokenFailed("there is nobody to ask for tokens")
    username = next_hop.username or ""
    speak = _oauthbearer if mechanism == "OAUTHBEARER" else _xoauth2
    token = await tokens.token(next_hop, span)
    try:
        await speak(client, username, token)
    except errors.SMTPAuthenticationError as error:
        fresh = await tokens.token(next_hop, span, instead_of=token)
        if fresh == token or not client.is_connected or error.code < 500:
            raise
        await speak(client, username, fresh)


async def _xoauth2(client: aiosmtplib.SMTP, username: str, token: str) -> None:
    await client.auth_xoauth2(username, token)


async def _oauthbearer(client: aiosmtplib.SMTP, username: str, token: str) -> None:
    """RFC 7628 §3.1; a refusal comes as a challenge that a lone ^A answers, and then as a reply (§3.2.3)."""
    name = username.replace("=", "=3D").replace(",", "=2C")
    message = f"n,a={name},\x01auth=Bearer {token}\x01\x01"
    response = await client.execute_command(b"AUTH", b"OAUTHBEARER", base64.b64encode(message.encode()))
    if response.code == 334:
        response = await client.execute_command(base64.b64encode(b"\x01"))
    if response.code != 235:
        raise errors.SMTPAuthenticationError(response.code, response.message)
