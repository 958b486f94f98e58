"""Extensions: what a session is offered in the answer to EHLO, and what a peer offers us."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import msgspec


class Extensions(msgspec.Struct, frozen=True, kw_only=True):
    """What one session is offered; a parameter of anything else is answered 555 5.5.4.

    size: largest message in octets, 0 for no fixed limit.  auth: SASL mechanisms, empty when AUTH is not offered.
    requiretls: RFC 8689, only under TLS.  future_release: seconds that a message may be held (RFC 4865), 0 when that is
    not offered; latest_release: until when, as the answer says it.  deliver_by, mt_priority: RFC 2852, 6710.  rcpt_max,
    mail_max: of LIMITS (RFC 9422), 0 when there is none.  origin: the domain that qualifies bare names, told to our own
    sendmail command alone (XORIGIN).
    """

    size: int = 0
    starttls: bool = False
    auth: tuple[str, ...] = ()
    dsn: bool = False
    vrfy: bool = False
    expn: bool = False
    xclient: bool = False
    requiretls: bool = False
    future_release: int = 0
    latest_release: str = ""
    deliver_by: bool = False
    mt_priority: bool = False
    smtputf8: bool = True
    eightbitmime: bool = True
    chunking: bool = True
    pipelining: bool = True
    rcpt_max: int = 0
    mail_max: int = 0
    origin: str = ""

    def lines(self, hostname: str) -> list[str]:
        """Lines of the 250 answer to EHLO or LHLO, without codes; the first is the server's name."""
        limits = f" MAILMAX={self.mail_max}" if self.mail_max else ""
        limits += f" RCPTMAX={self.rcpt_max}" if self.rcpt_max else ""
        offered = (
            (self.pipelining, "PIPELINING"),
            (True, f"SIZE {self.size}" if self.size else "SIZE"),
            (self.vrfy, "VRFY"),
            (self.expn, "EXPN"),
            (self.starttls, "STARTTLS"),
            (bool(self.auth), "AUTH " + " ".join(self.auth)),
            (True, "ENHANCEDSTATUSCODES"),
            (self.eightbitmime, "8BITMIME"),
            (self.dsn, "DSN"),
            (self.smtputf8, "SMTPUTF8"),
            (self.chunking, "CHUNKING"),
            (self.requiretls, "REQUIRETLS"),
            (bool(self.future_release), f"FUTURERELEASE {self.future_release} {self.latest_release}"),
            (self.deliver_by, "DELIVERBY"),
            (self.mt_priority, "MT-PRIORITY"),
            (bool(limits), "LIMITS" + limits),
            (self.xclient, "XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"),
            (bool(self.origin), f"XORIGIN {self.origin}"),
        )
        return [hostname, *(line for wanted, line in offered if wanted)]


_NUMBER = re.compile(r"[0-9]{1,19}", re.A)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerExtensions:
    """What a peer's answer to EHLO offers.

    size: None when SIZE is not offered, 0 when it names no limit.  auth: mechanisms, upper case.  limits: of LIMITS,
    by name, upper case.  keywords: every keyword with its parameters, for what is not named here.
    """

    hostname: str = ""
    pipelining: bool = False
    chunking: bool = False
    size: int | None = None
    dsn: bool = False
    smtputf8: bool = False
    eightbitmime: bool = False
    starttls: bool = False
    auth: frozenset[str] = frozenset()
    enhanced: bool = False
    limits: dict[str, int] = field(default_factory=dict)
    keywords: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, lines: list[str]) -> PeerExtensions:
        """From the lines of a 250 answer, without codes; the first is the peer's name and greeting.  Never raises."""
        keywords: dict[str, str] = {}
        for line in lines[1:]:
            keyword, _, parameters = line.strip().partition(" ")
            if keyword[:5].upper() == "AUTH=":  # "AUTH=LOGIN PLAIN" of old servers
                keyword, parameters = "AUTH", f"{keyword[5:]} {parameters}"
            keyword, parameters = keyword.upper(), parameters.strip()
            if keyword == "AUTH" and keywords.get("AUTH"):
                parameters = f"{keywords['AUTH']} {parameters}"
            keywords[keyword] = parameters
        return cls(
            hostname=(lines[0].split() or [""])[0] if lines else "",
            pipelining="PIPELINING" in keywords,
            chunking="CHUNKING" in keywords,
            size=_size(keywords.get("SIZE")),
            dsn="DSN" in keywords,
            smtputf8="SMTPUTF8" in keywords,
            eightbitmime="8BITMIME" in keywords,
            starttls="STARTTLS" in keywords,
            auth=frozenset(keywords.get("AUTH", "").upper().split()),
            enhanced="ENHANCEDSTATUSCODES" in keywords,
            limits=_limits(keywords.get("LIMITS", "")),
            keywords=keywords,
        )


def _size(parameters: str | None) -> int | None:
    if parameters is None:
        return None
    number = _NUMBER.fullmatch(parameters)
    return int(parameters) if number else 0


def _limits(parameters: str) -> dict[str, int]:
    """RFC 9422 §3: name=value pairs; those without a number are ignored."""
    limits: dict[str, int] = {}
    for pair in parameters.split():
        name, _, value = pair.partition("=")
        if _NUMBER.fullmatch(value):
            limits[name.upper()] = int(value)
    return limits
