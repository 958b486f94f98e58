"""AUTH PLAIN and AUTH LOGIN (RFC 4954, RFC 4616): the exchange; whether a secret is right is asked of reception."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from relayd.events import smtp
from relayd.listener.protocol import LineTooLong, SessionOver
from relayd.mail.reply import Reply

if TYPE_CHECKING:
    from relayd.listener.session import RelaySMTP

MECHANISMS = ("PLAIN", "LOGIN")
CANCELLED = Reply(501, "5.7.0", "Authentication cancelled")
UNDECODABLE = Reply(501, "5.5.2", "Cannot decode the response")
WRONG = Reply(535, "5.7.8", "Authentication credentials invalid")
TOO_LONG = Reply(500, "5.5.6", "Authentication exchange line is too long")
TOO_MANY = Reply(421, "4.7.0", "Too many failed sign-ins")
TEMPORARY = Reply(454, "4.7.0", "Temporary authentication failure")


class _Refused(Exception):
    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply))
        self.reply = reply


def mechanisms(session: RelaySMTP) -> tuple[str, ...]:
    """What is offered: nothing where a secret would cross a wire in clear."""
    client = session.client
    if client.role != "submission" or client.account is not None:
        return ()
    return MECHANISMS if is_private(session) else ()


def is_private(session: RelaySMTP) -> bool:
    """Nobody between the client and us can read along."""
    return session.client.tls is not None or session.is_local


async def authenticate(session: RelaySMTP, argument: str) -> None:
    """AUTH"""
    client = session.client
    mechanism, _, initial = argument.partition(" ")
    mechanism = mechanism.upper()
    refusal = _out_of_order(session, mechanism)
    if refusal is not None:
        session.refuse(refusal)
        return
    session.must_be_last("after AUTH")
    try:
        if mechanism == "PLAIN":
            login, secret = _plain(_decode(initial.strip()) if initial else await _prompt(session, b""))
        else:
            name = _decode(initial.strip()) if initial else await _prompt(session, b"Username:")
            login, secret = _text(name), _text(await _prompt(session, b"Password:"))
    except _Refused as refused:
        session.refuse(refused.reply)
        return
    try:
        refusal = None
        if session.plugins:
            refusal = await session.plugins.ask(session, "AUTH", [mechanism])
        reply = refusal or await session.reception.authenticate(client, login, secret)
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


def _out_of_order(session: RelaySMTP, mechanism: str) -> Reply | None:
    client = session.client
    if not mechanism:
        return Reply(501, "5.5.4", "Syntax: AUTH mechanism [initial-response]")
    if client.role != "submission" or mechanism not in MECHANISMS:
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
