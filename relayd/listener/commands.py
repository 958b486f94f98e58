"""The verbs of SMTP and LMTP, but for DATA, BDAT (data.py) and AUTH (credentials.py).

A verb is a function of the session and the argument.  It checks the order of commands (RFC 5321 §4.1.4), asks
reception, and answers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from relayd.events import smtp
from relayd.listener.credentials import authenticate, mechanisms
from relayd.listener.data import receive_chunk, receive_data
from relayd.listener.protocol import SessionOver
from relayd.listener.refused_lines import shown
from relayd.listener.xclient import NOT_ALLOWED, XclientError, apply_xclient, parse_xclient
from relayd.mail.reply import Reply
from relayd.smtp.command import SyntaxRefused, parse_mail, parse_rcpt
from relayd.smtp.extension import Extensions

if TYPE_CHECKING:
    from relayd.listener.session import RelaySMTP

SENDER_OK = b"250 2.1.0 Sender OK\r\n"
RESET = b"250 2.0.0 OK\r\n"
HELO_FIRST = Reply(503, "5.5.1", "Say EHLO first")
LHLO_FIRST = Reply(503, "5.5.1", "Say LHLO first")
MAIL_FIRST = Reply(503, "5.5.1", "Send MAIL first")
NESTED = Reply(503, "5.5.1", "A transaction is already open")
AUTH_FIRST = Reply(530, "5.7.0", "Authentication required")
TLS_FIRST = Reply(530, "5.7.0", "Must issue a STARTTLS command first")
HEALTH_CHECK = Reply(550, "5.7.1", "The proxy names no client, so no mail is taken")
CHUNKS_OPEN = Reply(503, "5.5.1", "BDAT is under way")
HELP_TEXT = "Commands: EHLO HELO LHLO MAIL RCPT DATA BDAT RSET NOOP VRFY EXPN HELP STARTTLS AUTH QUIT"
_REPLIES = 256
"""Answers to EHLO that a listener keeps."""

_NOT_SMTP = frozenset({"GET", "POST", "PUT", "HEAD", "CONNECT", "OPTIONS"})


def unknown(session: RelaySMTP, verb: str, line: bytes) -> None:
    """A verb that is not in the table."""
    smtp.INVALID_COMMAND(session.client.span, contents=shown(line, after_auth=session.auth_tried))
    if verb in _NOT_SMTP:  # a browser was made to talk to us; its body must not be read as commands
        raise SessionOver("", Reply(554, "5.5.1", "This is not a web server"))
    session.refuse(Reply(500, "5.5.1", "Command not recognized"))


async def ehlo(session: RelaySMTP, argument: str) -> None:
    """EHLO"""
    await _hello(session, argument, "EHLO")


async def helo(session: RelaySMTP, argument: str) -> None:
    """HELO"""
    await _hello(session, argument, "HELO")


async def lhlo(session: RelaySMTP, argument: str) -> None:
    """LHLO (RFC 2033 §4.1)"""
    await _hello(session, argument, "LHLO")


async def _hello(session: RelaySMTP, argument: str, verb: str) -> None:
    """Replies to these three carry no enhanced code (RFC 2034 §4)."""
    client = session.client
    if (verb == "LHLO") != (client.protocol == "lmtp"):
        lmtp = client.protocol == "lmtp"
        (smtp.LHLO_EXPECTED if lmtp else smtp.EHLO_EXPECTED)(client.span)
        session.refuse(Reply(500, "", "This is LMTP, say LHLO" if lmtp else "This is SMTP, say EHLO"))
        return
    if not argument:
        session.refuse(Reply(501, "", f"Syntax: {verb} hostname"))
        return
    session.must_be_last(f"after {verb}")
    session.drop_transaction()
    before = client.helo, client.esmtp
    client.helo, client.esmtp = argument, verb != "HELO"
    refusal = await session.reception.helo(client)
    if refusal is not None:
        client.helo, client.esmtp = before
        session.refuse(replace(refusal, enhanced=""))
        return
    session.offered = offered_to(session)
    if session.plugins:
        await _hello_with_plugins(session, verb)
        return
    session.greeted = True
    session.write(_hello_reply(session, verb))


def _hello_reply(session: RelaySMTP, verb: str) -> bytes:
    if verb == "HELO":
        return f"250 {session.hostname}\r\n".encode()
    replies = session.setting.ehlo_replies
    reply = replies.get(session.offered)
    if reply is None:
        if len(replies) >= _REPLIES:  # what is offered changes with the hour
            replies.clear()
        reply = Reply(250, "", "\n".join(session.offered.lines(session.hostname))).encode()
        replies[session.offered] = reply
    return reply


async def _hello_with_plugins(session: RelaySMTP, verb: str) -> None:
    client = session.client
    assert session.session is not None
    session.session.host_name = client.helo
    session.session.extended_smtp = client.esmtp
    reply = _hello_reply(session, verb)
    if verb == "HELO":
        refusal = await session.plugins.ask(session, "HELO", client.helo)
    else:
        lines = reply.decode().split("\r\n")[:-1]
        answer = await session.plugins.ehlo(session, client.helo, lines)
        refusal = answer if isinstance(answer, Reply) else None
        if not isinstance(answer, Reply):
            reply = "".join(line + "\r\n" for line in answer).encode()
    if refusal is not None:
        session.refuse(replace(refusal, enhanced=""))
        return
    session.greeted = True
    session.write(reply)


def offered_to(session: RelaySMTP) -> Extensions:
    """What reception offers the client, and what hangs on the connection: TLS, REQUIRETLS under it, AUTH only where it
    is safe, XCLIENT.
    """
    client = session.client
    return replace(
        session.reception.offered(client),
        starttls=client.tls is None and client.account is None and _has_tls(session),
        auth=mechanisms(session),
        xclient=session.may_xclient,
        requiretls=client.tls is not None,
    )


def _has_tls(session: RelaySMTP) -> bool:
    return client_is_remote(session) and session.server_context() is not None


def client_is_remote(session: RelaySMTP) -> bool:
    """It came over TCP; a Unix socket has no wire to protect."""
    return session.client.address is not None


async def mail(session: RelaySMTP, argument: str) -> None:
    """MAIL"""
    client = session.client
    if not session.greeted:
        smtp.DID_NOT_SAY_EHLO(client.span)
        session.refuse(LHLO_FIRST if client.protocol == "lmtp" else HELO_FIRST)
        return
    if session.tx is not None:
        smtp.MULTIPLE_MAIL_FROM(client.span)
        session.refuse(NESTED)
        return
    if client.role == "submission" and client.account is None:
        smtp.MAIL_FROM_UNAUTHENTICATED(client.span, from_=argument[:200])
        session.refuse(TLS_FIRST if session.offered.starttls and not session.is_local else AUTH_FIRST)
        return
    if not session.may_send_mail:
        session.refuse(HEALTH_CHECK)
        return
    command = parse_mail(argument, session.offered, bare_names=client.trusted)
    if session.plugins:
        options = argument.partition(">")[2].split()
        refusal = await session.plugins.ask(session, "MAIL", command.return_path, options)
        if refusal is not None:
            session.refuse(refusal)
            return
    opened = await session.reception.mail(client, command)
    if isinstance(opened, Reply):
        if opened.code == 421:
            raise SessionOver("", opened)
        session.refuse(opened)
        return
    session.tx = opened
    if session.envelope is not None:
        session.envelope.mail_from = command.return_path
        session.envelope.mail_options = argument.partition(">")[2].split()
        session.envelope.smtp_utf8 = command.smtputf8
    session.write(SENDER_OK)


async def rcpt(session: RelaySMTP, argument: str) -> None:
    """RCPT"""
    client = session.client
    if session.tx is None:
        smtp.MAIL_FROM_MISSING(client.span)
        session.refuse(MAIL_FIRST)
        return
    if session.chunks is not None:
        session.refuse(CHUNKS_OPEN)
        return
    try:
        command = parse_rcpt(argument, session.offered, session.tx.smtputf8, bare_names=client.trusted)
    except SyntaxRefused:
        session.refused += 1
        raise
    envelope = session.envelope
    reply: Reply | None = None
    if envelope is not None:
        recipients = list(envelope.rcpt_tos)
        reply = await session.plugins.ask(session, "RCPT", command.address, argument.partition(">")[2].split())
        envelope.rcpt_tos = recipients  # aiosmtpd leaves adding to the handler; here reception decides
    if reply is None:
        reply = await session.reception.rcpt(session.tx, command)
        if reply.code == 421:
            raise SessionOver("", reply)
    session.write(reply.encode())
    if not reply.is_positive:
        session.refused += 1
        if not client.trusted:
            session.errors += 1
    elif envelope is not None:
        envelope.rcpt_tos.append(command.address)


async def rset(session: RelaySMTP, argument: str) -> None:
    """RSET"""
    if argument:
        session.refuse(Reply(501, "5.5.4", "Syntax: RSET"))
        return
    smtp.RSET(session.client.span)
    session.drop_transaction()
    await _answer(session, "RSET", RESET)


async def noop(session: RelaySMTP, argument: str) -> None:
    """NOOP"""
    smtp.NOOP(session.client.span)
    await _answer(session, "NOOP", RESET, argument)


async def help_(session: RelaySMTP, argument: str) -> None:
    """HELP"""
    smtp.HELP(session.client.span)
    session.write(Reply(214, "2.0.0", HELP_TEXT).encode())


async def quit_(session: RelaySMTP, argument: str) -> None:
    """QUIT"""
    if argument:
        session.refuse(Reply(501, "5.5.4", "Syntax: QUIT"))
        return
    smtp.QUIT(session.client.span)
    await _answer(session, "QUIT", b"221 2.0.0 Bye\r\n")
    raise SessionOver("")


async def _answer(session: RelaySMTP, hook: str, reply: bytes, *arguments: str) -> None:
    refusal = await session.plugins.ask(session, hook, *arguments) if session.plugins else None
    session.write(reply if refusal is None else refusal.encode())


async def vrfy(session: RelaySMTP, argument: str) -> None:
    """VRFY"""
    if not argument or argument == '""':
        session.refuse(Reply(501, "5.5.4", "Syntax: VRFY address"))
        return
    refusal = await session.plugins.ask(session, "VRFY", argument) if session.plugins else None
    reply = refusal or await session.reception.vrfy(session.client, argument)
    session.write(reply.encode())
    if not reply.is_positive:
        session.errors += 1


async def expn(session: RelaySMTP, argument: str) -> None:
    """EXPN"""
    if not argument or argument == '""':
        session.refuse(Reply(501, "5.5.4", "Syntax: EXPN list"))
        return
    reply = await session.reception.expn(session.client, argument)
    session.write(reply.encode())
    if not reply.is_positive:
        session.errors += 1


async def not_implemented(session: RelaySMTP, argument: str) -> None:
    """ETRN, ATRN, BURL, TURN and their like: known, not offered."""
    smtp.COMMAND_NOT_IMPLEMENTED(session.client.span, contents=argument[:100])
    session.refuse(Reply(502, "5.5.1", "Command not implemented"))


async def starttls(session: RelaySMTP, argument: str) -> None:
    """STARTTLS (RFC 3207)"""
    client = session.client
    if argument:
        session.refuse(Reply(501, "5.5.4", "Syntax: STARTTLS"))
        return
    if client.tls is not None:
        smtp.START_TLS_ALREADY(client.span)
        session.refuse(Reply(503, "5.5.1", "TLS is already active"))
        return
    context = session.server_context() if client_is_remote(session) else None
    if context is None:
        smtp.START_TLS_UNAVAILABLE(client.span)
        session.refuse(Reply(502, "5.5.1", "STARTTLS is not offered"))
        return
    if client.account is not None:
        session.refuse(Reply(503, "5.5.1", "STARTTLS must come before AUTH"))
        return
    session.must_be_last("after STARTTLS")
    session.write(b"220 2.0.0 Ready to start TLS\r\n")
    session.drop_transaction()
    await session.begin_tls(context)
    smtp.START_TLS(client.span, version=client.tls, details=client.tls_cipher)
    session.greeted = False  # RFC 3207 §4.2: nothing said before counts
    client.helo, client.esmtp = "", False
    if session.plugins:
        assert session.transport is not None
        refusal = await session.plugins.ask(session, "STARTTLS")
        if refusal is not None:
            raise SessionOver("", refusal)


async def xclient(session: RelaySMTP, argument: str) -> None:
    """XCLIENT: the session begins anew, as the client that was named."""
    client = session.client
    if not session.may_xclient:
        session.refuse(NOT_ALLOWED)
        return
    if session.tx is not None:
        session.refuse(NESTED)
        return
    session.must_be_last("after XCLIENT")
    try:
        attributes = parse_xclient(argument)
    except XclientError as error:
        session.refuse(Reply(501, "5.5.4", str(error)))
        return
    apply_xclient(client, attributes)
    session.is_local = session.is_local and client.address is not None and client.address.is_loopback
    session.greeted = False
    client.span.keys["remoteIp"] = client.address_text
    client.span.keys["remotePort"] = client.port
    smtp.XCLIENT(client.span, remote_ip=client.address_text, domain=client.name)
    refusal = await session.reception.connect(client)
    if refusal is not None:
        raise SessionOver("", refusal)
    session.greet()


Verb = Callable[["RelaySMTP", str], Awaitable[None]]

VERBS: dict[str, Verb] = {
    "EHLO": ehlo,
    "HELO": helo,
    "LHLO": lhlo,
    "MAIL": mail,
    "RCPT": rcpt,
    "DATA": receive_data,
    "BDAT": receive_chunk,
    "RSET": rset,
    "NOOP": noop,
    "QUIT": quit_,
    "HELP": help_,
    "VRFY": vrfy,
    "EXPN": expn,
    "AUTH": authenticate,
    "STARTTLS": starttls,
    "XCLIENT": xclient,
    "ETRN": not_implemented,
    "ATRN": not_implemented,
    "BURL": not_implemented,
    "TURN": not_implemented,
    "SEND": not_implemented,
    "SOML": not_implemented,
    "SAML": not_implemented,
    "XFORWARD": not_implemented,
}

LINE_LIMITS = {
    "MAIL": 1280,  # RFC 1870 +26, 2852 +17, 3461 +115, 4865 +34, 4954 +500, 6531 +10, 6710 +15, 8689 +11
    "RCPT": 1280,  # RFC 3461 +528
    "AUTH": 12288,  # RFC 4954 §4
    "XCLIENT": 2048,
}
"""Octets of a line with its CRLF; others 512 (RFC 5321 §4.5.3.1.4)."""
