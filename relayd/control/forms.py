"""The fields of a form that a client sends as its body."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"

_BOUNDARY = re.compile(r""";[ \t]*boundary=(?:"([^"\r\n]{1,70})"|([^"\s;]{1,70}))""", re.IGNORECASE)
_NAME = re.compile(
    rb"""^content-disposition:[ \t]*form-data[^\r\n]*?;[ \t]*name=(?:"([^"\r\n]*)"|([^"\s;]+))""",
    re.IGNORECASE | re.MULTILINE,
)
_HEAD = 4096


class BadForm(ValueError):
    """It cannot be read, or has too many fields."""


def form_fields(content_type: str, octets: bytes, most: int) -> list[tuple[str, str]] | None:
    """Names and values in their order; None of a body of another type.

    What is no UTF-8 becomes U+FFFD.  Raises BadForm when it has more than `most` fields.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind == FORM:
        try:
            return parse_qsl(octets.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=most)
        except ValueError as error:
            raise BadForm(str(error)) from None
    return _multipart(content_type, octets, most) if kind == MULTIPART else None


def _multipart(content_type: str, octets: bytes, most: int) -> list[tuple[str, str]]:
    """RFC 7578: parts between lines of a boundary, each with its name in its Content-Disposition."""
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise BadForm("a multipart form without a boundary")
    boundary = (found[1] or found[2]).encode("utf-8", "surrogateescape")
    parts = (b"\r\n" + octets).split(b"\r\n--" + boundary, most + 2)[1:]
    fields: list[tuple[str, str]] = []
    for number, part in enumerate(parts):
        if part.startswith(b"--"):
            return fields
        if number == most:
            break
        head, _, value = part.partition(b"\r\n\r\n")
        name = _NAME.search(head, 0, _HEAD)
        if name is not None:
            label = name[1] or name[2] or b""
            fields.append((label.decode("utf-8", "replace"), value.decode("utf-8", "replace")))
    raise BadForm("a multipart form without its end, or with too many parts")
