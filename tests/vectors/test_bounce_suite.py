"""Real bounces of many programs (the suite `bounces`): recipients found, hard or soft, and the class.

The labels are Sisimai's reasons; `CLASSES` says which of our classes are right for each.  Its "hard" means what ours
does: the address is dead, other mail to it need not be tried.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from relayd.config.bounces import shipped_rules
from relayd.mail.bounce import BounceKind
from relayd.routing.bounce_class import ClassifiedRecipient, classify_bounce
from relayd.routing.bounce_rules import build_rules
from tests.rig.peers import require_suite

CLASSES = {
    "userunknown": {"bad-mailbox"},
    "filtered": {"bad-mailbox"},  # "user unknown", said to the message and not to the address
    "hasmoved": {"bad-mailbox"},
    "suspend": {"bad-mailbox"},
    "hostunknown": {"bad-domain"},
    "notaccept": {"bad-domain"},
    "mailboxfull": {"full"},
    "mesgtoobig": {"size"},
    "exceedlimit": {"size"},
    "rejected": {"policy"},
    "policyviolation": {"policy"},
    "norelaying": {"policy"},
    "securityerror": {"policy", "tls"},
    "spamdetected": {"content"},
    "virusdetected": {"content"},
    "contenterror": {"content"},
    "notcompliantrfc": {"content"},
    "blocked": {"reputation"},
    "badreputation": {"reputation"},
    "requireptr": {"reputation"},
    "speeding": {"rate"},
    "toomanyconn": {"rate"},
    "ratelimited": {"rate"},
    "failedstarttls": {"tls"},
    "authfailure": {"auth"},
    "networkerror": {"network", "dns"},
    "expired": {"expired"},
    "systemerror": {"system"},
    "systemfull": {"system"},
    "mailererror": {"system"},
    "syntaxerror": {"protocol"},
    "onhold": {"unknown"},
    "undefined": {"unknown"},
}
KINDS = {"feedback": BounceKind.FEEDBACK, "vacation": BounceKind.AUTO_REPLY, "delivered": BounceKind.SUCCESS}
"""Reasons that refuse nothing: the kind of the message is right or wrong."""


@dataclass
class Tally:
    """What was right.  files: with all their recipients found and no others; the rest counts recipients."""

    files: Counter[bool] = field(default_factory=Counter)
    hard: Counter[bool] = field(default_factory=Counter)
    class_: Counter[bool] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def share(self, counter: Counter[bool]) -> float:
        """Of what was right."""
        return counter[True] / counter.total()


def is_right(recipient: ClassifiedRecipient, reason: str) -> bool:
    """Whether class or kind is what the label says."""
    if reason in KINDS:
        return recipient.kind is KINDS[reason]
    return recipient.finding is not None and recipient.finding.class_.value in CLASSES[reason]


def take(tally: Tally, name: str, content: bytes, labels: list[dict[str, Any]]) -> None:
    """Classify one message and compare."""
    bounce = classify_bounce(content, RULES)
    tally.files[len(bounce.recipients) == len(labels)] += 1
    for number, label in enumerate(labels):
        recipient = bounce.recipients[number] if number < len(bounce.recipients) else None
        found = recipient.finding if recipient is not None else None
        hard_is_right = recipient is not None and (found is not None and found.hard) == label["hardbounce"]
        class_is_right = recipient is not None and is_right(recipient, label["reason"])
        tally.hard[hard_is_right] += 1
        tally.class_[class_is_right] += 1
        if not (hard_is_right and class_is_right):
            tally.wrong.append(f"{name}: {label['reason']}, hard {label['hardbounce']}: {found}")


RULES = build_rules(shipped_rules())


@pytest.fixture(scope="module")
def suite() -> Path:
    return require_suite("bounces")


def test_the_shares_of_what_is_classified_as_labelled(suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = json.loads((suite / "expected.json").read_text("utf-8"))
    tally = Tally()
    for name, what in sorted(expected.items()):
        take(tally, name, (suite / "mail" / name).read_bytes(), what["recipients"])
    recipients, hard, class_ = (tally.share(each) for each in (tally.files, tally.hard, tally.class_))
    with capsys.disabled():
        print(f"\nbounces: recipients {recipients:.1%}, hard or soft {hard:.1%}, class {class_:.1%}")
    assert recipients >= 0.95, tally.wrong
    assert hard >= 0.90, tally.wrong
    assert class_ >= 0.85, tally.wrong


def test_every_class_of_a_refusal_names_the_rule_that_decided(suite: Path) -> None:
    for path in sorted((suite / "mail").iterdir()):
        for recipient in classify_bounce(path.read_bytes(), RULES).recipients:
            finding = recipient.finding
            if finding is not None and finding.class_.value not in ("unknown", "expired"):
                assert finding.rule in {rule.id for rule in RULES.rules}, path.name
