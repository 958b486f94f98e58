"""The signatures of the DirectMail dialect: HMAC-SHA1 version 1.0 of parameters, and ACS3-HMAC-SHA256 of requests.

Pure: from the parts of a request to what it claims and the octets that are signed; the clock, the nonces and the keys
come from elsewhere (`directmail`).

Version 1.0 signs every parameter of query and form but `Signature`, sorted by name, and the method; headers mean
nothing there.  ACS3 signs the method, the query, the SHA-256 of the body and the headers that it names; those that say
what is asked and when must be among them, and so must every other `x-acs-` header that is sent.  A parameter or header
that comes twice is refused: two readers could read two things.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from relayd.control.compat.directmail_answers import DirectMailError, missing

ACS3 = "ACS3-HMAC-SHA256"

WINDOW = 900.0
"""Seconds that a timestamp may be off the clock, either way; for twice as long a nonce is not taken again."""

_MUST_BE_SIGNED = (
    "host",
    "x-acs-action",
    "x-acs-version",
    "x-acs-date",
    "x-acs-signature-nonce",
    "x-acs-content-sha256",
)
_PARAMETERS = {
    "x-acs-action": "Action",
    "x-acs-version": "Version",
    "x-acs-date": "Timestamp",
    "x-acs-signature-nonce": "SignatureNonce",
    "x-acs-content-sha256": "ContentSha256",
    "host": "Host",
}
_AUTHORIZATION = re.compile(
    r"Credential=([^\s,]{1,128}),\s*SignedHeaders=([a-z0-9;.-]{1,2048}),\s*Signature=([0-9a-f]{64})"
)
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
_NONCE = re.compile(r"[!-~]{1,128}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request.  query, form: names and values, decoded, as they came.  headers: by lower-case name, all values.

    body: the octets.
    """

    method: str
    path: str
    query: Sequence[tuple[str, str]]
    form: Sequence[tuple[str, str]]
    headers: Mapping[str, Sequence[str]]
    body: bytes = b""

    @property
    def is_acs3(self) -> bool:
        """Whether it is signed by ACS3."""
        return self.header("authorization").startswith("ACS3-")

    def header(self, name: str) -> str:
        """The value of a header, "" without one.  Raises DirectMailError when it comes twice."""
        values = self.headers.get(name, ())
        if len(values) > 1:
            raise DirectMailError("SignatureDoesNotMatch", f"The header {name} comes twice.")
        return values[0].strip() if values else ""

    def parameters(self) -> dict[str, str]:
        """The parameters of query and form.  Raises DirectMailError when one comes twice."""
        found: dict[str, str] = {}
        for name, value in (*self.query, *self.form):
            if name in found:
                raise DirectMailError("InvalidParameter", f"The parameter {name[:40]} comes twice.")
            found[name] = value
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Who signed what, and when (Unix seconds); true once `check` has said so.  action: what is asked for."""

    key_id: str
    action: str
    nonce: str
    at: float
    signature: str
    to_sign: str
    is_acs3: bool

    def check(self, secret: str) -> None:
        """Raises DirectMailError when the signature is none by `secret`."""
        if self.is_acs3:
            made = hmac.digest(secret.encode(), self.to_sign.encode("utf-8", "surrogateescape"), hashlib.sha256).hex()
        else:
            digest = hmac.digest(f"{secret}&".encode(), self.to_sign.encode("utf-8", "surrogateescape"), hashlib.sha1)
            made = base64.b64encode(digest).decode()
        if not hmac.compare_digest(made.encode(), self.signature.encode("utf-8", "replace")):
            raise DirectMailError("SignatureDoesNotMatch", "Specified signature is not matched with our calculation.")


def claim_of(asked: Asked) -> Claim:
    """What a request claims.  Raises DirectMailError where it claims nothing that could be checked."""
    try:
        return _acs3(asked) if asked.is_acs3 else _version_1(asked)
    except UnicodeEncodeError:  # half of a character, which nobody can have signed
        raise DirectMailError("InvalidParameter", "A parameter or header is no text.") from None


def _version_1(asked: Asked) -> Claim:
    given = asked.parameters()
    for name in ("AccessKeyId", "Signature", "Timestamp", "SignatureNonce", "Action"):
        if not given.get(name):
            raise missing(name)
    if given.get("SignatureMethod", "HMAC-SHA1") != "HMAC-SHA1" or given.get("SignatureVersion", "1.0") != "1.0":
        raise DirectMailError("InvalidParameter", "The signature is HMAC-SHA1 version 1.0, or ACS3-HMAC-SHA256.")
    signature = given.pop("Signature")
    query = "&".join(f"{encoded(name)}={encoded(value)}" for name, value in sorted(given.items()))
    return Claim(
        key_id=given["AccessKeyId"],
        action=given["Action"],
        nonce=_nonce(given["SignatureNonce"]),
        at=_timestamp(given["Timestamp"]),
        signature=signature,
        to_sign=f"{asked.method}&%2F&{encoded(query)}",
        is_acs3=False,
    )


def _acs3(asked: Asked) -> Claim:
    method, _, rest = asked.header("authorization").partition(" ")
    match = _AUTHORIZATION.fullmatch(rest.strip())
    if method != ACS3 or match is None:
        raise DirectMailError("SignatureDoesNotMatch", f"The Authorization header is none of {ACS3}.")
    key_id, names, signature = match.groups()
    signed = names.split(";")
    asked.parameters()  # none twice
    for name in _MUST_BE_SIGNED:
        if not asked.header(name):
            raise missing(_PARAMETERS[name])
    loose = [
        name
        for name in asked.headers
        if (name in _MUST_BE_SIGNED or name.startswith("x-acs-") or name == "content-type") and name not in signed
    ]
    if loose or signed != sorted(set(signed)):
        raise DirectMailError("SignatureDoesNotMatch", f"The signature must cover {', '.join(loose) or 'each once'}.")
    sha256 = hashlib.sha256(asked.body).hexdigest()
    if not hmac.compare_digest(sha256, asked.header("x-acs-content-sha256").encode("ascii", "replace").decode()):
        raise DirectMailError("SignatureDoesNotMatch", "The body is not what x-acs-content-sha256 says.")
    query = "&".join(f"{encoded(name)}={encoded(value)}" for name, value in sorted(asked.query))
    headers = "".join(f"{name}:{asked.header(name)}\n" for name in signed)
    request = f"{asked.method}\n{asked.path}\n{query}\n{headers}\n{names}\n{sha256}"
    digest = hashlib.sha256(request.encode("utf-8", "surrogateescape")).hexdigest()
    return Claim(
        key_id=key_id,
        action=asked.header("x-acs-action"),
        nonce=_nonce(asked.header("x-acs-signature-nonce")),
        at=_timestamp(asked.header("x-acs-date")),
        signature=signature,
        to_sign=f"{ACS3}\n{digest}",
        is_acs3=True,
    )


def encoded(text: str) -> str:
    """Percent-encoded as RFC 3986 has it: everything but unreserved characters."""
    return quote(text, safe="~", encoding="utf-8", errors="surrogateescape")


def _nonce(text: str) -> str:
    if _NONCE.fullmatch(text) is None:
        raise DirectMailError("InvalidParameter", "SignatureNonce is too long, or has other than printable characters.")
    return text


def _timestamp(text: str) -> float:
    if _TIMESTAMP.fullmatch(text) is not None:
        try:
            return datetime.fromisoformat(text[:-1]).replace(tzinfo=UTC).timestamp()
        except ValueError:
            pass
    raise DirectMailError("InvalidTimeStamp.Format", "Specified time stamp is not of the form YYYY-MM-DDThh:mm:ssZ.")


class Nonces:
    """The nonces that were used, for as long as their timestamp could be taken.  most: remembered at once.

    begun: Unix time from which they are remembered: a request made before could be a repeated one.
    """

    def __init__(self, begun: float, most: int = 100_000) -> None:
        self._begun = float(int(begun))
        self._most = most
        self._used: dict[tuple[str, str], float] = {}

    def use(self, claim: Claim, now: float) -> None:
        """Take a request whose signature is good, once.  Raises DirectMailError."""
        if abs(now - claim.at) > WINDOW or claim.at < self._begun:
            raise DirectMailError("InvalidTimeStamp.Expired", "Specified time stamp or date value is expired.")
        key = (claim.key_id, claim.nonce)
        if self._used.get(key, now) > now:
            raise DirectMailError("SignatureNonceUsed", "Specified signature nonce was used already.")
        if len(self._used) >= self._most:
            self._used = {each: until for each, until in self._used.items() if until > now}
            if len(self._used) >= self._most:
                raise DirectMailError("Throttling", "Too many requests, try again later.", status=503)
        self._used[key] = claim.at + WINDOW + 1.0
