"""Command lines: verb and argument, and the paths and parameters of MAIL and RCPT (RFC 5321 §4.1, RFC 3461, RFC 6531).

Values that stay xtext (ENVID, ORCPT) are checked and kept as written, so that they travel on unchanged.
"""

from __future__ import annotations

import re

import msgspec

from relayd.mail.address import (
    MAX_ADDRESS,
    MAX_LOCAL,
    PLAIN_ADDRESS,
    AddressError,
    parse_forward_path,
    parse_reverse_path,
)
from relayd.mail.envelope import Notify
from relayd.mail.reply import Reply
from relayd.mail.xtext import XtextError, decode_utf8_addr_xtext, decode_xtext
from relayd.smtp.extension import Extensions
from relayd.smtp.urgency import DeliverBy, parse_by, parse_hold_for, parse_hold_until, parse_priority


class SyntaxRefused(Exception):
    """The line is refused; `reply` is the answer.

    not_offered: the parameter that is not for this session, or "".  invalid: the one whose value is bad, or "".
    sender, recipient: what stood for an address and is none.
    """

    def __init__(self, reply: Reply, not_offered: str = "", invalid: str = "") -> None:
        super().__init__(str(reply))
        self.reply = reply
        self.not_offered = not_offered
        self.invalid = invalid
        self.sender: str | None = None
        self.recipient: str | None = None


class MailCommand(msgspec.Struct, frozen=True, kw_only=True):
    """MAIL.  size: announced octets, 0 when not given.  body: "7BIT" or "8BITMIME".  ret: "FULL", "HDRS" or None.
    envid: still xtext.  auth: the AUTH parameter decoded, "" for "<>", None when not given.  requiretls: RFC 8689.
    hold_for: seconds; hold_until: Unix seconds (RFC 4865).  by: RFC 2852.  priority: RFC 6710.
    """

    return_path: str
    size: int = 0
    body: str = "7BIT"
    smtputf8: bool = False
    ret: str | None = None
    envid: str | None = None
    auth: str | None = None
    requiretls: bool = False
    hold_for: int | None = None
    hold_until: float | None = None
    by: DeliverBy | None = None
    priority: int = 0


class RcptCommand(msgspec.Struct, frozen=True, kw_only=True):
    """RCPT.  notify: None when not given.  orcpt: "type;address" with the address still xtext."""

    address: str
    notify: frozenset[Notify] | None = None
    orcpt: str | None = None


_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")
_PLAIN_MAIL = re.compile(
    rf"FROM:<({PLAIN_ADDRESS})?>(?: SIZE=([0-9]{{1,20}}))?(?: BODY=(7BIT|8BITMIME))?(?: SIZE=([0-9]{{1,20}}))?",
    re.I | re.A,
)
_PLAIN_RCPT = re.compile(rf"TO:<({PLAIN_ADDRESS})>", re.I | re.A)
_FROM = re.compile(r" *FROM *: *", re.I | re.A)
_TO = re.compile(r" *TO *: *", re.I | re.A)
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~\u00a0-\U0010ffff]+))?")
_PATH = re.compile(r'<(?:[^">]++|"(?:[^"\\]++|\\.)*+")*+>')
_SIZE = re.compile(r"[0-9]{1,20}", re.A)
_ADDR_TYPE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?")
MAX_ENVID = 100  # RFC 3461 §4.4
MAX_ORCPT = 500  # RFC 3461 §4.2


def parse_command(line: bytes) -> tuple[str, str]:
    """(verb in upper case, argument without blanks around it) of a line without its CRLF; SyntaxRefused."""
    try:
        text = line.decode("ascii") if line.isascii() else line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SyntaxRefused(Reply(500, "5.5.2", "Command line is not valid UTF-8")) from error
    if not text.isprintable() and _CONTROL.search(text):
        raise SyntaxRefused(Reply(500, "5.5.2", "Command line holds control characters"))
    verb, _, argument = text.partition(" ")
    verb = verb.upper()
    if not (verb.isascii() and verb.isalpha()):
        raise SyntaxRefused(Reply(500, "5.5.2", "Command not recognized"))
    return verb, argument.strip(" \t")


def parse_mail(argument: str, offered: Extensions, *, bare_names: bool = False) -> MailCommand:
    """The argument of MAIL; bare_names: a sender without domain is taken, for the caller to qualify.  SyntaxRefused."""
    plain = _PLAIN_MAIL.fullmatch(argument)
    if plain is not None:
        address, size, body, size_behind = plain.groups()
        if size is None or size_behind is None:
            kept = _kept(address) if address else ""
            if kept is not None and (not body or offered.eightbitmime):
                return MailCommand(
                    return_path=kept, size=int(size or size_behind or 0), body=body.upper() if body else "7BIT"
                )
    path, parameters = _take_path(argument, _FROM, "MAIL FROM:<address>")
    values = _parameters(parameters)
    smtputf8 = "SMTPUTF8" in values and offered.smtputf8
    try:
        address = parse_reverse_path(path, smtputf8, bare_names=bare_names)
    except AddressError as error:
        refused = _address_refused(error, "5.1.7")
        refused.sender = path[1:-1]
        raise refused from error
    wanted: dict[str, object] = {}
    for keyword, value in values.items():
        name, kept_value = _mail_parameter(keyword, value, offered, smtputf8)
        wanted[name] = kept_value
    if "hold_for" in wanted and "hold_until" in wanted:
        raise _bad_value("HOLDUNTIL")
    return MailCommand(return_path=address, **wanted)  # type: ignore[arg-type]  # by name and type of _mail_parameter


def parse_rcpt(argument: str, offered: Extensions, smtputf8: bool, *, bare_names: bool = False) -> RcptCommand:
    """The argument of RCPT in a transaction whose MAIL had SMTPUTF8 or not; SyntaxRefused."""
    plain = _PLAIN_RCPT.fullmatch(argument)
    if plain is not None:
        kept = _kept(plain[1])
        if kept is not None:
            return RcptCommand(address=kept)
    path, parameters = _take_path(argument, _TO, "RCPT TO:<address>")
    if path == "<>":
        raise SyntaxRefused(Reply(501, "5.1.3", "The null path is no recipient"))
    try:
        address = parse_forward_path(path, smtputf8, bare_names=bare_names)
    except AddressError as error:
        refused = _address_refused(error, "5.1.3")
        refused.recipient = path[1:-1]
        raise refused from error
    notify: frozenset[Notify] | None = None
    orcpt: str | None = None
    for keyword, value in _parameters(parameters).items():
        if keyword == "NOTIFY" and offered.dsn:
            notify = _notify(value)
        elif keyword == "ORCPT" and offered.dsn:
            orcpt = _orcpt(value, smtputf8)
        else:
            raise _not_offered(keyword)
    return RcptCommand(address=address, notify=notify, orcpt=orcpt)


def _kept(address: str) -> str | None:
    """An address that PLAIN_ADDRESS matched, in the form that is kept; None when it is too long."""
    local, _, domain = address.rpartition("@")
    if len(local) > MAX_LOCAL or len(address) > MAX_ADDRESS:
        return None
    return f"{local}@{domain.lower()}"


def _take_path(argument: str, prefix: re.Pattern[str], form: str) -> tuple[str, str]:
    """(path with its angle brackets, the parameters behind it)."""
    start = prefix.match(argument)
    if start is None:
        raise SyntaxRefused(Reply(501, "5.5.4", f"Syntax: {form} [parameters]"))
    begin = start.end()
    path = _PATH.match(argument, begin)
    if path is None:
        raise SyntaxRefused(Reply(501, "5.5.4", f"Address must stand between < and >; syntax: {form} [parameters]"))
    place = path.end()
    rest = argument[place:]
    if rest and rest[0] not in " \t":
        raise SyntaxRefused(Reply(501, "5.5.4", f"Unexpected text after the address; syntax: {form} [parameters]"))
    return path[0], rest


def _parameters(text: str) -> dict[str, str | None]:
    """By keyword in upper case; None is a keyword without "="."""
    values: dict[str, str | None] = {}
    for word in text.split():
        parameter = _PARAMETER.fullmatch(word)
        if parameter is None:
            keyword = word.partition("=")[0]
            if _KEYWORD.fullmatch(keyword):
                raise _bad_value(keyword.upper())
            raise SyntaxRefused(Reply(501, "5.5.4", "Parameters must have the form KEYWORD or KEYWORD=value"))
        keyword = parameter[1].upper()
        if keyword in values:
            raise SyntaxRefused(Reply(501, "5.5.4", f"Parameter {keyword} is given twice"))
        values[keyword] = parameter[2]
    return values


_KEYWORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")


def _mail_parameter(keyword: str, value: str | None, offered: Extensions, smtputf8: bool) -> tuple[str, object]:
    """(attribute of MailCommand, its value)."""
    if keyword == "SIZE":
        if not value or not _SIZE.fullmatch(value):
            raise _bad_value(keyword)
        return "size", int(value)
    if keyword == "BODY" and offered.eightbitmime:
        body = (value or "").upper()
        if body not in ("7BIT", "8BITMIME"):
            raise _bad_value(keyword)
        return "body", body
    if keyword == "SMTPUTF8" and offered.smtputf8:
        if value is not None:
            raise _bad_value(keyword)
        return "smtputf8", True
    if keyword == "RET" and offered.dsn:
        ret = (value or "").upper()
        if ret not in ("FULL", "HDRS"):
            raise _bad_value(keyword)
        return "ret", ret
    if keyword == "ENVID" and offered.dsn:
        if not value or len(value) > MAX_ENVID:
            raise _bad_value(keyword)
        _decoded(keyword, value)
        return "envid", value
    if keyword == "REQUIRETLS" and offered.requiretls:
        if value is not None:
            raise _bad_value(keyword)
        return "requiretls", True
    if keyword == "AUTH" and offered.auth:
        return "auth", _auth(value, smtputf8)
    found = _urgency(keyword, value, offered)
    if found is None:
        raise _not_offered(keyword)
    if found[1] is None:
        raise _bad_value(keyword)
    return found


def _urgency(keyword: str, value: str | None, offered: Extensions) -> tuple[str, object] | None:
    """The parameters of `urgency`; None: the session is not offered such a one.  A value of None is a bad one."""
    if keyword == "HOLDFOR" and offered.future_release:
        seconds = parse_hold_for(value)
        return "hold_for", seconds if seconds is not None and seconds <= offered.future_release else None
    if keyword == "HOLDUNTIL" and offered.future_release:
        return "hold_until", parse_hold_until(value)
    if keyword == "BY" and offered.deliver_by:
        return "by", parse_by(value)
    if keyword == "MT-PRIORITY" and offered.mt_priority:
        return "priority", parse_priority(value)
    return None


def _auth(value: str | None, smtputf8: bool) -> str:
    """RFC 4954 §5: xtext of a mailbox, or "<>"."""
    if value == "<>":
        return ""
    if not value:
        raise _bad_value("AUTH")
    mailbox = _decoded("AUTH", value)
    try:
        return parse_reverse_path(f"<{mailbox}>", smtputf8, bare_names=True)
    except AddressError as error:
        raise _bad_value("AUTH") from error


def _notify(value: str | None) -> frozenset[Notify]:
    """RFC 3461 §4.1: NEVER alone, or a list of the others."""
    words = (value or "").upper().split(",")
    try:
        notify = frozenset(Notify(word) for word in words)
    except ValueError as error:
        raise _bad_value("NOTIFY") from error
    if Notify.NEVER in notify and len(words) > 1:
        raise _bad_value("NOTIFY")
    return notify


def _orcpt(value: str | None, smtputf8: bool) -> str:
    """RFC 3461 §4.2, RFC 6533 §3: addr-type ";" xtext; type utf-8 may hold UTF-8 under SMTPUTF8."""
    kind, _, address = (value or "").partition(";")
    if not value or not address or len(value) > MAX_ORCPT or not _ADDR_TYPE.fullmatch(kind):
        raise _bad_value("ORCPT")
    if kind.lower() == "utf-8":
        try:
            decode_utf8_addr_xtext(address, unitext=smtputf8)
        except XtextError as error:
            raise _bad_value("ORCPT") from error
    else:
        _decoded("ORCPT", address)
    return value


def _decoded(keyword: str, value: str) -> str:
    """RFC 3461 §4.2, §4.4: what xtext stands for must be printable US-ASCII."""
    try:
        text = decode_xtext(value)
    except XtextError as error:
        raise _bad_value(keyword) from error
    if not (text.isascii() and text.isprintable()):
        raise _bad_value(keyword)
    return text


def _address_refused(error: AddressError, enhanced: str) -> SyntaxRefused:
    if error.needs_smtputf8:
        return SyntaxRefused(Reply(553, "5.6.7", error.text))  # RFC 6531 §3.5
    return SyntaxRefused(Reply(501, enhanced, error.text))


def _bad_value(keyword: str) -> SyntaxRefused:
    return SyntaxRefused(Reply(501, "5.5.4", f"Bad value of parameter {keyword}"), invalid=keyword)


def _not_offered(keyword: str) -> SyntaxRefused:
    return SyntaxRefused(Reply(555, "5.5.4", f"Parameter {keyword} is not offered here"), keyword)
