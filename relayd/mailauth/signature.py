"""One signature field as value: DKIM-Signature (RFC 6376 §3.5) and ARC-Message-Signature (RFC 8617 §4.1.2).

ARC-Seal has the same tags but signs no chosen fields; it shares the reading of names and algorithm.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from relayd.mail.address import AddressError
from relayd.mail.header import HeaderBlock, HeaderField
from relayd.mailauth.canonical import Canonical, canonical_field
from relayd.mailauth.findings import Result
from relayd.mailauth.tags import TagError, Tags, checked_domain, parse_tags

_ENCODED = re.compile(rb"=([0-9A-F]{2})")
_KEY_NAME = 253
_SIGNATURE_SHOWN = 8


class SignatureError(ValueError):
    """The signature cannot be, or may not be, verified; the text says why.

    result: what becomes of it.  cause: as in `DkimFinding.cause`.
    """

    def __init__(self, problem: str, result: Result = Result.NEUTRAL, cause: str = "mail-auth.parse-error") -> None:
        super().__init__(problem)
        self.result = result
        self.cause = cause


class Signer(msgspec.Struct, frozen=True, kw_only=True):
    """Who signed and how: what every kind of signature has.  key_type: "rsa" or "ed25519"."""

    algorithm: str
    key_type: str
    domain: str
    selector: str
    signature: bytes

    @property
    def key_name(self) -> str:
        """The name that the key is published at."""
        return f"{self.selector}._domainkey.{self.domain}"


class Signature(Signer, frozen=True, kw_only=True):
    """names: of the signed fields (h=), lower case, in order.  limit: l=.  identity: i=, "" for ARC."""

    header_form: Canonical
    body_form: Canonical
    body_hash: bytes
    names: tuple[str, ...]
    limit: int | None = None
    identity: str = ""
    identity_domain: str = ""
    signed_at: int | None = None
    expires_at: int | None = None


def read_tags(field: HeaderField) -> Tags:
    """The tags of a signature field.  SignatureError."""
    try:
        return parse_tags(field.raw[field.raw.find(b":") + 1 :])
    except TagError as error:
        raise SignatureError(str(error)) from None


def read_signer(tags: Tags) -> Signer:
    """a=, b=, d=, s= of any signature.  SignatureError; RFC 8301 §3.1 forbids rsa-sha1."""
    try:
        algorithm = tags.text("a")
        if algorithm == "rsa-sha1":
            raise SignatureError(
                "rsa-sha1 is not acceptable (RFC 8301)", Result.PERMERROR, "dkim.incompatible-algorithms"
            )
        if algorithm not in ("rsa-sha256", "ed25519-sha256"):
            raise SignatureError("the algorithm of a= is not known", cause="dkim.unsupported-algorithm")
        signer = Signer(
            algorithm=algorithm,
            key_type=algorithm.removesuffix("-sha256"),
            domain=tags.domain("d"),
            selector=tags.domain("s"),
            signature=tags.base64("b"),
        )
    except TagError as error:
        raise SignatureError(str(error)) from None
    if not signer.signature:
        raise SignatureError("b= is empty")
    if len(signer.key_name) > _KEY_NAME:
        raise SignatureError("s= and d= make a name that is too long", Result.PERMERROR)
    return signer


def dkim_signature(tags: Tags) -> Signature:
    """What a DKIM-Signature says, checked as far as RFC 6376 §6.1.1 asks without clock, message or key.

    SignatureError.
    """
    try:
        if tags.octets("v") != b"1":
            raise SignatureError("v= is not 1", cause="dkim.unsupported-version")
        signer = read_signer(tags)
        if "." not in signer.domain:
            raise SignatureError("d= is not a domain name")
        if "dns/txt" not in (tags.words("q") if "q" in tags else ("dns/txt",)):
            raise SignatureError("q= names no way to get the key that is known")
        signature = _signature(tags, signer, Canonical.SIMPLE, _identity(tags, signer.domain))
    except TagError as error:
        raise SignatureError(str(error)) from None
    if "from" not in signature.names:
        raise SignatureError("From is not signed", Result.PERMERROR, "mail-auth.missing-parameters")
    if signature.expires_at is not None and signature.expires_at <= (signature.signed_at or 0):
        raise SignatureError("x= is not later than t=")
    return signature


def arc_message_signature(tags: Tags) -> Signature:
    """What an ARC-Message-Signature says.  SignatureError.

    As a DKIM signature, but From need not be signed, there is no v=, i= is the instance, and the implementations
    agree (the public suite too) that without c= it is relaxed/relaxed.
    """
    try:
        signature = _signature(tags, read_signer(tags), Canonical.RELAXED, ("", ""))
    except TagError as error:
        raise SignatureError(str(error)) from None
    if "arc-seal" in signature.names:
        raise SignatureError("h= names ARC-Seal")
    return signature


def _signature(tags: Tags, signer: Signer, default: Canonical, identity: tuple[str, str]) -> Signature:
    header_form, body_form = _forms(tags, default)
    return Signature(
        algorithm=signer.algorithm,
        key_type=signer.key_type,
        domain=signer.domain,
        selector=signer.selector,
        signature=signer.signature,
        header_form=header_form,
        body_form=body_form,
        body_hash=_body_hash(tags),
        # An empty element of h= names nothing, since no field is called so
        names=tuple(name.lower() for name in tags.words("h")),
        limit=tags.number("l", 76),
        identity=identity[0],
        identity_domain=identity[1],
        signed_at=tags.number("t", 12),
        expires_at=tags.number("x", 12),
    )


def _body_hash(tags: Tags) -> bytes:
    hash = tags.base64("bh")
    if len(hash) != 32:
        raise TagError("bh= is not a SHA-256 hash")
    return hash


def _forms(tags: Tags, default: Canonical) -> tuple[Canonical, Canonical]:
    header, slash, body = tags.text("c", f"{default.value}/{default.value}").partition("/")
    try:
        return Canonical(header), Canonical(body) if slash else Canonical.SIMPLE
    except ValueError:
        raise SignatureError("the form of c= is not known", cause="dkim.unsupported-canonicalization") from None


def _identity(tags: Tags, domain: str) -> tuple[str, str]:
    """i= and the domain in it, which must be d= or below it (RFC 6376 §3.5)."""
    if "i" not in tags:
        return "@" + domain, domain
    value = tags.octets("i").translate(None, b" \t\r\n")
    value = _ENCODED.sub(lambda found: bytes([int(found[1], 16)]), value)
    local, at, name = value.rpartition(b"@")
    try:
        text, own = local.decode("utf-8"), checked_domain(name.decode("utf-8"))
    except (UnicodeDecodeError, AddressError):
        raise SignatureError("i= is not an address") from None
    if not at or not text.isprintable():
        raise SignatureError("i= is not an address")
    if own != domain and not own.endswith("." + domain):
        raise SignatureError("the domain of i= is not below d=", Result.PERMERROR, "dkim.failed-auid-match")
    return f"{text}@{own}", own


def shown_signature(tags: Tags) -> str:
    """The first characters of b=, which tell the signatures of a message apart (RFC 6008 §3)."""
    octets = tags.octets("b") if "b" in tags else b""
    return octets.translate(None, b" \t\r\n")[:_SIGNATURE_SHOWN].decode("ascii", "replace")


def without_signature(raw: bytes) -> bytes:
    """A signature field with nothing behind `b=` and without its last CRLF: as it signs itself (RFC 6376 §3.7)."""
    name, colon, value = raw.partition(b":")
    parts = value.removesuffix(b"\r\n").split(b";")
    for place, part in enumerate(parts):
        tag, equals, _ = part.partition(b"=")
        if equals and tag.strip() == b"b":
            parts[place] = tag + equals
    return name + colon + b";".join(parts)


class FieldSelector:
    """The fields that a header has now, to be picked from the bottom up; canonical forms are made once.

    DKIM and ARC of a message share one.  Editing the header afterwards does not change it.
    """

    __slots__ = ("_fields", "_places", "_relaxed")

    def __init__(self, header: HeaderBlock) -> None:
        self._fields = tuple(header.fields)
        self._relaxed: dict[int, bytes] = {}
        self._places: dict[str, list[int]] = {}
        for place, field in enumerate(self._fields):
            if field.name:
                self._places.setdefault(field.name.lower(), []).append(place)

    def named(self, name: str) -> list[HeaderField]:
        """All fields of that name (in lower case), from the top."""
        return [self._fields[place] for place in self._places.get(name, ())]

    def signed(self, names: Iterable[str], form: Canonical, own: HeaderField | None = None) -> list[bytes]:
        """The canonical fields that a list of names in h= stands for (RFC 6376 §5.4.2).

        A name takes the lowest field of its name not taken yet; one for which there is none left takes nothing.
        own: the signature's own field, which is never among them.
        """
        left: dict[str, list[int]] = {}
        taken = []
        for name in names:
            places = left.get(name)
            if places is None:
                places = [place for place in self._places.get(name, ()) if self._fields[place] is not own]
                left[name] = places
            if places:
                place = places.pop()
                taken.append(self._relaxed_field(place) if form is Canonical.RELAXED else self._whole_field(place))
        return taken

    def _relaxed_field(self, place: int) -> bytes:
        if place not in self._relaxed:
            self._relaxed[place] = canonical_field(self._fields[place].raw, Canonical.RELAXED)
        return self._relaxed[place]

    def _whole_field(self, place: int) -> bytes:
        """The field as it stands; the last line of a header without a body may lack its CRLF."""
        raw = self._fields[place].raw
        return raw if raw.endswith(b"\r\n") else raw + b"\r\n"


def canonical_signature(raw: bytes, form: Canonical) -> bytes:
    """A signature field as it signs itself."""
    return canonical_field(without_signature(raw), form).removesuffix(b"\r\n")
