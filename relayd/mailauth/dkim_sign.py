"""DKIM signing (RFC 6376 §5, RFC 8463): who signs a message, and the fields that do.

relaxed/relaxed, never l=.  Every occurrence of a signed field is covered, and From, To, Cc, Subject, Date, Reply-To
once more than they occur, so that nobody can add one.  Fields that a relay on the way writes or changes are never
signed, whatever the configuration asks for.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from relayd.mail.address import split_address
from relayd.mail.header import HeaderBlock
from relayd.mailauth.canonical import BodyDigests, Canonical, canonical_field
from relayd.mailauth.findings import plain_domain
from relayd.mailauth.signature import FieldSelector
from relayd.mailauth.signing_key import SigningKey

SIGNED = (
    "From",
    "To",
    "Cc",
    "Subject",
    "Date",
    "Message-ID",
    "Reply-To",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "Content-ID",
    "Content-Description",
    "Content-Disposition",
    "Content-Language",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
)
OVERSIGNED = frozenset({"from", "to", "cc", "subject", "date", "reply-to"})
NEVER = frozenset(
    {
        "received",
        "return-path",
        "authentication-results",
        "dkim-signature",
        "arc-authentication-results",
        "arc-message-signature",
        "arc-seal",
        "bcc",
        "resent-bcc",
        "comments",
        "keywords",
        "delivered-to",
        "received-spf",
    }
)
GRACE = 7 * 86400.0
"""Seconds that a signature stays good after the queue has given the message up."""

_WIDTH = 70
"""Octets of a line behind its tab: 78 columns."""


class SignatureRule(msgspec.Struct, frozen=True, kw_only=True):
    """A signature of the configuration, without its key.

    headers: fields to sign beside `SIGNED`.  identity: i=, "" for none.  expire: seconds until x=, None for no x=.
    authors: domains of From that it signs for ("*.example.org": those below, "*": all), () for `domain` alone.
    return_paths: domains of which the return path's must be one ("": the null path), () for any.  accounts: of which
    the sender must be one, () for any.  report: r=y (RFC 6651 §3.2).
    """

    id: str
    domain: str
    selector: str
    headers: tuple[str, ...] = ()
    identity: str = ""
    expire: float | None = None
    authors: tuple[str, ...] = ()
    return_paths: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    report: bool = False


def signers(
    from_domain: str, return_path: str, account: str | None, rules: Iterable[SignatureRule]
) -> tuple[SignatureRule, ...]:
    """The signatures that a message gets.

    from_domain: of its one From address, one that the sender was found to be allowed to use; "" when there is none.
    return_path: "" for the null path.  account: who signed in, or None.
    """
    author = plain_domain(from_domain)
    if not author:
        return ()
    bounce = plain_domain(split_address(return_path)[1]) if return_path else ""
    return tuple(
        rule
        for rule in rules
        if _matches(author, rule.authors or (rule.domain,))
        and (not rule.return_paths or _matches(bounce, rule.return_paths))
        and (not rule.accounts or account in rule.accounts)
    )


def _matches(domain: str, patterns: Iterable[str]) -> bool:
    for pattern in patterns:
        if pattern == "*":
            return True
        if pattern.startswith("*."):
            if domain.endswith("." + plain_domain(pattern[2:])):
                return True
        elif domain == plain_domain(pattern):
            return True
    return False


def expiry(expire: float | None, queue_expire: float) -> float | None:
    """Seconds until x=, never before the queue has given up and a week has passed; None for none."""
    return None if expire is None else max(expire, queue_expire + GRACE)


def want_signed(body: BodyDigests) -> None:
    """Say what signing and sealing need of the body, before it is fed."""
    body.want(Canonical.RELAXED)


def sign(header: HeaderBlock, body: BodyDigests, keys: Sequence[tuple[SignatureRule, SigningKey]], now: float) -> bytes:
    """The DKIM-Signature fields, to be put on top of the header that is given, as it will be sent.

    body: fed and finished, after `want_signed`.  now: Unix time.
    """
    fields = FieldSelector(header)
    body_hash = body.digest(Canonical.RELAXED)
    assert body_hash is not None
    covered: dict[tuple[str, ...], hashlib._Hash] = {}
    signed = []
    for rule, key in keys:
        names = signed_names(fields, (*SIGNED, *rule.headers), OVERSIGNED)
        if names not in covered:
            covered[names] = field_hash(fields, names)
        tags = [
            "v=1",
            f"a={key.algorithm}",
            "c=relaxed/relaxed",
            f"d={plain_domain(rule.domain)}",
            f"s={plain_domain(rule.selector)}",
            f"t={int(now)}",
        ]
        if rule.expire is not None:
            tags.append(f"x={int(now + rule.expire)}")
        if rule.identity:
            tags.append(f"i={quoted_identity(rule.identity)}")
        if rule.report:
            tags.append("r=y")
        unsigned = unsigned_field("DKIM-Signature", tags, names, body_hash)
        signed.append(complete(unsigned, key, covered[names].copy()))
    return b"".join(signed)


def signed_names(fields: FieldSelector, wanted: Iterable[str], oversigned: frozenset[str]) -> tuple[str, ...]:
    """The names for h=: each as often as it occurs, and once more where it is oversigned."""
    names: list[str] = []
    for key, name in {name.lower(): name for name in wanted}.items():
        if key not in NEVER:
            names += [name] * (len(fields.named(key)) + (key in oversigned))
    return tuple(names)


def field_hash(fields: FieldSelector, names: Iterable[str]) -> hashlib._Hash:
    """SHA-256 of the fields that the names stand for; the signature field's own comes behind them."""
    hash = hashlib.sha256()
    for octets in fields.signed((name.lower() for name in names), Canonical.RELAXED):
        hash.update(octets)
    return hash


def unsigned_field(name: str, tags: Iterable[str], names: Sequence[str], body_hash: bytes | None) -> str:
    """A signature field up to and with `b=`, folded.  body_hash None: neither h= nor bh=, as in a seal."""
    lines = [f"{name}:"]
    for tag in tags:
        _add(lines, f" {tag};")
    if body_hash is not None:
        lines.append("\th=")
        for part in _colons(names):
            _add(lines, part)
        _add(lines, f" bh={base64.b64encode(body_hash).decode('ascii')};")
    lines.append("\tb=")
    return "\r\n".join(lines)


def _add(lines: list[str], part: str) -> None:
    if len(lines[-1]) + len(part) > 1 + _WIDTH:
        lines.append("\t" + part.removeprefix(" "))
    else:
        lines[-1] += part


def _colons(names: Sequence[str]) -> Iterator[str]:
    for place, name in enumerate(names):
        yield name + (";" if place == len(names) - 1 else ":")


def complete(unsigned: str, key: SigningKey, covered: hashlib._Hash) -> bytes:
    """The signature field with its signature and CRLF.  covered: the hash of what it covers before itself."""
    field = unsigned.encode("ascii")
    covered.update(canonical_field(field + b"\r\n", Canonical.RELAXED).removesuffix(b"\r\n"))
    text = base64.b64encode(key.sign(covered.digest()))
    first, other = _WIDTH - 2, _WIDTH - 1  # behind "b=", behind a blank
    lines = [text[:first], *(text[at : at + other] for at in range(first, len(text), other))]
    return field + b"\r\n\t ".join(lines) + b"\r\n"


def quoted_identity(identity: str) -> str:
    """An identity as i= has it (RFC 6376 §2.11)."""
    plain = set(range(0x21, 0x7F)) - set(b";=")
    return "".join(chr(octet) if octet in plain else f"={octet:02X}" for octet in identity.encode())
