"""Authentication-Results as we write them (RFC 8601), through authres.

authres writes a value that holds "@" without quotes whatever else is in it, and comments as they are; so values and
comments are made safe here before it sees them: nothing that the peer or the DNS said can end a value, a comment, a
result or the field.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence

import msgspec
from authres.core import AuthenticationResult, AuthenticationResultProperty, QuotableValue

from relayd.mail.header import SOFT_LIMIT
from relayd.mailauth.findings import (
    ArcFinding,
    DkimFinding,
    DmarcFinding,
    Findings,
    IprevFinding,
    Policy,
    Result,
    SpfFinding,
    plain_domain,
)

FIELD = "Authentication-Results"
_MAX_VALUE = 400
"""Characters of a value; an address has 320 at most."""
_MAX_COMMENT = 120

_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+._`{|}~^-]+")
_PLAIN = re.compile(rf"{_TOKEN.pattern}|(?:{_ATEXT}(?:\.{_ATEXT})*)?@[A-Za-z0-9._-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_SPECIAL = re.compile(r'(["\\])')
_COMMENT = re.compile(r"([()\\])")


class MethodResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one method.  properties: (ptype, property, value), as RFC 8601 §2.2 names them."""

    method: str
    result: str
    reason: str = ""
    comment: str = ""
    properties: tuple[tuple[str, str, str], ...] = ()

    def value(self, ptype: str, property: str) -> str | None:
        """The value of the first property of that name."""
        return next((value for type, name, value in self.properties if (type, name) == (ptype, property)), None)


class _SafeValue(QuotableValue):
    """A value that stands in quotes unless it is a token or a plain address."""

    def quote_if_needed(self) -> str:
        return str(self) if _PLAIN.fullmatch(self) else self.quoted()

    def quoted(self) -> str:
        """In quotes."""
        return '"' + _SPECIAL.sub(r"\\\1", self) + '"'


def results_field(
    authserv_id: str, results: Iterable[MethodResult], *, utf8: bool = False, instance: int | None = None
) -> bytes:
    """The field with its CRLF, one result a line; "none" when there is no result.

    utf8: octets over 127 may stand in it (RFC 8601 §2.2, for SMTPUTF8 messages), else they become "?", and a U-label
    in authserv_id an A-label.
    instance: make it the ARC-Authentication-Results of that set (RFC 8617 §4.1.1).
    """
    name = FIELD if instance is None else f"ARC-{FIELD}"
    lead = "" if instance is None else f"i={instance}; "
    id = authserv_id if utf8 or authserv_id.isascii() else plain_domain(authserv_id)
    lines = [f"{name}: {lead}{_value(id, utf8).quote_if_needed()}"]
    for result in results:
        lines[-1] += ";"
        lines += _folded(_pieces(result, utf8))
    if len(lines) == 1:
        lines[0] += "; none"
    return "\r\n\t".join(lines).encode() + b"\r\n"


@functools.lru_cache(1024)
def _pieces(result: MethodResult, utf8: bool) -> tuple[str, ...]:
    head = AuthenticationResult(result.method, result=result.result)  # type: ignore[no-untyped-call]
    if result.comment:
        comment = _safe(result.comment, utf8)[:_MAX_COMMENT]
        head.result_comment = _COMMENT.sub(r"\\\1", comment)
    pieces = [str(head)]
    if result.reason:
        reason = _value(result.reason, utf8)  # no address may stand there without quotes (RFC 8601 §2.2)
        pieces.append("reason=" + (reason if _TOKEN.fullmatch(reason) else reason.quoted()))
    for ptype, name, value in result.properties:
        property = AuthenticationResultProperty(ptype, name)  # type: ignore[no-untyped-call]
        property.value = _value(value, utf8)
        pieces.append(str(property))
    return tuple(pieces)


def _folded(pieces: Sequence[str]) -> list[str]:
    lines = [pieces[0]]
    for piece in pieces[1:]:
        if len(lines[-1]) + 1 + len(piece) < SOFT_LIMIT - 8:  # a tab counts eight columns
            lines[-1] += " " + piece
        else:
            lines.append(piece)
    return lines


def _safe(text: str, utf8: bool) -> str:
    text = _CONTROL.sub(" ", text)
    return text if utf8 else text.encode("ascii", "replace").decode("ascii")


def _value(text: str, utf8: bool) -> _SafeValue:
    return _SafeValue(_safe(text, utf8)[:_MAX_VALUE])


def finding_results(findings: Findings, client: str = "") -> tuple[MethodResult, ...]:
    """What was found, as results; a check that was not made is left out.  client: IP address of the SMTP client."""
    results: list[MethodResult] = []
    for spf in (findings.spf_ehlo, findings.spf_mail_from):
        if spf is not None:
            results.append(spf_result(spf))
    if findings.iprev is not None:
        results.append(iprev_result(findings.iprev))
    if findings.dkim is not None:
        results += [dkim_result(dkim) for dkim in findings.dkim] or [MethodResult(method="dkim", result="none")]
    if findings.arc is not None:
        results.append(arc_result(findings.arc, client))
    if findings.dmarc is not None:
        results.append(dmarc_result(findings.dmarc))
    return tuple(results)


def spf_result(finding: SpfFinding) -> MethodResult:
    """RFC 8601 §2.7.2."""
    identity = ("helo", finding.domain) if finding.scope == "helo" else ("mailfrom", finding.sender)
    properties = (("smtp", *identity),) if identity[1] else ()
    return MethodResult(method="spf", result=finding.result, comment=finding.problem, properties=properties)


def iprev_result(finding: IprevFinding) -> MethodResult:
    """RFC 8601 §2.7.3."""
    properties = (("policy", "iprev", finding.address),) if finding.address else ()
    comment = finding.problem or ", ".join(finding.confirmed[:1])
    return MethodResult(method="iprev", result=finding.result, comment=comment, properties=properties)


def dkim_result(finding: DkimFinding) -> MethodResult:
    """RFC 8601 §2.7.1, with header.b of RFC 6008."""
    notes = [finding.problem]
    if finding.bits and finding.algorithm.startswith("rsa"):
        notes.append(f"{finding.bits}-bit key")
    if finding.testing:
        notes.append("testing")
    if finding.unsigned_octets:
        notes.append(f"{finding.unsigned_octets} octets unsigned")
    values = {
        "d": finding.domain,
        "i": finding.identity,
        "s": finding.selector,
        "a": finding.algorithm,
        "b": finding.signature,
    }
    return MethodResult(
        method="dkim",
        result=finding.result,
        comment=", ".join(filter(None, notes)),
        properties=tuple(("header", name, value) for name, value in values.items() if value),
    )


def arc_result(finding: ArcFinding, client: str = "") -> MethodResult:
    """RFC 8617 §10.1, §10.2."""
    properties: list[tuple[str, str, str]] = []
    if finding.oldest_pass is not None:
        properties.append(("header", "oldest-pass", str(finding.oldest_pass)))
    if client:
        properties.append(("smtp", "remote-ip", client))
    count = f"i={len(finding.sets)}" if finding.sets else ""
    comment = ", ".join(filter(None, [finding.problem, count]))
    return MethodResult(method="arc", result=finding.result, comment=comment, properties=tuple(properties))


def dmarc_result(finding: DmarcFinding) -> MethodResult:
    """RFC 9989 §9.4: header.from and the policy that was asked for."""
    properties = [("header", "from", finding.domain)] if finding.domain else []
    if finding.requested is not None:
        properties.append(("policy", "dmarc", Policy(finding.requested).value))
    comment = finding.problem
    result = Result(finding.result)
    return MethodResult(method="dmarc", result=result, comment=comment, properties=tuple(properties))
