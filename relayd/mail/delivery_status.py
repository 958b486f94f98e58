"""The fields of a delivery status (RFC 3464 §2, RFC 6533 §4), read as leniently as they are written.

Blocks parted by blank lines; a block with an address is a recipient's.  Programs leave out what the RFC demands,
put all in one block, repeat blocks, or write the fields into the text for people: all of that is understood.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

MAX_RECIPIENTS = 1000
MAX_VALUE = 4096
"""Characters of a field's value that are kept."""

_FIELD = re.compile(r"[ \t]{0,8}([A-Za-z][A-Za-z0-9-]{2,40}):[ \t]*+(.*)")
_KNOWN = frozenset(
    (
        *("reporting-mta", "original-envelope-id", "arrival-date", "received-from-mta", "dsn-gateway"),
        *("original-recipient", "final-recipient", "action", "status", "remote-mta", "diagnostic-code"),
        *("last-attempt-date", "will-retry-until", "final-log-id", "x-actual-recipient"),
    )
)
_STATUS = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}", re.A)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusRecipient:
    """What the report says of one recipient; what it does not say is "".

    address: the final recipient, else the original one.  original: the original one.  action: lower case.  status:
    "5.1.1".  diagnostic: without its type.  remote: the host's name.
    """

    address: str
    original: str = ""
    action: str = ""
    status: str = ""
    diagnostic: str = ""
    remote: str = ""


@dataclass(frozen=True, slots=True)
class DeliveryStatus:
    """A delivery status.  reporter: the host's name."""

    reporter: str = ""
    recipients: tuple[StatusRecipient, ...] = ()


@dataclass(slots=True)
class _Reading:
    """Fields of the recipient being read; `done` are the ones before."""

    reporter: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    done: dict[str, StatusRecipient] = field(default_factory=dict)

    def take(self, name: str, value: str) -> None:
        if name == "reporting-mta":
            self.reporter = self.reporter or _untyped(value)
            return
        if name in self.fields:
            if name in ("final-recipient", "original-recipient"):
                self.close()
            elif name == "diagnostic-code":
                value = f"{self.fields[name]}\n{value}"
        self.fields[name] = value[:MAX_VALUE]

    def close(self) -> None:
        """End of a recipient's block, when it names one; else its fields stay for the next block."""
        fields = self.fields
        original = address_in(fields.get("original-recipient", ""))
        address = address_in(fields.get("final-recipient", "")) or original
        if not address:
            return
        key = address.lower()
        if len(self.done) < MAX_RECIPIENTS:
            status = _STATUS.search(fields.get("status", ""))
            new = StatusRecipient(
                address=address,
                original=original,
                action=fields.get("action", "").split(" ", 1)[0].split("(", 1)[0].strip().lower(),
                status=status[0] if status else "",
                diagnostic=_untyped(fields.get("diagnostic-code", "")),
                remote=_untyped(fields.get("remote-mta", "")).split(" ", 1)[0],
            )
            before = self.done.get(key)
            if before is None or (new.diagnostic and not before.diagnostic):
                self.done[key] = new
        self.fields = {}


def read_delivery_status(text: str) -> DeliveryStatus:
    """The delivery status in `text` ("\\n" line ends), which may hold other lines too."""
    reading = _Reading()
    name, value = "", ""
    for line in text.split("\n"):
        found = _FIELD.match(line)
        known = found is not None and found[1].lower() in _KNOWN
        if not known and name and line[:1] in (" ", "\t") and line.strip():
            if len(value) < MAX_VALUE:
                value = f"{value} {line.strip()}"
            continue
        if name:
            reading.take(name, value)
            name = ""
        if found is not None and known:
            name, value = found[1].lower(), found[2].strip()
        elif not line.strip():
            reading.close()
    if name:
        reading.take(name, value)
    reading.close()
    return DeliveryStatus(reading.reporter, tuple(reading.done.values()))


def address_in(value: str) -> str:
    """The address of a typed one ("rfc822; <a@b.example>"); "" when there is none."""
    value = _untyped(value).strip()
    open_, close = value.find("<"), value.rfind(">")
    if 0 <= open_ < close:
        value = value[open_ + 1 : close]
    value = value.strip("<>\"' \t,;").split(" ", 1)[0]
    return value if value and len(value) <= 320 else ""


def _untyped(value: str) -> str:
    """The value behind its type ("smtp;", "dns;"), where it has one."""
    kind, semicolon, rest = value.partition(";")
    return rest.strip() if semicolon and len(kind) < 30 and " " not in kind.strip() else value.strip()
