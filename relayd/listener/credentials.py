"""AUTH (RFC 4954): the exchanges of its mechanisms; whether a secret is right is asked of reception.

PLAIN (RFC 4616), LOGIN, SCRAM-SHA-256 (RFC 5802, RFC 7677), OAUTHBEARER (RFC 7628) and XOAUTH2.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from relayd.events import smtp
from relayd.listener.protocol import LineTooLong, SessionOver
from relayd.listener.raw import HIDDEN
from relayd.mail.reply import Reply
from relayd.reception.sign_in import LOGIN, OAUTHBEARER, PLAIN, SCRAM, TEMPORARY, UNDECODABLE, WRONG, XOAUTH2

if TYPE_CHECKING:
    from relayd.listener.session import RelaySMTP

CANCELLED = Reply(501, "5.7.0", "Authentication cancelled")
TOO_LONG = Reply(500, "5.5.6", "Authentication exchange line is too long")
TOO_MANY = Reply(421, "4.7.0", "Too many failed sign-ins")

_BEARER = re.compile(rb"(?:^|\x01)auth=Bearer ([^\x01 ]+)(?:\x01|$)", re.IGNORECASE)
_GS2 = re.compile(rb"(?:n|y),(?:a=([^,\x01]*))?,(?=\x01)")
_USER = re.compile(rb"user=([^\x01]*)\x01")

_INVALID_TOKEN = b'{"status":"invalid_token"}'


class _Refused(Exception):
    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply))
        self.reply = reply


def mechanisms(session: RelaySMTP) -> tuple[str, ...]:
    """What is offered: nothing where a secret would cross a wire in clear."""
    client = session.client
    if client.role != "submission" or client.account is not None:
        return ()
    return session.reception.mechanisms(client) if is_private(session) else ()


def is_private(session: RelaySMTP) -> bool:
    """Nobody between the client and us can read along."""
    return session.client.tls is not None or session.is_local


async def authenticate(session: RelaySMTP, argument: str) -> None:
    """AUTH"""
    session.auth_tried = True
    mechanism, _, initial = argument.partition(" ")
    mechanism = mechanism.upper()
    refusal = _out_of_order(session, mechanism)
    if refusal is not None:
        session.refuse(refusal)
        return
    session.must_be_last("after AUTH")
    try:
        refusal = None
        if session.plugins:
            refusal = await session.plugins.ask(session, "AUTH", [mechanism])
        reply = refusal or await _EXCHANGES[mechanism](session, initial.strip())
    except _Refused as refused:
        session.refuse(refused.reply)
        return
    except SessionOver:
        raise
    except Exception as error:
        session.report(error)
        session.write(TEMPORARY.encode())
        return
    session.write(reply.encode())
    if reply.is_positive:
        if session.session is not None:
            session.session.authenticated = True
        return
    if reply.is_permanent:
        session.errors += 1
        session.auth_failures += 1
        if session.auth_failures >= session.setting.errors.auth_failures:
            raise SessionOver("", TOO_MANY)


async def _by_plain(session: RelaySMTP, initial: str) -> Reply:
    login, secret = _plain(_decode(initial) if initial else await _prompt(session, b""))
    return await session.reception.authenticate(session.client, login, secret)


async def _by_login(session: RelaySMTP, initial: str) -> Reply:
    name = _decode(initial) if initial else await _prompt(session, b"Username:")
    login, secret = _text(name), _text(await _prompt(session, b"Password:"))
    return await session.reception.authenticate(session.client, login, secret)


async def _by_scram(session: RelaySMTP, initial: str) -> Reply:
    sign_ins, client = session.reception.sign_ins, session.client
    scram = await sign_ins.begin_scram(client, _decode(initial) if initial else await _prompt(session, b""))
    if isinstance(scram, Reply):
        return scram
    proof = sign_ins.prove(scram, await _prompt(session, scram.first))
    if isinstance(proof, Reply):
        return proof
    if proof and await _prompt(session, proof) != b"":  # RFC 4954 section 4: it is answered by nothing
        raise _Refused(UNDECODABLE)
    return sign_ins.conclude(client, scram, proved=bool(proof))


async def _by_oauthbearer(session: RelaySMTP, initial: str) -> Reply:
    return await _by_token(session, initial, _GS2)


async def _by_xoauth2(session: RelaySMTP, initial: str) -> Reply:
    return await _by_token(session, initial, _USER)


async def _by_token(session: RelaySMTP, initial: str, head: re.Pattern[bytes]) -> Reply:
    """A token behind a head that may name the user; a refusal comes as a challenge first (RFC 7628 section 3.2.3)."""
    message = _decode(initial) if initial else await _prompt(session, b"")
    user, token = head.match(message), _BEARER.search(message)
    if user is None or token is None:
        raise _Refused(UNDECODABLE)
    login = _text(user[1] or b"").replace("=2C", ",").replace("=3D", "=")
    reply = await session.reception.sign_ins.by_token(session.client, login, _text(token[1]))
    if reply.is_permanent:
        await _prompt(session, _INVALID_TOKEN)
    return reply


_EXCHANGES: dict[str, Callable[[RelaySMTP, str], Awaitable[Reply]]] = {
    PLAIN: _by_plain,
    LOGIN: _by_login,
    SCRAM: _by_scram,
    OAUTHBEARER: _by_oauthbearer,
    XOAUTH2: _by_xoauth2,
}


def _out_of_order(session: RelaySMTP, mechanism: str) -> Reply | None:
    client = session.client
    if not mechanism:
        return Reply(501, "5.5.4", "Syntax: AUTH mechanism [initial-response]")
    known = client.role == "submission" and mechanism in _EXCHANGES
    if not known or (client.account is None and mechanism not in session.reception.mechanisms(client)):
        smtp.AUTH_MECHANISM_NOT_SUPPORTED(client.span, type_=mechanism[:40])
        return Reply(504, "5.5.4", "Authentication mechanism is not offered")
    if not session.greeted or not client.esmtp:
        smtp.DID_NOT_SAY_EHLO(client.span)
        return Reply(503, "5.5.1", "Say EHLO first")
    if client.account is not None:
        smtp.ALREADY_AUTHENTICATED(client.span)
        return Reply(503, "5.5.1", "Already authenticated")
    if session.tx is not None:
        return Reply(503, "5.5.1", "AUTH is not allowed in a transaction")
    if not is_private(session):
        smtp.AUTH_NOT_ALLOWED(client.span, reason="no TLS")
        return Reply(538, "5.7.11", "Encryption is required, use STARTTLS first")
    return None


async def _prompt(session: RelaySMTP, text: bytes) -> bytes:
    session.write(b"334 " + base64.b64encode(text) + b"\r\n")
    try:
        line = await session.line()
    except LineTooLong:
        smtp.AUTH_EXCHANGE_TOO_LONG(session.client.span, limit=12288)
        raise _Refused(TOO_LONG) from None
    if smtp.RAW_INPUT.wanted:
        smtp.RAW_INPUT(session.client.span, size=None, contents=HIDDEN)
    session.must_be_last("after an AUTH response")
    if line == b"*\r\n":
        raise _Refused(CANCELLED)
    if not line.endswith(b"\r\n"):
        raise _Refused(UNDECODABLE)
    try:
        return _decode(line[:-2].decode("ascii"))
    except UnicodeDecodeError:
        raise _Refused(UNDECODABLE) from None


def _decode(text: str) -> bytes:
    if text == "=":  # RFC 4954 §4: an initial response that is empty
        return b""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _Refused(UNDECODABLE) from None


def _plain(message: bytes) -> tuple[str, str]:
    """RFC 4616: [authzid] NUL authcid NUL passwd; to act as another is nobody's right here."""
    parts = message.split(b"\0")
    if len(parts) != 3 or not parts[1]:
        raise _Refused(UNDECODABLE)
    authorize, login, secret = (_text(part) for part in parts)
    if authorize and authorize != login:
        raise _Refused(WRONG)
    return login, secret


def _text(octets: bytes) -> str:
    try:
        return octets.decode()
    except UnicodeDecodeError:
        raise _Refused(UNDECODABLE) from None
