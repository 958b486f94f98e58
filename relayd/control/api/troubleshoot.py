"""Operation 27, `POST /troubleshoot/dmarc`: what the checks of who sent it say of a message.

Every check is made, disabled ones too, on the address that is given, as on a stranger's mail.  What the API leaves
open: `details` says why in words, or holds the explanation that the domain gives for an SPF fail.  A signature that is
not acceptable (RFC 8601 "policy": expired, a weak key) is "neutral".  `dmarcResult` is the result of RFC 9989: where
there is a policy, a message for which nothing speaks is "fail", be it signed or not.  `dmarcPolicy` is what the record
asks for this domain, "unspecified" without one.  `ipRevPtr` are the names of the address, confirmed or not.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Literal, NotRequired, Protocol, TypedDict

import msgspec

from relayd.control.answers import BAD_JSON, Problem, other
from relayd.control.routes import Call, Route
from relayd.delivery.outlook import Outlook
from relayd.delivery.stages import Stage
from relayd.mailauth.findings import DkimFinding, Result, plain_domain
from relayd.mailauth.spf import Address
from relayd.reception.examination import MAX_NAME, Examination, Suspect, Unreadable
from relayd.reception.trial import Trial

AREA = "troubleshooting"


class Examine(Protocol):
    """`relayd.reception.examination`'s Examinations.examine."""

    def __call__(self, suspect: Suspect, *, everything: bool = False) -> Awaitable[Examination]:
        """Make the checks.  Raises Unreadable."""


class Rehearse(Protocol):
    """`relayd.delivery.rehearsal`'s Rehearsals.run."""

    def __call__(
        self, recipient: str, sender: str = "", *, seconds: float = 30.0, direct: bool = False
    ) -> AsyncGenerator[Stage, None]:
        """The stages, each as it comes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explaining:
    """Whom troubleshooting asks: `Examinations.examine`, `Trials.rcpt`, `Outlooks.of` and `Rehearsals.run`."""

    examine: Examine
    rcpt: Callable[[str, str], Awaitable[Trial]]
    road: Callable[[str, str], Awaitable[Outlook]]
    rehearse: Rehearse


class Suspicion(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What to check.  body: the message, its lines ending in LF or CRLF; absent: one that is just from `mailFrom`."""

    remote_ip: Annotated[str, msgspec.Meta(extra_json_schema={"anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]})]
    ehlo_domain: str
    mail_from: str
    body: str | None = None


class ResultValue(TypedDict):
    """A result.  details: why, or null; absent from "pass" and "none"."""

    type: Literal["pass", "none", "fail", "softFail", "neutral", "tempError", "permError"]
    details: NotRequired[str | None]


class DmarcValue(TypedDict):
    """The answer.  elapsed: milliseconds."""

    spfEhloDomain: str
    spfEhloResult: ResultValue
    spfMailFromDomain: str
    spfMailFromResult: ResultValue
    ipRevResult: ResultValue
    ipRevPtr: list[str]
    dkimResults: list[ResultValue]
    dkimPass: bool
    arcResult: ResultValue
    dmarcResult: ResultValue
    dmarcPass: bool
    dmarcPolicy: Literal["none", "quarantine", "reject", "unspecified"]
    elapsed: int


class Troubleshooting:
    """The handler."""

    def __init__(self, explaining: Explaining) -> None:
        self._explaining = explaining

    def routes(self) -> Iterator[Route]:
        """The operation."""
        yield Route(
            method="POST",
            path="/troubleshoot/dmarc",
            permission="troubleshoot",
            handler=self.dmarc,
            summary="What the sender checks say of a message",
            area=AREA,
            body=Suspicion,
            answer=DmarcValue,
            operation=27,
        )

    async def dmarc(self, call: Call) -> DmarcValue:
        """Make every check."""
        started = time.monotonic()
        given: Suspicion = call.body
        address = address_of(given.remote_ip)
        if address is None:
            raise Problem(*BAD_JSON)
        for name, value in (("ehloDomain", given.ehlo_domain), ("mailFrom", given.mail_from)):
            check_length(name, value)
        message = None if given.body is None else given.body.encode("utf-8", "replace")
        suspect = Suspect(address=address, helo=given.ehlo_domain, return_path=given.mail_from, message=message)
        found = await examined(self._explaining, suspect, everything=True)
        return _value(found, given, time.monotonic() - started)


async def examined(explaining: Explaining, suspect: Suspect, *, everything: bool) -> Examination:
    """The examination.  Raises Failure for a message that cannot be read."""
    try:
        return await explaining.examine(suspect, everything=everything)
    except Unreadable:
        raise other("Invalid message body", "Failed to parse message body") from None


def address_of(text: str) -> Address | None:
    """An IP address, as sessions have it (IPv4 in IPv6 is IPv4); None for what is none."""
    try:
        address = None if "%" in text else ipaddress.ip_address(text)
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, ipaddress.IPv6Address) else address


def check_length(name: str, value: str) -> None:
    """Raises Problem 400 for a name longer than any session could give."""
    if len(value) > MAX_NAME:
        raise Problem(400, "Invalid parameters", f"{name}: expected at most {MAX_NAME} characters")


def _value(found: Examination, given: Suspicion, elapsed: float) -> DmarcValue:
    findings = found.findings
    ehlo, mail_from, iprev = findings.spf_ehlo, findings.spf_mail_from, findings.iprev
    arc, dmarc, dkim = findings.arc, findings.dmarc, findings.dkim or ()
    assert ehlo is not None
    assert mail_from is not None
    assert iprev is not None
    assert arc is not None
    assert dmarc is not None
    return DmarcValue(
        spfEhloDomain=ehlo.domain or plain_domain(given.ehlo_domain),
        spfEhloResult=_result(ehlo.result, ehlo.explanation or ehlo.problem),
        spfMailFromDomain=mail_from.domain,
        spfMailFromResult=_result(mail_from.result, mail_from.explanation or mail_from.problem),
        ipRevResult=_result(iprev.result, iprev.problem),
        ipRevPtr=[f"{name}." for name in iprev.names],
        dkimResults=[_result(each.result, _of_signature(each)) for each in dkim],
        dkimPass=any(each.result is Result.PASS for each in dkim),
        arcResult=_result(arc.result, arc.problem),
        dmarcResult=_result(dmarc.result, dmarc.problem),
        dmarcPass=dmarc.result is Result.PASS,
        dmarcPolicy="unspecified" if dmarc.requested is None else dmarc.requested.value,
        elapsed=round(elapsed * 1000),
    )


def _of_signature(finding: DkimFinding) -> str:
    """Which signature, and what is wrong with it."""
    name = f"{finding.selector}._domainkey.{finding.domain}" if finding.selector else finding.domain
    return ": ".join(filter(None, (name, finding.problem)))


_TYPES: dict[Result, Literal["fail", "softFail", "neutral", "tempError", "permError"]] = {
    Result.FAIL: "fail",
    Result.SOFTFAIL: "softFail",
    Result.NEUTRAL: "neutral",
    Result.POLICY: "neutral",
    Result.TEMPERROR: "tempError",
    Result.PERMERROR: "permError",
}


def _result(result: Result, details: str) -> ResultValue:
    if result is Result.PASS:
        return ResultValue(type="pass")
    if result is Result.NONE:
        return ResultValue(type="none")
    return ResultValue(type=_TYPES[result], details=details or None)
