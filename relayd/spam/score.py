"""What a tag counts - a number, or an action that holds whatever the sum is - and what follows from the sum."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Action(StrEnum):
    """What becomes of a message, the mildest first."""

    TAG = "tag"
    HOLD = "hold"
    REJECT = "reject"
    DISCARD = "discard"


Score = float | Action

SCOPES = ("header", "subject", "body", "raw", "url", "from", "to")
"""Where a rule by pattern may look."""


class Thresholds(msgspec.Struct, frozen=True, kw_only=True):
    """From which score on a message is spam, held, refused, dropped; 0: never."""

    spam: float = 5.0
    hold: float = 0.0
    reject: float = 0.0
    discard: float = 0.0


class ScoreError(ValueError):
    """A value is no score; the text says what was expected."""


def check_score(value: object) -> Score:
    """A score as it is written: a number, "hold", "reject" or "discard".  ScoreError."""
    if isinstance(value, str) and value in ("hold", "reject", "discard"):
        return Action(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and -1000 <= value <= 1000:
        return float(value)
    raise ScoreError('expected a number from -1000 to 1000, "hold", "reject" or "discard"')
