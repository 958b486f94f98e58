"""How likely a message is spam by the words of those that people said were: Robinson's and Fisher's way.

Every token that was seen speaks with the share of spam among the messages it was in, drawn towards one half while it
was seen rarely.  The strongest of them are combined by Fisher's test both ways: how sure it looks like spam, how sure
like ham; where it looks like both or neither the answer is near one half.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import msgspec

STRENGTH = 0.7
"""How many messages the assumption that a token says nothing is worth."""
STRONGEST = 300
"""Tokens that are combined."""
WEAK = 0.1
"""Tokens nearer to one half than this say nothing."""
MIN_TOKENS = 8


class Learnt(msgspec.Struct, frozen=True):
    """How many messages of each kind a model has seen."""

    spam: int = 0
    ham: int = 0


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """probability: 0 (ham) to 1 (spam).  tokens: how many spoke.  spam, ham: the numbers behind the strongest of each."""

    probability: float
    tokens: int


def estimate(
    tokens: Iterable[int], counts: Callable[[int], tuple[int, int] | None], learnt: Learnt, *, min_hits: int = 1
) -> Estimate | None:
    """The probability that a message of these tokens is spam.

    counts: (messages of spam, of ham) that had a token, None of one that was never seen.  None when too few tokens are
    known to say anything.
    """
    spam_total, ham_total = max(1, learnt.spam), max(1, learnt.ham)
    found: list[tuple[float, float]] = []
    for token in tokens:
        seen = counts(token)
        if seen is None:
            continue
        spam, ham = seen
        hits = spam + ham
        if hits < min_hits:
            continue
        spam_share = spam / spam_total
        share = spam_share / (spam_share + ham / ham_total)
        probability = (STRENGTH * 0.5 + hits * share) / (STRENGTH + hits)
        distance = abs(probability - 0.5)
        if distance >= WEAK:
            found.append((distance, probability))
    if len(found) < MIN_TOKENS:
        return None
    if len(found) > STRONGEST:
        found.sort(reverse=True)
        del found[STRONGEST:]
    return Estimate(probability=_combined([probability for _, probability in found]), tokens=len(found))


def _combined(probabilities: list[float]) -> float:
    """Fisher's combination both ways (RFC-free: G. Robinson, Linux Journal 107)."""
    number = len(probabilities)
    as_spam = 1.0 - _chi_squared(-2.0 * sum(math.log(1.0 - each) for each in probabilities), 2 * number)
    as_ham = 1.0 - _chi_squared(-2.0 * sum(math.log(each) for each in probabilities), 2 * number)
    return (1.0 + as_spam - as_ham) / 2.0


def _chi_squared(value: float, freedom: int) -> float:
    """The chance that a chi-squared variable of an even number of degrees of freedom exceeds `value`."""
    half = value / 2.0
    term = math.exp(-half)
    if term == 0.0:
        return 0.0 if half > freedom else min(1.0, _chi_squared_scaled(half, freedom))
    total = term
    for number in range(1, freedom // 2):
        term *= half / number
        total += term
    return min(total, 1.0)


def _chi_squared_scaled(half: float, freedom: int) -> float:
    """The same where exp(-half) is too small for a float."""
    logarithm = -half
    total = 0.0
    for number in range(freedom // 2):
        if number:
            logarithm += math.log(half / number)
        total += math.exp(logarithm)
    return total
