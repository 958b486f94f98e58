"""The Received-SPF field (RFC 7208 §9.1), for those who read it; Authentication-Results says the same."""

from __future__ import annotations

import re

from relayd.mail.header import fold
from relayd.mailauth.findings import Result, SpfFinding

_ATOM = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+")
_COMMENTS = {
    Result.PASS: "{domain} permits {address}",
    Result.FAIL: "{domain} does not permit {address}",
    Result.SOFTFAIL: "{domain} does not really permit {address}",
    Result.NEUTRAL: "{domain} says nothing of {address}",
    Result.NONE: "{domain} has no policy",
    Result.TEMPERROR: "the policy of {domain} cannot be read now",
    Result.PERMERROR: "the policy of {domain} cannot be read",
}


def received_spf(finding: SpfFinding, *, receiver: str, address: str, helo: str, return_path: str) -> bytes:
    """The field with its CRLF, folded.  Text from the peer or the DNS can add no key and no field to it."""
    comment = _COMMENTS[finding.result].format(domain=finding.domain or "the client", address=address)
    keys = {
        "receiver": receiver,
        "client-ip": address,
        "envelope-from": return_path,
        "helo": helo,
        "identity": "helo" if finding.scope == "helo" else "mailfrom",
        "mechanism": finding.mechanism,
        "problem": finding.problem if finding.result in (Result.TEMPERROR, Result.PERMERROR) else "",
    }
    listed = "; ".join(
        f"{key}={_value(text)}" for key, text in keys.items() if text or key in ("envelope-from", "client-ip")
    )
    return fold("Received-SPF", f"{finding.result} ({_comment(f'{receiver}: {comment}')}) {listed};")


def _value(text: str) -> str:
    """A dot-atom, else a quoted-string."""
    if _ATOM.fullmatch(text):
        return text
    return '"' + re.sub(r'(["\\])', r"\\\1", _plain(text)) + '"'


def _comment(text: str) -> str:
    return re.sub(r"([()\\])", r"\\\1", _plain(text))


def _plain(text: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in text[:320])
