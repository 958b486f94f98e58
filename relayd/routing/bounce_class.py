"""What a refusal means: the class, whether the address is dead, and the rule that says so.

Pure: `classify_reply` is asked of what a peer said to us, `classify_code` of what we concluded ourselves, and
`classify_bounce` of a whole message that reports what was said to somebody else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from relayd.mail.bounce import Bounce, BouncedRecipient, BounceKind, read_bounce
from relayd.mail.reply import Reply
from relayd.routing.bounce_rules import BounceClass, Hardness, Rule, Rules, prepared


@dataclass(frozen=True, slots=True)
class Finding:
    """The class of a refusal.  rule: id of the rule that decided, "" when none did.  hard: no mail to this address will
    arrive; False says nothing about this message, whose refusal may be final.
    """

    class_: BounceClass
    rule: str = ""
    hard: bool = False


UNKNOWN = Finding(BounceClass.UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifiedRecipient:
    """A recipient of a report.  finding: None where nothing was refused (success, feedback, automatic replies).

    code, enhanced: what the finding rests on; 0 and "" where nothing was said.
    """

    address: str
    kind: BounceKind
    finding: Finding | None
    code: int = 0
    enhanced: str = ""
    original: str = ""
    diagnostic: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifiedBounce:
    """A message that may be a report, and what it says of whom; no recipients where it is none."""

    kind: BounceKind
    recipients: tuple[ClassifiedRecipient, ...]
    reporter: str = ""
    feedback_type: str = ""
    message_id: str = ""


def classify_reply(reply: Reply, rules: Rules, *, step: str = "", host: str = "") -> Finding:
    """What a refusal means.  step: the command it answers ("RCPT", "end of data"), "" when unknown.  host: the peer."""
    text, host = prepared(reply.text), host.lower()
    rule = rules.by_text(text, step, host) or rules.by_code(reply.code, reply.enhanced, text, step, host)
    return _finding(rule, reply.code, reply.enhanced, step) if rule is not None else UNKNOWN


def classify_code(reply: Reply, rules: Rules) -> Finding:
    """What a reply of our own making means: its text is ours, only its codes count."""
    rule = rules.by_code(reply.code, reply.enhanced)
    return _finding(rule, reply.code, reply.enhanced, "") if rule is not None else UNKNOWN


def classify_bounce(content: bytes, rules: Rules) -> ClassifiedBounce:
    """Read and classify a whole message."""
    bounce = read_bounce(content)
    return ClassifiedBounce(
        kind=bounce.kind,
        recipients=tuple(_classified(each, bounce, rules) for each in bounce.recipients),
        reporter=bounce.reporter,
        feedback_type=bounce.feedback_type,
        message_id=bounce.message_id,
    )


_REFUSED = (BounceKind.FAILURE, BounceKind.DELAY)
_CODE = re.compile(r"(?<![0-9.#/=:])([245][0-9][0-9])(?=[\s:'-]|$)", re.A)
_ENHANCED = re.compile(r"(?<![0-9.])([245]\.[0-9]{1,3}\.[0-9]{1,3})(?![0-9.]*[0-9])", re.A)


def _classified(recipient: BouncedRecipient, bounce: Bounce, rules: Rules) -> ClassifiedRecipient:
    codes = _codes(recipient, bounce)
    finding = _judged(recipient, bounce, rules, codes) if recipient.kind in _REFUSED else None
    return ClassifiedRecipient(
        address=recipient.address,
        kind=recipient.kind,
        finding=finding,
        code=codes.code,
        enhanced=codes.enhanced,
        original=recipient.original,
        diagnostic=recipient.diagnostic or recipient.said,
    )


def _judged(recipient: BouncedRecipient, bounce: Bounce, rules: Rules, codes: _Codes) -> Finding:
    """The peer's words go first, then the reporter's about this recipient, then the codes, then all of its words."""
    step = recipient.step.value if recipient.step is not None else ""
    host = recipient.remote.lower()
    rule = None
    for words in (recipient.diagnostic, recipient.said):
        if words and rule is None:
            rule = rules.by_text(prepared(words), step, host)
    if rule is None and codes.own:
        rule = rules.by_code(codes.code, codes.enhanced, prepared(recipient.diagnostic or recipient.said), step, host)
    if rule is None and len(bounce.recipients) == 1:
        text = prepared(bounce.text)
        rule = rules.by_text(text, step, host) or rules.by_code(codes.code, codes.enhanced, text, step, host)
    if rule is None:
        return Finding(BounceClass.EXPIRED) if recipient.kind is BounceKind.DELAY else UNKNOWN
    finding = _finding(rule, codes.code, codes.enhanced, step)
    return Finding(rule.given_up, rule.id, finding.hard) if rule.given_up is not None else finding


class _Codes(NamedTuple):
    """A reply code or 0, an enhanced code or "".  own: they were said of this recipient, not just anywhere."""

    code: int
    enhanced: str
    own: bool


def _codes(recipient: BouncedRecipient, bounce: Bounce) -> _Codes:
    """The most telling codes of those given."""
    own = f"{recipient.diagnostic[:4096]}\n{recipient.status}\n{recipient.said[:4096]}"
    anywhere = bounce.text[:4096] if len(bounce.recipients) == 1 else ""
    codes, enhanced = _CODE.findall(own), [each for each in _ENHANCED.findall(own) if not each.endswith(".0.0")]
    said = bool(codes or enhanced)
    codes = codes or _CODE.findall(anywhere)
    enhanced = enhanced or _ENHANCED.findall(anywhere) or [recipient.status]
    telling = next((each for each in enhanced if not each.endswith(".0.0")), enhanced[0])
    return _Codes(int(codes[0]) if codes else 0, telling, said)


def _finding(rule: Rule, code: int, enhanced: str, step: str) -> Finding:
    hard = rule.hard is Hardness.ALWAYS or (
        rule.hard is Hardness.ADDRESSED and (step == "RCPT" or enhanced[1:4] == ".1.")
    )
    temporary = enhanced[:1] == "4" if enhanced else code // 100 == 4
    return Finding(rule.class_, rule.id, hard and not temporary)
