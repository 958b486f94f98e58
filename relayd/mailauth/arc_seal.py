"""Sealing: the next ARC set of a message (RFC 8617 §5.1)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import msgspec

from relayd.mail.header import HeaderBlock
from relayd.mailauth.arc import MAX_SETS, NAMES, collect_sets, next_instance
from relayd.mailauth.canonical import BodyDigests, Canonical, canonical_field
from relayd.mailauth.dkim_sign import SIGNED, complete, field_hash, signed_names, unsigned_field
from relayd.mailauth.findings import ArcFinding, Result, plain_domain
from relayd.mailauth.results import MethodResult, results_field
from relayd.mailauth.signature import FieldSelector
from relayd.mailauth.signing_key import SigningKey

_OVERSIGNED = frozenset({"from"})  # so that h= is never empty
_STATES = {Result.NONE: "none", Result.PASS: "pass", Result.FAIL: "fail"}


class Sealer(msgspec.Struct, frozen=True, kw_only=True):
    """Who seals.  headers: fields to sign beside those of a DKIM signature and DKIM-Signature itself."""

    authserv_id: str
    domain: str
    selector: str
    headers: tuple[str, ...] = ()


class Sealable(msgspec.Struct, frozen=True, kw_only=True):
    """What is sealed.

    header: as it will be sent but for the set.  body: fed and finished, after `dkim_sign.want_signed`.  chain: the
    finding of the ARC chain that the message came with.  results: what was found out about the message here.  utf8:
    its header may have octets over 127.
    """

    header: HeaderBlock
    body: BodyDigests
    chain: ArcFinding
    results: tuple[MethodResult, ...]
    utf8: bool = False


def seal(message: Sealable, sealer: Sealer, key: SigningKey, now: float) -> bytes | None:
    """The three fields, to be put on top of the header.  now: Unix time.

    None when no set may be added: the chain ended with a seal that says "fail", it has 50 sets, or whether it holds
    is not known (a set that says "fail" would break it for good).
    """
    fields = FieldSelector(message.header)
    state = _STATES.get(message.chain.result)
    instance = next_instance(fields)
    if state is None or message.chain.sealed or instance > MAX_SETS:
        return None
    results = results_field(sealer.authserv_id, message.results, utf8=message.utf8, instance=instance)
    body_hash = message.body.digest(Canonical.RELAXED)
    assert body_hash is not None
    names = signed_names(fields, (*SIGNED, *sealer.headers), _OVERSIGNED)
    names += ("DKIM-Signature",) * len(fields.named("dkim-signature"))
    who = [f"d={plain_domain(sealer.domain)}", f"s={plain_domain(sealer.selector)}", f"t={int(now)}"]
    tags = [f"i={instance}", f"a={key.algorithm}", "c=relaxed/relaxed", *who]
    unsigned = unsigned_field("ARC-Message-Signature", tags, names, body_hash)
    signature = complete(unsigned, key, field_hash(fields, names))
    covered = _covered(fields if state == "pass" else None, (results, signature))
    tags = [f"i={instance}", f"a={key.algorithm}", f"cv={state}", *who]
    return complete(unsigned_field("ARC-Seal", tags, (), None), key, covered) + signature + results


def _covered(fields: FieldSelector | None, own: Iterable[bytes]) -> hashlib._Hash:
    """What a seal covers before itself: the sets below it, unless the chain is broken (§5.1.2), and its own."""
    hash = hashlib.sha256()
    for each in collect_sets(fields) if fields else ():
        for name in NAMES:
            hash.update(canonical_field(each.fields[name].raw, Canonical.RELAXED))
    for raw in own:
        hash.update(canonical_field(raw, Canonical.RELAXED))
    return hash
