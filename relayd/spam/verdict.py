"""From tags to a score, from a score to what is done: pure sums and comparisons.

A tag counts what the table of scores says, 0 where it is silent.  Instead of a number the table may name an action,
which then holds whatever the sum is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from relayd.spam.score import Action, Score, Thresholds
from relayd.spam.tag import Tag

_ORDER = {action: place for place, action in enumerate(Action)}


class Weighed(msgspec.Struct, frozen=True):
    """A tag and what it counts."""

    tag: Tag
    score: Score


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The decision.  tags: sorted by score, then name.  reason: why more than TAG is done, "" else."""

    score: float
    tags: tuple[Weighed, ...]
    is_spam: bool
    action: Action
    reason: str = ""


def weigh(tags: Iterable[Tag], scores: Mapping[str, Score]) -> tuple[Weighed, ...]:
    """The tags with what they count, sorted by score, then name; those that name an action last."""
    weighed = [Weighed(tag, scores.get(tag.name, 0.0)) for tag in tags]
    weighed.sort(key=lambda each: (_amount(each.score), each.tag.name))
    return tuple(weighed)


def judge(weighed: Sequence[Weighed], thresholds: Thresholds) -> Verdict:
    """The verdict by one person's thresholds; the sternest action that holds."""
    score = round(sum(each.score for each in weighed if not isinstance(each.score, Action)), 4)
    action, reason = Action.TAG, ""
    for each in weighed:
        if isinstance(each.score, Action) and _ORDER[each.score] > _ORDER[action]:
            action, reason = each.score, f"{each.tag.name}: {each.tag.reason}" if each.tag.reason else each.tag.name
    for kind, limit in (
        (Action.HOLD, thresholds.hold),
        (Action.REJECT, thresholds.reject),
        (Action.DISCARD, thresholds.discard),
    ):
        if limit > 0 and score >= limit and _ORDER[kind] > _ORDER[action]:
            action, reason = kind, f"spam score {score:.2f}, from {limit:g} on: {kind}"
    is_spam = (thresholds.spam > 0 and score >= thresholds.spam) or action in (Action.REJECT, Action.DISCARD)
    return Verdict(score=score, tags=tuple(weighed), is_spam=is_spam, action=action, reason=reason)


def mildest(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict that holds for a message whose recipients want different things."""
    return min(verdicts, key=lambda each: (_ORDER[each.action], each.is_spam))


def _amount(score: Score) -> float:
    return float("inf") if isinstance(score, Action) else score
