"""Text from peers made harmless for a line of a log or a terminal.

Whatever Unicode calls not printable is written as an escape: CR, LF and other controls, DEL, the C1 controls, line and
paragraph separators, the bidirectional overrides and isolates, lone surrogates.  So a peer can neither start a line of
its own, nor steer a terminal, nor show text in another order than it is.
"""

from __future__ import annotations

_SHORT = {"\r": "\\r", "\n": "\\n", "\t": "\\t", "\\": "\\\\", '"': '\\"'}


def _visible(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def escape(text: str) -> str:
    """`text` on one line: controls, invisible and direction-changing characters as escapes, backslash doubled."""
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(_SHORT[each] if each in "\r\n\t\\" else _visible(each) for each in text)


def quoted(text: str) -> str:
    """`text` escaped and in double quotes; a quote inside is escaped too, so that a value cannot forge another."""
    if text.isprintable() and "\\" not in text and '"' not in text:
        return f'"{text}"'
    return '"' + "".join(_SHORT.get(each) or _visible(each) for each in text) + '"'


def escape_json(encoded: bytes) -> bytes:
    """JSON with every character that is not printable as \\uXXXX; it says the same to a parser."""
    if encoded.isascii() and b"\x7f" not in encoded:
        return encoded
    text = encoded.decode("utf-8", "replace")
    if text.isprintable():
        return encoded
    return "".join(each if each.isprintable() else _json_escape(ord(each)) for each in text).encode()


def _json_escape(code: int) -> str:
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 | code >> 10:04x}\\u{0xDC00 | code & 0x3FF:04x}"


def question_marks(text: str) -> str:
    """`text` as Postfix logs it: what is not printable ASCII-or-Unicode text becomes "?"."""
    return text if text.isprintable() else "".join(each if each.isprintable() else "?" for each in text)
