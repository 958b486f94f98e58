"""Outcomes of mail for whom it is from: each goes to the endpoint that its return path belongs to, if there is one."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from relayd.events import delivery
from relayd.events.event import Event
from relayd.telemetry.render import logged_data
from relayd.webhooks.webhooks import Webhooks

KINDS = frozenset({delivery.DELIVERED, delivery.BOUNCED, delivery.EXPIRED})
"""What becomes of a recipient in the end."""

PREFIX = "address:"
"""What the ids of such endpoints begin with; the rest is the number of the address."""


class Outcomes:
    """A subscriber.  notified: addresses (lower case) that somebody is told of, and their numbers."""

    def __init__(self, webhooks: Webhooks, notified: Callable[[], Mapping[str, int]]) -> None:
        self._webhooks = webhooks
        self._notified = notified

    def __call__(self, event: Event) -> None:
        """Pass an outcome on."""
        if event.kind not in KINDS:
            return
        sender = event.fields.get("from_") or (event.span.keys.get("from") if event.span is not None else None)
        number = self._notified().get(sender.lower()) if isinstance(sender, str) else None
        if number is not None:
            self._webhooks.enqueue(f"{PREFIX}{number}", event.kind, event.at, logged_data(event))
