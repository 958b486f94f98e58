"""Mail addresses in the events that a log is made of, replaced by pseudonyms.

The local part becomes a keyed hash of the whole address, so the same address has the same pseudonym as long as the key
is the same, nobody without the key can tell whose it is, and its domain can still be seen.  A detail ("jane+shop") is
no other person.  Without the key (the file is deleted) no pseudonym leads back to anybody.

Addresses are replaced in the fields of an event, before they are rendered: escaped for a line, what a peer sent for an
address may look like two things.  Between angle brackets all up to the last "@" is the local part, whatever it is.
"""

from __future__ import annotations

import base64
import os
import re
from hashlib import blake2b
from pathlib import Path
from typing import Any

from relayd.events.event import Event, Span

_DOMAIN = r"(?:\[[^\]\s<>]{0,255}\]|(?:[\w.-]{0,255}\w)?)"
_ADDRESS = re.compile(
    rf'(?<=<)[^<>]{{1,1000}}@[^<>@]{{0,255}}(?=>)|"(?:[^"\\]|\\.){{0,320}}+"@{_DOMAIN}'
    rf'|(?<![^\s"<>()\[\],;:\\@])[^\s"<>()\[\],;:\\@]++@{_DOMAIN}'
)
_KEY_OCTETS = 32

_SPANS = 512


def load_key(path: Path) -> bytes:
    """The key at `path`, made when there is none.  Raises OSError."""
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        key = b""
    if len(key) >= _KEY_OCTETS:
        return key[:64]
    key = os.urandom(_KEY_OCTETS)
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(key)
    return key


class Pseudonyms:
    """Replaces addresses.  key: 16 to 64 octets.  `event` is for one thread."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._spans: dict[Span, tuple[dict[str, Any], Span]] = {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pseudonyms) and other._key == self._key

    def __hash__(self) -> int:
        return hash(self._key)

    def of(self, address: str) -> str:
        """The pseudonym of an address, in any case of its letters and with any detail."""
        local, _, domain = address.rpartition("@")
        whole = (local if local.startswith('"') else local.partition("+")[0] or local) + "@" + domain
        digest = blake2b(whole.lower().encode("utf-8", "replace"), key=self._key, digest_size=10).digest()
        return "p-" + base64.b32encode(digest).decode().lower() + "@" + domain

    def text(self, text: str) -> str:
        """`text`, as it was sent, with every address in it replaced."""
        if "@" not in text:
            return text
        return _ADDRESS.sub(self._found, text)

    def event(self, event: Event) -> Event:
        """The same event without addresses, in its own fields and in its span's."""
        fields = {name: self._value(value) for name, value in event.fields.items()}
        return Event(event.kind, None if event.span is None else self._span(event.span), event.at, fields)

    def _found(self, match: re.Match[str]) -> str:
        address = match[0].lstrip("'")  # what stands in quotes in somebody's sentence
        return "'" * (len(match[0]) - len(address)) + (address if address.startswith("@") else self.of(address))

    def _span(self, span: Span) -> Span:
        keys = span.keys.copy()
        known = self._spans.get(span)
        if known is not None and known[0] == keys:
            return known[1]
        if len(self._spans) >= _SPANS:
            self._spans.clear()
        shown = Span(span.stream, span.id, {key: self._value(value) for key, value in keys.items()})
        self._spans[span] = (keys, shown)
        return shown

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list | tuple | set | frozenset):
            return [self._value(each) for each in value]
        return self.event(value) if isinstance(value, Event) else value
