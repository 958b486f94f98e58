"""All tags of a message put together: the content's, mailauth's, those of others, and what follows from them."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from relayd.mailauth.findings import Findings
from relayd.spam.authentication import authentication_tags
from relayd.spam.bayes import Estimate
from relayd.spam.composites import add_composites
from relayd.spam.facts import Facts, Scanned
from relayd.spam.origin import origin_tags
from relayd.spam.ruleset import Lists
from relayd.spam.tag import Tag, Tags

SURE = 0.02
"""How far from certainty a model may be that is sure."""


class Limits(msgspec.Struct, frozen=True):
    """Over which probability BAYES_SPAM is set, under which BAYES_HAM."""

    spam: float = 0.7
    ham: float = 0.5


def all_tags(
    scanned: Scanned, findings: Findings, facts: Facts, lists: Lists, others: Iterable[Tag] = ()
) -> tuple[Tag, ...]:
    """Every tag of a message.  others: tags that were found by asking."""
    tags = Tags(scanned.tags)
    authentication_tags(findings, facts, scanned, lists, tags)
    for tag in others:
        tags.add(tag.name, tag.reason, tag.evidence)
    if "DMARC_POLICY_ALLOW" in tags and scanned.from_domain in lists.trusted:
        tags.add("TRUSTED_DOMAIN", "the author's domain is trusted here", scanned.from_domain)
    add_composites(tags)
    if facts.origin:
        origin_tags(facts.origin, tags)
    return tuple(tags)


def bayes_tags(estimate: Estimate | None, limits: Limits, model: str = "") -> tuple[Tag, ...]:
    """The tags of what the model says.  model: whose it is, "" for everybody's."""
    if estimate is None:
        return ()
    whose = f" of {model}" if model else ""
    evidence = f"probability {estimate.probability:.4f} by {estimate.tokens} tokens"
    if estimate.probability > limits.spam:
        tag = Tag("BAYES_SPAM", f"its words are those of spam, says the model{whose}", evidence)
        sure = Tag("BAYES_SURE_SPAM", "and hardly one of them is not", evidence)
        return (tag, sure) if estimate.probability > 1 - SURE else (tag,)
    if estimate.probability < limits.ham:
        tag = Tag("BAYES_HAM", f"its words are those of wanted mail, says the model{whose}", evidence)
        sure = Tag("BAYES_SURE_HAM", "and hardly one of them is not", evidence)
        return (tag, sure) if estimate.probability < SURE else (tag,)
    return ()
