"""What the queue raises."""

from __future__ import annotations


class QueueUnavailable(Exception):
    """The queue cannot write now; nothing was promised."""


class QueueFull(QueueUnavailable):
    """There is no space left; nothing was promised."""


class BodyMissing(Exception):
    """The message has rows and no body (or there is no such message)."""
