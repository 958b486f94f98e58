"""What a tag counts - a number, or an action that holds whatever the sum is - and what follows from the sum."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Action(StrEnum):
    """What becomes of a message, the mildest first."""

    TAG = "tag"
    HOLD = "hold"
    REJECT = "reject"
    DISCARD = "discard"


Score = float | Action

SCOPES = ("header", "subject", "body", "raw", "url", "from", "to")
"""Where a rule by pattern may look."""


class OwnThresholds(Protocol):
    """Options with thresholds, None where they say nothing."""

    @property
    def spam(self) -> float | None: ...

    @property
    def hold(self) -> float | None: ...

    @property
    def reject(self) -> float | None: ...

    @property
    def discard(self) -> float | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """From which score on a message is spam, held, refused, dropped; 0: never."""

    spam: float = 5.0
    hold: float = 0.0
    reject: float = 0.0
    discard: float = 0.0

    def under(self, own: OwnThresholds) -> Thresholds:
        """These, with those in their place that `own` has."""
        return Thresholds(
            spam=self.spam if own.spam is None else own.spam,
            hold=self.hold if own.hold is None else own.hold,
            reject=self.reject if own.reject is None else own.reject,
            discard=self.discard if own.discard is None else own.discard,
        )


class ScoreError(ValueError):
    """A value is no score; the text says what was expected."""


def check_score(value: object) -> Score:
    """A score as it is written: a number, "hold", "reject" or "discard".  ScoreError."""
    if isinstance(value, str) and value in ("hold", "reject", "discard"):
        return Action(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and -1000 <= value <= 1000:
        return float(value)
    raise ScoreError('expected a number from -1000 to 1000, "hold", "reject" or "discard"')
