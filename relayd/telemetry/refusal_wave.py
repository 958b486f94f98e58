"""Whether a provider refuses much of what it is sent lately: a wave, not the few that always are."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from relayd.telemetry.metrics import NOBODY, OTHER

WINDOW = 600.0
"""Seconds that are looked back."""

_REFUSED = ("bounced", "deferred")

Outcomes = Mapping[tuple[str, str], int]
"""How many recipients had which outcome, by provider and outcome, since the start."""


class RefusalWave:
    """Remembers the last window, and where a wave is on."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, dict[tuple[str, str], int]]] = deque()
        self._waves: set[str] = set()

    def look(self, outcomes: Outcomes, now: float, *, least: int, share: float) -> dict[str, str]:
        """What is wrong, by provider.  now: seconds of a clock that does not go back.

        least: refused recipients of a window that are worth an alert.  share: of all attempted, 0 to 1, from which on
        it is a wave; it is over below half of that.
        """
        self._seen.append((now, dict(outcomes)))
        while len(self._seen) > 1 and self._seen[1][0] <= now - WINDOW:
            self._seen.popleft()
        before = self._seen[0][1]
        found = {}
        for provider in {provider for provider, _ in outcomes}:
            counts = {
                outcome: outcomes.get((provider, outcome), 0) - before.get((provider, outcome), 0)
                for outcome in ("delivered", *_REFUSED)
            }
            refused = sum(counts[each] for each in _REFUSED)
            total = refused + counts["delivered"]
            wanted, needed = (share / 2, 1) if provider in self._waves else (share, least)
            if total and refused >= needed and refused / total >= wanted:
                found[provider] = _told(provider, refused, total)
        self._waves = set(found)
        return found


def _told(provider: str, refused: int, total: int) -> str:
    when = f"in the last {WINDOW / 60:.0f} minutes"
    if provider == NOBODY:
        return f"no host was reached for {refused} of {total} recipients {when}"
    who = "hosts of no known provider" if provider == OTHER else provider
    return f"{who}: {refused} of {total} recipients were refused {when}"
