"""What is posted to a webhook: the body and its signatures (control-api §5).  Pure.

`X-Signature` is the base64 of the body's HMAC-SHA256.  It says nothing of when it was made, so who records a request
can send it again; `X-Relayd-Signature: v1=<hex>` is the HMAC-SHA256 of the timestamp (X-Relayd-Timestamp, Unix seconds
in decimal), a full stop, and the body.  A receiver checks it and that the timestamp is a few minutes old at most.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from relayd.events.event import Event
from relayd.telemetry.render import json_value, logged_data, rfc3339

_encode = msgspec.json.Encoder(enc_hook=str).encode


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An event of the log.  id: its own for ever, rising in time.  at: Unix seconds.  data: a JSON object."""

    id: int
    at: float
    type: str
    data: bytes


def event_data(event: Event) -> bytes:
    """The fields of an event as webhooks show them: those of the span first, then its own; nothing is null."""
    return plain_data(logged_data(event))


def plain_data(fields: dict[str, Any]) -> bytes:
    """Fields by camelCase name as a JSON object."""
    return _encode({key: json_value(key, value) for key, value in fields.items()})


def body_of(events: Iterable[LoggedEvent]) -> bytes:
    """The body of a request."""
    items = [
        {"id": each.id, "createdAt": rfc3339(each.at), "type": each.type, "data": msgspec.Raw(each.data)}
        for each in events
    ]
    return _encode({"events": items})


def signatures(key: str | None, body: bytes, now: float) -> dict[str, str]:
    """The headers that say when a body was sent and, with a key, that it comes from who has the key."""
    timestamp = str(int(now))
    headers = {"X-Relayd-Timestamp": timestamp}
    if key is not None:
        secret = key.encode()
        headers["X-Signature"] = base64.b64encode(hmac.digest(secret, body, hashlib.sha256)).decode()
        signed = hmac.digest(secret, timestamp.encode() + b"." + body, hashlib.sha256).hex()
        headers["X-Relayd-Signature"] = f"v1={signed}"
    return headers
