"""Options of webhooks: `webhook.<id>.*`, and of the log of events that they are sent from, `webhooks.*`."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from urllib.parse import urlsplit

import relayd.events
from relayd.events.event import TABLE
from relayd.options import (
    BOOLEAN,
    DURATION,
    REQUIRED,
    SIZE,
    TEXT,
    TEXTS,
    Kind,
    OptionError,
    Raw,
    list_of,
    option,
    section,
)

_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x21-\x7e\x80-\xff](?:[\x20-\x7e\x80-\xff]*))?", re.A)
_RESERVED = ("content-", "x-signature", "x-relayd-", "host", "transfer-", "connection")


@cache
def known_ids() -> frozenset[str]:
    """The id of every event there is."""
    for module in pkgutil.iter_modules(relayd.events.__path__):
        importlib.import_module(f"relayd.events.{module.name}")
    return frozenset(TABLE)


def check_url(text: str) -> str:
    """A URL that can be posted to.  Raises OptionError."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), 0
    clean = text.isascii() and text.isprintable() and " " not in text and len(text) <= 2048
    if not clean or parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise OptionError('expected a URL such as "https://hooks.example.org/relayd"')
    if parts.username is not None or parts.fragment:
        raise OptionError("expected a URL without user or fragment; credentials are auth.username and auth.secret")
    return text


def _parse_url(value: Raw) -> str:
    return check_url(value) if isinstance(value, str) else check_url("")


def _parse_pattern(value: Raw) -> str:
    if isinstance(value, str):
        if value in known_ids() or (re.search(r"[*?]", value) and any(fnmatchcase(id, value) for id in known_ids())):
            return value
        nearest = difflib.get_close_matches(value, known_ids(), n=1, cutoff=0.5)
        hint = f'; did you mean "{nearest[0]}"?' if nearest else ""
        raise OptionError(f'expected the id of an event, or a pattern of ids such as "delivery.*"{hint}')
    raise OptionError("expected the id of an event in quotes")


def _parse_header(value: Raw) -> str:
    match = _HEADER.fullmatch(value) if isinstance(value, str) else None
    if match is None or any(match[1].lower().startswith(each) for each in _RESERVED):
        raise OptionError('expected a header such as "X-Token: abc", none that relayd sets itself')
    return f"{match[1]}: {match[2] or ''}"


URL = Kind("URL", _parse_url)
PATTERNS = list_of(Kind("event id or pattern", _parse_pattern))
HEADERS = list_of(Kind("header", _parse_header))


@section("webhook.<id>", "Web servers that are told of events, until they have taken them: JSON by POST, signed.")
@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookOptions:
    """`webhook.<id>.*`"""

    url: str = option(URL, REQUIRED, "Where events are posted.", example="https://hooks.example.org/relayd")
    events: tuple[str, ...] = option(
        PATTERNS,
        REQUIRED,
        "Which events: ids, or patterns.",
        example=["delivery.delivered", "delivery.bounced", "suppression.*"],
    )
    signature_key: str | None = option(
        TEXT,
        None,
        "Key of the signatures: X-Signature is the base64 of the body's HMAC-SHA256, X-Relayd-Signature adds the time.",
        secret=True,
        example="%{env:WEBHOOK_KEY}%",
    )
    headers: tuple[str, ...] = option(
        HEADERS, [], "Headers beside ours; masked, for they may hold tokens.", secret=True, example=["X-Token: abc"]
    )
    username: str | None = option(TEXT, None, "Name for Basic authentication.", key="auth.username", example="relayd")
    secret: str | None = option(
        TEXT, None, "Its password.", key="auth.secret", secret=True, example="%{env:WEBHOOK_PASSWORD}%"
    )
    throttle: float = option(
        DURATION, "1s", "Time between two posts; what happens meanwhile goes together, 100 events at most."
    )
    timeout: float = option(DURATION, "30s", "Time for one post, its answer included.")
    backoff: float = option(
        DURATION, "1s", "Time until a post that failed is tried again; it doubles each time, up to 5m."
    )
    discard_after: float = option(
        DURATION, "3d", "How long a post that fails is tried again; then its events are dropped."
    )
    tls_allow_invalid: bool = option(
        BOOLEAN, False, "Take any certificate: whoever is in between can read and answer.", key="tls.allow-invalid"
    )
    tls_ca_files: tuple[str, ...] = option(
        TEXTS, [], "PEM files of authorities trusted beside the system's.", key="tls.ca-files"
    )


@section("webhooks", "The log of events that webhooks are sent from. Only events that a webhook wants are in it.")
@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookLogOptions:
    """`webhooks.*`"""

    keep: float = option(DURATION, "7d", "How long events are kept, to be sent again when asked.")
    max_size: int = option(SIZE, "256MB", "Octets of all events; the oldest go first, taken or not.")
