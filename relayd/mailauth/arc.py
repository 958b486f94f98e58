"""Validation of an ARC chain (RFC 8617 §5.2).

A chain holds as a whole or not at all: its sets are complete and numbered without a gap, every seal but the first says
"pass", the newest message signature holds, and so does every seal.  DNS is asked from the newest set down and no
longer once something fails.  A seal covers all sets below it, so one running hash serves all seals.
"""

from __future__ import annotations

import hashlib

from relayd.mail.header import HeaderField
from relayd.mailauth.canonical import BodyDigests, Canonical, canonical_field
from relayd.mailauth.dkim_key import KeyRecord
from relayd.mailauth.dkim_verify import VerifyRules, check_body, check_key_use, header_digest, key_records, try_keys
from relayd.mailauth.findings import ArcFinding, ArcSet, Result
from relayd.mailauth.results_read import ResultsError, parse_arc_results
from relayd.mailauth.signature import (
    FieldSelector,
    Signature,
    SignatureError,
    Signer,
    arc_message_signature,
    canonical_signature,
    read_signer,
    read_tags,
)
from relayd.mailauth.tags import TagError, Tags
from relayd.resolver.answer import Resolver

MAX_SETS = 50
"""RFC 8617 §4.2.1: a chain with more has failed."""

_RESULTS, _MESSAGE, _SEAL = "arc-authentication-results", "arc-message-signature", "arc-seal"
NAMES = (_RESULTS, _MESSAGE, _SEAL)
"""Lower-case names of the three fields of a set, in the order in which a seal covers them."""


class ChainError(Exception):
    """The chain fails; the text says why.  cause, sealed: as in `ArcFinding`."""

    def __init__(self, problem: str, cause: str = "arc.broken-chain", *, sealed: bool = False) -> None:
        super().__init__(problem)
        self.cause = cause
        self.sealed = sealed


class FieldSet:
    """The fields of one instance, and what was read from them."""

    __slots__ = ("digest", "fields", "finding", "message", "seal", "tags")

    def __init__(self) -> None:
        self.fields: dict[str, HeaderField] = {}
        self.tags: dict[str, Tags] = {}
        self.message: Signature | None = None
        self.seal: Signer | None = None
        self.digest = b""
        self.finding: ArcSet | None = None


class ChainVerifier:
    """The ARC chain of one message; made, fed and finished as `dkim_verify.Verifier` is, from the same things."""

    __slots__ = ("_body", "_fields", "_keys", "_rules", "_sets", "_steps", "finding")

    def __init__(self, fields: FieldSelector, body: BodyDigests, rules: VerifyRules | None = None) -> None:
        self._fields = fields
        self._body = body
        self._rules = rules or VerifyRules()
        self._sets: list[FieldSet] = []
        self._keys: dict[str, tuple[bytes, ...] | SignatureError] = {}
        self._steps: list[str] = []
        self.finding = ArcFinding(result=Result.NONE)
        try:
            self._sets = collect_sets(self._fields)
            self._read()
        except ChainError as error:
            self.finding = ArcFinding(result=Result.FAIL, sealed=error.sealed)
            self._settle(Result.FAIL, str(error), error.cause)
            self._sets = []
        else:
            if self._sets:
                self._settle(Result.TEMPERROR, "not concluded", "")

    @property
    def key_names(self) -> tuple[str, ...]:
        """Names whose TXT records will be asked for if all goes well: those of the newest sets."""
        names: list[str] = []
        for each in self._sets[: -_PREFETCHED - 1 : -1]:
            names += [signer.key_name for signer in (each.message, each.seal) if signer]
        return tuple(dict.fromkeys(names))

    async def finish(self, resolver: Resolver, now: float) -> ArcFinding:
        """The finding, once the body has ended.  now: Unix time at which the message was received."""
        if self._sets:
            try:
                await self._check_message(self._sets[-1], resolver, now)
                for each in reversed(self._sets):
                    await self._check_seal(each, resolver)
                self._settle(Result.PASS, "", "", await self._oldest_pass(resolver, now))
            except SignatureError as error:
                temporary = error.result is Result.TEMPERROR
                cause = error.cause if temporary else "arc.broken-chain"
                self._settle(Result.TEMPERROR if temporary else Result.FAIL, str(error), cause)
            self._sets = []
        return self.finding

    def _read(self) -> None:
        """Seals and message signatures as values, and what each seal covers."""
        running = hashlib.sha256()
        for place, each in enumerate(self._sets):
            expected = "pass" if place else "none"
            if _validation(each.tags[_SEAL]) != expected:
                raise ChainError(f"the seal of instance {place + 1} does not say {expected}", "arc.invalid-cv")
            if "h" in each.tags[_SEAL]:
                raise ChainError(f"the seal of instance {place + 1} has h=", "arc.has-header-tag")
            each.seal = _seal(each.tags[_SEAL], place + 1)
            each.finding = _set_finding(place + 1, each.seal, each.fields[_RESULTS])
            for name in (_RESULTS, _MESSAGE):
                running.update(canonical_field(each.fields[name].raw, Canonical.RELAXED))
            seal = each.fields[_SEAL].raw
            covered = running.copy()
            covered.update(canonical_signature(seal, Canonical.RELAXED))
            each.digest = covered.digest()
            running.update(canonical_field(seal, Canonical.RELAXED))
            self._read_message(each, newest=place == len(self._sets) - 1)

    def _read_message(self, each: FieldSet, newest: bool) -> None:
        """The message signature; that of an older set may be anything, only `oldest_pass` depends on it."""
        try:
            each.message = arc_message_signature(each.tags[_MESSAGE])
            self._body.want(each.message.body_form, each.message.limit)
        except SignatureError as error:
            if newest:
                raise ChainError(f"the newest message signature: {error}") from None

    async def _records(self, name: str, resolver: Resolver) -> tuple[bytes, ...]:
        """As `key_records`, asked once for each name."""
        if name not in self._keys:
            try:
                self._keys[name] = await key_records(name, resolver)
            except SignatureError as error:
                self._keys[name] = error
        found = self._keys[name]
        if isinstance(found, SignatureError):
            raise found
        return found

    async def _check_message(self, each: FieldSet, resolver: Resolver, now: float) -> None:
        signature = each.message
        if signature is None:
            raise SignatureError("the message signature cannot be read")
        if signature.expires_at is not None and signature.expires_at < now:
            raise SignatureError("the message signature has expired")
        check_body(signature, self._body)
        records = await self._records(signature.key_name, resolver)
        digest = header_digest(signature, each.fields[_MESSAGE], self._fields)
        try_keys(records, lambda key: self._check_key(signature, key, digest))
        self._steps.append(f"the message is as {signature.key_name} signed it")

    async def _check_seal(self, each: FieldSet, resolver: Resolver) -> None:
        signer, finding = each.seal, each.finding
        assert signer is not None
        assert finding is not None
        records = await self._records(signer.key_name, resolver)
        try:
            try_keys(records, lambda key: self._check_key(signer, key, each.digest))
        except SignatureError as error:
            raise SignatureError(f"seal {finding.instance}: {error}", error.result, error.cause) from None
        self._steps.append(f"seal {finding.instance} is that of {signer.key_name}")

    def _check_key(self, signer: Signer, key: KeyRecord, digest: bytes) -> None:
        check_key_use(signer.key_type, key, self._rules)
        if not key.verifies(signer.signature, digest):
            raise SignatureError("what was signed was changed, or the key is another", Result.FAIL)

    async def _oldest_pass(self, resolver: Resolver, now: float) -> int:
        """RFC 8617 §5.2, step 5: down to which instance the message signatures hold, 0 for all."""
        for place in range(len(self._sets) - 2, -1, -1):
            try:
                await self._check_message(self._sets[place], resolver, now)
            except SignatureError:
                return place + 2
        return 0

    def _settle(self, result: Result, problem: str, cause: str, oldest_pass: int | None = None) -> None:
        self.finding = ArcFinding(
            result=result,
            sets=tuple(each.finding for each in self._sets if each.finding),
            oldest_pass=oldest_pass,
            sealed=self.finding.sealed,
            cause=cause,
            problem=problem,
            steps=(*self._steps, *filter(None, [problem])),
        )


def collect_sets(selector: FieldSelector) -> list[FieldSet]:
    """The sets of a header by instance, 1 first; [] when it has none.

    ChainError: too many, the newest seal says "fail", an instance is not clear, a set is missing or not complete.
    """
    fields = [(name, field) for name in NAMES for field in selector.named(name)]
    if len(fields) > len(NAMES) * MAX_SETS:
        raise ChainError("more than 50 sets", "arc.chain-too-long")
    sets: dict[int, FieldSet] = {}
    for name, field in fields:
        tags = None if name == _RESULTS else _tags(field)
        each = sets.setdefault(_instance(field, tags), FieldSet())
        if name in each.fields:
            raise ChainError(f"two {name} fields of one instance")
        each.fields[name] = field
        if tags is not None:
            each.tags[name] = tags
    newest = sets.get(max(sets, default=0))
    if newest is not None and _SEAL in newest.tags and _validation(newest.tags[_SEAL]) == "fail":
        raise ChainError("the newest seal says that the chain is broken", sealed=True)
    if sorted(sets) != list(range(1, len(sets) + 1)):
        raise ChainError("an instance is missing", "arc.invalid-instance")
    if any(len(each.fields) < len(NAMES) for each in sets.values()):
        raise ChainError("a set is not complete")
    return [sets[instance] for instance in sorted(sets)]


def next_instance(selector: FieldSelector) -> int:
    """One more than the highest instance that any ARC field names, whether its chain holds or not."""
    highest = 0
    for name in NAMES:
        for field in selector.named(name):
            try:
                highest = max(highest, _instance(field, None if name == _RESULTS else _tags(field)))
            except ChainError:
                continue
    return highest + 1


def _tags(field: HeaderField) -> Tags:
    try:
        return read_tags(field)
    except SignatureError as error:
        raise ChainError(f"{field.name}: {error}") from None


def _instance(field: HeaderField, tags: Tags | None) -> int:
    try:
        if tags is None:
            instance = parse_arc_results(field.raw[field.raw.find(b":") + 1 :])[0]
        else:
            instance = tags.number("i", 2) or 0
    except (ResultsError, TagError) as error:
        raise ChainError(f"{field.name}: {error}", "arc.invalid-instance") from None
    if not 1 <= instance <= MAX_SETS:
        raise ChainError(f"{field.name} has no instance", "arc.invalid-instance")
    return instance


def _validation(seal: Tags) -> str:
    try:
        return seal.text("cv")
    except TagError:
        return ""


def _seal(tags: Tags, instance: int) -> Signer:
    try:
        tags.number("t", 12)
        return read_signer(tags)
    except (TagError, SignatureError) as error:
        raise ChainError(f"seal {instance}: {error}") from None


def _set_finding(instance: int, seal: Signer, results: HeaderField) -> ArcSet:
    _, said = parse_arc_results(results.raw[results.raw.find(b":") + 1 :])
    dmarc = said.result("dmarc") if said else None
    arc = said.result("arc") if said else None
    return ArcSet(
        instance=instance,
        domain=seal.domain,
        selector=seal.selector,
        dmarc=_RESULT_NAMES.get(dmarc or ""),
        arc=_RESULT_NAMES.get(arc or ""),
    )


_RESULT_NAMES = {result.value: result for result in Result}
_PREFETCHED = 5
