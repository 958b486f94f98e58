"""xtext of RFC 3461 §4 and the utf-8 address forms of RFC 6533 §3."""

from __future__ import annotations

import re

_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*+")
_HEX = re.compile(r"\+([0-9A-F]{2})")
_ENCODED = re.compile(r"[^!-*,-<>-~]")
_EMBEDDED = re.compile(r"\\x\{([0-9A-F]{1,6})\}")
_UTF8_XTEXT = re.compile(r"(?:[!-*,-<>-\[\]-~]|\\x\{[0-9A-F]{1,6}\})++")
_UTF8_UNITEXT = re.compile(r"(?:[!-*,-<>-\[\]-~\u00a0-\U0010ffff]|\\x\{[0-9A-F]{1,6}\})++")
_UTF8_ENCODED = re.compile(r"[^!-*,-<>-\[\]-~]")


class XtextError(ValueError):
    """The text is not of the form its name promises."""


def decode_xtext(text: str) -> str:
    """What an xtext stands for; octets over 127 are read as Latin-1.  XtextError."""
    if not _XTEXT.fullmatch(text):
        raise XtextError("not an xtext")
    return _HEX.sub(lambda found: chr(int(found[1], 16)), text) if "+" in text else text


def encode_xtext(text: str) -> str:
    """ASCII text as xtext.  XtextError for other text: xtext has no form for it."""
    if not text.isascii():
        raise XtextError("xtext holds ASCII only")
    return _ENCODED.sub(lambda found: f"+{ord(found[0]):02X}", text)


def decode_utf8_addr_xtext(text: str, *, unitext: bool = False) -> str:
    """What a utf-8-addr-xtext (or, with unitext, also a utf-8-addr-unitext) stands for.  XtextError."""
    if not (_UTF8_UNITEXT if unitext else _UTF8_XTEXT).fullmatch(text):
        raise XtextError("not a utf-8 address")
    try:
        return _EMBEDDED.sub(_embedded, text)
    except (ValueError, OverflowError) as error:
        raise XtextError("not a utf-8 address") from error


def encode_utf8_addr_xtext(text: str) -> str:
    """An address in the 7-bit form of type utf-8: \\x{HEX} for what xtext may not hold."""
    return _UTF8_ENCODED.sub(lambda found: f"\\x{{{ord(found[0]):02X}}}", text)


def _embedded(found: re.Match[str]) -> str:
    number = int(found[1], 16)
    if 0xD800 <= number < 0xE000:
        raise XtextError("a surrogate is no character")
    return chr(number)
