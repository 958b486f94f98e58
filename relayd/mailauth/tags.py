"""Tag lists (RFC 6376 §3.2): DKIM and ARC signatures, and key records.

dkimpy splits the list, which it does soundly and in linear time; what it lets pass (names with anything behind their
first letter, control characters) is refused here, and the values are read here.
"""

from __future__ import annotations

import binascii
import re

from dkim.util import InvalidTagValueList, parse_tag_value

from relayd.mail.address import AddressError, a_label

_NAME = re.compile(rb"[A-Za-z][A-Za-z0-9_]*")
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAMES = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_BLANKS = b" \t\r\n"
MAX_NAME = 253


class TagError(ValueError):
    """The list, or the value of a tag, does not follow the grammar; the text says how."""


class Tags:
    """The tags of one list, by name, in their order.  Reading a value raises TagError when it is not as it must be."""

    __slots__ = ("_values",)

    def __init__(self, values: dict[str, bytes]) -> None:
        self._values = values

    def __contains__(self, name: str) -> bool:
        return name in self._values

    @property
    def first(self) -> str:
        """Name of the first tag, "" of an empty list."""
        return next(iter(self._values), "")

    def octets(self, name: str) -> bytes:
        """The value as it stands, without the blanks around it.  TagError: there is no such tag."""
        try:
            return self._values[name]
        except KeyError:
            raise TagError(f"no {name}= tag") from None

    def text(self, name: str, default: str | None = None) -> str:
        """The value as text, or the default where there is no such tag."""
        if default is not None and name not in self._values:
            return default
        try:
            return self.octets(name).decode("utf-8")
        except UnicodeDecodeError:
            raise TagError(f"{name}= is not text") from None

    def words(self, name: str) -> tuple[str, ...]:
        """The parts between the colons, without blanks around them."""
        return tuple(word.strip() for word in self.text(name).split(":"))

    def number(self, name: str, digits: int) -> int | None:
        """A decimal number of at most that many digits; None where there is no such tag."""
        if name not in self._values:
            return None
        value = self._values[name]
        if not value.isdigit() or len(value) > digits:
            raise TagError(f"{name}= is not a number")
        return int(value)

    def base64(self, name: str) -> bytes:
        """The octets that the value stands for; blanks within it do not count."""
        try:
            return binascii.a2b_base64(self.octets(name).translate(None, _BLANKS), strict_mode=True)
        except binascii.Error:
            raise TagError(f"{name}= is not base64") from None

    def domain(self, name: str) -> str:
        """A domain name or selector as A-labels, lower case (RFC 8616)."""
        try:
            return checked_domain(self.text(name))
        except AddressError:
            raise TagError(f"{name}= is not a domain name") from None


def parse_tags(octets: bytes) -> Tags:
    """Read a list; folds may stand in it.  TagError."""
    if _CONTROL.search(octets):
        raise TagError("a control character")
    try:
        found = parse_tag_value(octets)  # type: ignore[no-untyped-call]
    except InvalidTagValueList as error:
        raise TagError(f"not a list of tags: {_shown(error.args[0])}") from None
    for name in found:
        if not _NAME.fullmatch(name):
            raise TagError(f"not a list of tags: {_shown(name)}")
    return Tags({name.decode("ascii"): value for name, value in found.items()})


def checked_domain(text: str) -> str:
    """The name as A-labels, lower case; AddressError when it cannot be one.  Labels may have underscores."""
    name = a_label(text)
    if len(name) > MAX_NAME or not _NAMES.fullmatch(name):
        raise AddressError("Domain name is not valid")
    return name


def _shown(octets: bytes) -> str:
    """The beginning of what the peer wrote, fit for a message."""
    return "".join(c if c.isprintable() else "?" for c in octets[:40].decode("utf-8", "replace"))
