"""The circuit breaker of a filter: one that fails again and again is not waited for any more.

After `failures` failures in a row nothing is asked for `pause` seconds, and whoever would ask is told at once.  Then
one asks on trial, while the others still do not; its success closes the circuit, its failure opens it anew.
Pure: the time comes in.
"""

from __future__ import annotations


class Circuit:
    """failures: in a row, until it opens; 0: it never does.  pause: seconds.  now: seconds of any steady clock."""

    def __init__(self, failures: int, pause: float) -> None:
        self._failures = failures
        self._pause = pause
        self._in_a_row = 0
        self._trial_from = 0.0
        self._on_trial = False
        self.is_open = False

    def may_try(self, now: float) -> bool:
        """Whether to ask now.  Whoever is told so while the circuit is open is the trial, and says how it went."""
        if not self.is_open:
            return True
        if self._on_trial or now < self._trial_from:
            return False
        self._on_trial = True
        return True

    def failed(self, now: float) -> bool:
        """Asking failed; True: the circuit opened by it."""
        self._in_a_row += 1
        was_open = self.is_open
        if self._failures and (was_open or self._in_a_row >= self._failures):
            self.is_open, self._on_trial = True, False
            self._trial_from = now + self._pause
        return self.is_open and not was_open

    def succeeded(self) -> bool:
        """Asking went well; True: the circuit was open and is closed now."""
        was_open = self.is_open
        self._in_a_row, self.is_open, self._on_trial = 0, False, False
        return was_open

    def gave_up(self) -> None:
        """Asking ended without telling anything of the filter (the peer went away): the next one may try."""
        self._on_trial = False
