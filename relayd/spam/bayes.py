"""How likely a message is spam by the words of those that people said were: Robinson's and Fisher's way.

Every token that was seen speaks with the share of spam among the messages it was in, drawn towards one half while it
was seen rarely.  The strongest of them are combined by Fisher's test both ways: how sure it looks like spam, how sure
like ham; where it looks like both or neither the answer is near one half.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

STRENGTH = 0.7
"""How many messages the assumption that a token says nothing is worth."""
STRONGEST = 300
"""Tokens that are combined."""
WEAK = 0.1
"""Tokens nearer to one half than this say nothing."""
MIN_TOKENS = 8
MOST_COUNTED = 0xFFFF


class Learnt(msgspec.Struct, frozen=True):
    """How many messages of each kind a model has seen."""

    spam: int = 0
    ham: int = 0


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """probability: 0 (ham) to 1 (spam).  tokens: how many spoke."""

    probability: float
    tokens: int


_Weight = tuple[float, float, float]
"""How far from one half, the logarithms of the probability and of its opposite."""


class Model:
    """What was learnt.  tokens: each with how many messages of spam and ham it was in, as `packed`."""

    __slots__ = ("_learnt", "_weights", "tokens")

    def __init__(self, learnt: Learnt, tokens: dict[int, int]) -> None:
        self._learnt = learnt
        self.tokens = tokens
        self._weights: dict[int, _Weight] = {}

    @property
    def learnt(self) -> Learnt:
        """How many messages of each kind; what tokens weigh depends on it."""
        return self._learnt

    @learnt.setter
    def learnt(self, learnt: Learnt) -> None:
        self._learnt = learnt
        self._weights.clear()

    def estimate(self, tokens: Iterable[int]) -> Estimate | None:
        """The probability that a message of these tokens is spam; None when too few are known to say anything."""
        known, weights = self.tokens, self._weights
        found: list[_Weight] = []
        for token in tokens:
            counts = known.get(token)
            if counts is None:
                continue
            weight = weights.get(counts)
            if weight is None:
                weight = weights[counts] = self._weigh(counts)
            if weight[0] >= WEAK:
                found.append(weight)
        if len(found) < MIN_TOKENS:
            return None
        if len(found) > STRONGEST:
            found.sort(reverse=True)
            del found[STRONGEST:]
        as_spam = 1.0 - _chi_squared(-2.0 * sum(weight[2] for weight in found), 2 * len(found))
        as_ham = 1.0 - _chi_squared(-2.0 * sum(weight[1] for weight in found), 2 * len(found))
        return Estimate(probability=(1.0 + as_spam - as_ham) / 2.0, tokens=len(found))

    def change(self, tokens: Iterable[int], *, spam: bool, by: int, most: int) -> None:
        """Count the tokens of a message up or down; `most` tokens are kept."""
        step = by << 16 if spam else by
        known = self.tokens
        for token in tokens:
            counts = known.get(token, 0)
            count = counts >> 16 if spam else counts & MOST_COUNTED
            if not 0 <= count + by <= MOST_COUNTED or (not counts and len(known) >= most):
                continue
            if counts + step:
                known[token] = counts + step
            else:
                del known[token]

    def _weigh(self, counts: int) -> _Weight:
        spam, ham = counts >> 16, counts & MOST_COUNTED
        spam_share = spam / max(1, self._learnt.spam)
        share = spam_share / ((spam_share + ham / max(1, self._learnt.ham)) or 1.0)
        hits = spam + ham
        probability = (STRENGTH * 0.5 + hits * share) / (STRENGTH + hits)
        return abs(probability - 0.5), math.log(probability), math.log(1.0 - probability)


def packed(spam: int, ham: int) -> int:
    """Both counts of a token as one number."""
    return min(spam, MOST_COUNTED) << 16 | min(ham, MOST_COUNTED)


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
