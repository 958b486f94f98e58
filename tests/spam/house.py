"""Messages looked at by the delivered rules."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from relayd.config.spam import delivered_rules
from relayd.scanning.building import build_scanner
from relayd.spam.facts import Facts, Scanned
from relayd.spam.scan import Scanner

NOW = 1_700_000_000.0
DATE = b"Date: Tue, 14 Nov 2023 22:00:00 +0000\n"
GOOD = (
    b"From: Ann <ann@a.example>\nTo: Bob <bob@b.example>\nSubject: Lunch\nMessage-ID: <1.x@mx.a.example>\n"
    b"MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n" + DATE
)


@lru_cache(maxsize=1)
def scanner() -> Scanner:
    """The delivered rules, compiled once."""
    return build_scanner(delivered_rules())


def scan(content: bytes, **facts: Any) -> Scanned:
    """A message, its lines ending in LF, as a stranger brings it."""
    known: dict[str, Any] = {
        "return_path": "ann@a.example",
        "recipients": ("bob@b.example",),
        "helo": "mx.a.example",
        "is_tls": True,
        "now": NOW,
    }
    return scanner().scan(content.replace(b"\n", b"\r\n"), Facts(**{**known, **facts}))


def names(scanned: Scanned) -> set[str]:
    """Tags that are set."""
    return {tag.name for tag in scanned.tags}


def with_field(
    field: bytes, *, body: bytes = b"See you at noon, as we said yesterday on the telephone, at the usual place.\n"
) -> bytes:
    """A good message with a field more, or in place of its own of that name."""
    name = field.partition(b":")[0].lower() + b":"
    kept = b"".join(line + b"\n" for line in GOOD.splitlines() if not line.lower().startswith(name))
    return kept + field + b"\n\n" + body


def with_body(body: bytes, *, content_type: bytes = b"text/plain; charset=utf-8") -> bytes:
    """A good message with this body."""
    return with_field(b"Content-Type: " + content_type, body=body)
