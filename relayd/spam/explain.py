"""What would have made a verdict another."""

from __future__ import annotations

from relayd.spam.score import Action, Thresholds
from relayd.spam.verdict import Verdict, Weighed, judge


def flipping_tags(verdict: Verdict, thresholds: Thresholds) -> tuple[str, ...]:
    """The smallest set of tags without which the verdict would be another: ham instead of spam or spam instead of ham,
    and where more is done than to tag, a milder action.  () when no absence changes it.

    Tags that name the very action taken have all to go.  Beyond them scores add up, so that taking the heaviest first
    is the smallest set; of sets of one size it is the one that counts most.
    """
    is_ham = verdict.action is Action.TAG and not verdict.is_spam
    taken = [] if is_ham else [each.tag.name for each in verdict.tags if each.score == verdict.action]
    if taken and _differs(verdict, taken, thresholds):
        return tuple(taken)
    candidates = [each for each in verdict.tags if (_amount(each) < 0 if is_ham else _amount(each) > 0)]
    candidates.sort(key=lambda each: (_amount(each) if is_ham else -_amount(each), each.tag.name))
    for each in candidates:
        taken.append(each.tag.name)
        if _differs(verdict, taken, thresholds):
            return tuple(taken)
    return ()


def _differs(verdict: Verdict, taken: list[str], thresholds: Thresholds) -> bool:
    """Whether the verdict without these tags is another."""
    left = judge([each for each in verdict.tags if each.tag.name not in taken], thresholds)
    if left.action is not verdict.action:
        return True
    return verdict.action is Action.TAG and left.is_spam != verdict.is_spam


def _amount(each: Weighed) -> float:
    return 0.0 if isinstance(each.score, Action) else each.score
