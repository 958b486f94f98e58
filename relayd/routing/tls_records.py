"""The TXT records of MTA-STS and TLS reporting, which have one grammar (RFC 8461 §3.1, RFC 8460 §3)."""

from __future__ import annotations

import re
from collections.abc import Iterable

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
"""A field's name; in MTA-STS policies too."""
VALUE = re.compile(r"[\x21-\x3a\x3c\x3e-\x7e]+")
"""A field's value."""

_MAX_RECORD = 4096


class BadRecord(ValueError):
    """A TXT record that means to be of its kind, and is not."""


def only_record(records: Iterable[bytes], version: str) -> bytes | None:
    """The one of a name's TXT records that begins with `v=<version>`, None when none does.

    Raises BadRecord when there are more.
    """
    meant = re.compile(rb"v=" + version.encode() + rb"[ \t]*(?:;|$)")
    found = [each for each in records if meant.match(each)]
    if len(found) > 1:
        raise BadRecord(f"{len(found)} records")
    return found[0] if found else None


def fields_of(record: bytes, version: str) -> list[str]:
    """The fields of a record behind its version, not yet looked at.  Raises BadRecord."""
    if len(record) > _MAX_RECORD:
        raise BadRecord(f"{len(record)} octets")
    try:
        fields = [field.strip(" \t") for field in record.decode("ascii").split(";")]
    except UnicodeDecodeError:
        raise BadRecord("not ASCII") from None
    if fields[0] != f"v={version}":
        raise BadRecord(f'does not begin with "v={version};"')
    if len(fields) > 1 and not fields[-1]:
        del fields[-1]
    return fields[1:]
