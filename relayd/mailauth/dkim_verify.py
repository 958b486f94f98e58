"""Verification of the DKIM signatures of a message (RFC 6376 §6, RFC 8301, RFC 8463, RFC 8616).

A Verifier is made when the header is there, and says to the BodyDigests what it needs of the body; while the body
streams by nothing else happens.  Then each signature is concluded: body hash, key, header hash, in this order, so
that no key is asked for when the body is broken.  Concluding costs no more than a signature check for each key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import msgspec

from relayd.mail.header import HeaderField
from relayd.mailauth.canonical import BodyDigests
from relayd.mailauth.dkim_key import KeyRecord, KeyRecordError, parse_key_record
from relayd.mailauth.findings import DkimFinding, Result
from relayd.mailauth.signature import (
    FieldSelector,
    Signature,
    SignatureError,
    canonical_signature,
    dkim_signature,
    read_tags,
    shown_signature,
)
from relayd.mailauth.tags import Tags
from relayd.resolver.answer import NoData, NoName, ResolveError, Resolver

MINIMUM_BITS = 1024
_SHOWN = 253
_RECORDS = 4
"""Key records looked at under one name; there should be one (RFC 6376 §3.6.2.2)."""


class VerifyRules(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of signatures beyond the RFC.

    signatures: how many are looked at, from the top.  minimum_bits: of an RSA key, never taken below 1024 (RFC 8301
    §3.2).  refuse_length: a signature with l= does not count.  services: of the key record's s=, which must be for one.
    """

    signatures: int = 10
    minimum_bits: int = MINIMUM_BITS
    refuse_length: bool = False
    services: tuple[str, ...] = ("email",)


class SignatureCheck:
    """One DKIM-Signature.  finding: what is known of it; temperror until it is concluded."""

    __slots__ = ("_body", "_field", "_fields", "_rules", "_signature", "_steps", "finding")

    def __init__(self, field: HeaderField, fields: FieldSelector, body: BodyDigests, rules: VerifyRules) -> None:
        self._field = field
        self._fields = fields
        self._body = body
        self._rules = rules
        self._steps: list[str] = []
        self._signature: Signature | None = None
        self.finding = DkimFinding(result=Result.TEMPERROR, domain="", problem="not concluded")
        try:
            tags = read_tags(field)
            self.finding = _claimed(tags)
            signature = dkim_signature(tags)
            self._check_rules(signature)
            body.want(signature.body_form, signature.limit)
            self._signature = signature
        except SignatureError as error:
            self._settle(error.result, str(error), error.cause)

    @property
    def key_name(self) -> str | None:
        """The name whose TXT record `conclude` will ask for; None: it will not ask."""
        return self._signature.key_name if self._signature else None

    async def conclude(self, resolver: Resolver, now: float) -> DkimFinding:
        """The finding, once the body has ended.  now: Unix time at which the message was received."""
        if self._signature is not None:
            signature, self._signature = self._signature, None
            try:
                self._check_time(signature, now)
                self._check_body(signature)
                records = await key_records(signature.key_name, resolver)
                self._steps.append(f"{signature.key_name} has {len(records)} TXT record(s)")
                try_keys(records, lambda key: self._check_key(signature, key))
                self._settle(Result.PASS, "", "")
            except SignatureError as error:
                self._settle(error.result, str(error), error.cause)
        return self.finding

    def _check_rules(self, signature: Signature) -> None:
        self.finding = msgspec.structs.replace(
            self.finding, domain=signature.domain, selector=signature.selector, identity=signature.identity
        )
        if len(self._fields.named("from")) > signature.names.count("from"):
            raise SignatureError("a From field is not signed", Result.POLICY)
        if self._rules.refuse_length and signature.limit is not None:
            raise SignatureError("l= is not acceptable here", Result.POLICY, "dkim.signature-length")

    def _check_time(self, signature: Signature, now: float) -> None:
        if signature.expires_at is not None and signature.expires_at < now:
            raise SignatureError("the signature has expired", Result.POLICY, "dkim.signature-expired")

    def _check_body(self, signature: Signature) -> None:
        check_body(signature, self._body)
        self._steps.append("the body is as it was signed")
        if signature.limit is not None:
            behind = self._body.length(signature.body_form) - signature.limit
            self.finding = msgspec.structs.replace(self.finding, unsigned_octets=behind)
            self._steps.append(f"{behind} octets of it stand behind what l= covers")

    def _check_key(self, signature: Signature, key: KeyRecord) -> None:
        self.finding = msgspec.structs.replace(self.finding, bits=key.bits, testing=key.testing)
        check_key_use(signature.key_type, key, self._rules)
        if key.strict and signature.identity_domain != signature.domain:
            problem = "the key is not for the domain of i= (t=s)"
            raise SignatureError(problem, Result.PERMERROR, "dkim.failed-auid-match")
        if not key.verifies(signature.signature, header_digest(signature, self._field, self._fields)):
            # A domain that is only testing must not fare worse than one that does not sign (RFC 6376 §3.6.1, t=y)
            result = Result.NEUTRAL if key.testing else Result.FAIL
            raise SignatureError("the header was changed, or the key is another", result, "dkim.failed-verification")
        self._steps.append(f"the header is as it was signed with the {key.bits}-bit {key.type} key")

    def _settle(self, result: Result, problem: str, cause: str) -> None:
        self.finding = msgspec.structs.replace(
            self.finding, result=result, problem=problem, cause=cause, steps=(*self._steps, *filter(None, [problem]))
        )


class Verifier:
    """The DKIM signatures of one message.

    fields: of the whole header as received, before anything of ours is added.  body: gets the wishes here, then the
    octets from the caller; both may serve ARC too, the body also signing.
    """

    __slots__ = ("checks", "unseen")

    def __init__(self, fields: FieldSelector, body: BodyDigests, rules: VerifyRules | None = None) -> None:
        rules = rules or VerifyRules()
        signatures = fields.named("dkim-signature")
        self.checks = tuple(SignatureCheck(field, fields, body, rules) for field in signatures[: rules.signatures])
        self.unseen = max(0, len(signatures) - rules.signatures)
        """Signatures below those that are looked at."""

    @property
    def key_names(self) -> tuple[str, ...]:
        """Names whose TXT records will be asked for, so that the caller can ask for all at once beforehand."""
        return tuple(dict.fromkeys(check.key_name for check in self.checks if check.key_name))

    @property
    def findings(self) -> tuple[DkimFinding, ...]:
        """By signature, from the top; temperror for those not concluded yet."""
        return tuple(check.finding for check in self.checks)

    async def finish(self, resolver: Resolver, now: float) -> tuple[DkimFinding, ...]:
        """Conclude them one after the other; who wants them side by side awaits `conclude` of each check."""
        for check in self.checks:
            await check.conclude(resolver, now)
        return self.findings


async def key_records(name: str, resolver: Resolver) -> tuple[bytes, ...]:
    """The TXT records of a key.  SignatureError, permerror or temperror."""
    try:
        answer = await resolver.txt(name)
    except (NoName, NoData):
        problem = f"there is no key at {name}"
        raise SignatureError(problem, Result.PERMERROR, "mail-auth.dns-record-not-found") from None
    except ResolveError:
        problem = f"the key at {name} cannot be had now"
        raise SignatureError(problem, Result.TEMPERROR, "mail-auth.dns-error") from None
    return answer.records


def try_keys(records: tuple[bytes, ...], check: Callable[[KeyRecord], None]) -> None:
    """Give the keys to `check` until it takes one (RFC 6376 §6.1.2); else raises its SignatureError.

    What it says of a key counts for more than that another record is none.
    """
    problem: SignatureError | None = None
    for text in records[:_RECORDS]:
        try:
            check(parse_key_record(text))
            return
        except KeyRecordError as error:
            problem = problem or SignatureError(str(error), Result.PERMERROR, error.cause)
        except SignatureError as error:
            if problem is None or problem.result is Result.PERMERROR:
                problem = error
    raise problem or SignatureError("there is no key", Result.PERMERROR, "mail-auth.dns-record-not-found")


def check_body(signature: Signature, body: BodyDigests) -> None:
    """SignatureError unless the body is the one that was signed."""
    hash = body.digest(signature.body_form, signature.limit)
    if hash is None:
        raise SignatureError("the body is shorter than l=", Result.FAIL, "dkim.failed-body-hash-match")
    if hash != signature.body_hash:
        raise SignatureError("the body was changed", Result.FAIL, "dkim.failed-body-hash-match")


def check_key_use(key_type: str, key: KeyRecord, rules: VerifyRules) -> None:
    """SignatureError unless the key may be used for such a signature (RFC 6376 §6.1.2, RFC 8301 §3.2)."""
    if key.type != key_type:
        raise SignatureError("the key is not for the algorithm of a=", Result.PERMERROR, "dkim.incompatible-algorithms")
    if key.hashes is not None and "sha256" not in key.hashes:
        raise SignatureError("the key is not for SHA-256", Result.PERMERROR, "dkim.incompatible-algorithms")
    if "*" not in key.services and not set(rules.services).intersection(key.services):
        raise SignatureError("the key is not for mail (s=)", Result.PERMERROR, "dkim.unsupported-key-type")
    if key.type == "rsa" and key.bits < max(rules.minimum_bits, MINIMUM_BITS):
        raise SignatureError(f"a key of {key.bits} bits is too weak", Result.POLICY, "mail-auth.crypto")


def header_digest(signature: Signature, field: HeaderField, fields: FieldSelector) -> bytes:
    """SHA-256 of the fields that a signature covers, and of itself (RFC 6376 §3.7)."""
    form = signature.header_form
    hash = hashlib.sha256()
    for octets in fields.signed(signature.names, form, field):
        hash.update(octets)
    hash.update(canonical_signature(field.raw, form))
    return hash.digest()


def _claimed(tags: Tags) -> DkimFinding:
    """What a signature says of itself, before anything of it is believed."""

    def shown(name: str) -> str:
        text = tags.octets(name).decode("utf-8", "replace")[:_SHOWN] if name in tags else ""
        return text if text.isprintable() else ""

    return DkimFinding(
        result=Result.TEMPERROR,
        domain=shown("d").lower(),
        selector=shown("s").lower(),
        algorithm=shown("a"),
        identity=shown("i"),
        signature=shown_signature(tags),
        problem="not concluded",
    )
