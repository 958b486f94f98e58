"""Authentication-Results that others wrote (RFC 8601 §2.2, RFC 8617 §4.1.1).

Read here and not by authres, which is quadratic, recursive in comments, refuses a quoted authserv-id, raw UTF-8 and
any ptype that it does not know.  Taken beyond the grammar, because large providers write so: a ";" at the end, a
property without a ptype ("action=none"), an empty value of one that has it, and in values all that is neither blank,
quote, parenthesis nor ";".
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from relayd.mailauth.results import MethodResult

MAX_FIELD = 16 << 10
"""Octets of a field that is read; a longer one is refused."""

_BLANK = r"[ \t\r\n]"
_LEXEME = re.compile(rf'({_BLANK}+)|"((?:[^"\\]|\\[^\r\n])*)"|(\()|(;)|([^ \t\r\n"(;]+)|"')
_IN_COMMENT = re.compile(r"[()]|\\.", re.S)
_PAIR = re.compile(r"\\(.)", re.S)
_FOLD = re.compile(r"\r?\n")

# A quoted string stands as the place of its text between two NULs while a segment is matched.
_KEYWORD = r"[A-Za-z0-9_-]+"
_QUOTED = r"\0[0-9]+\0"
_TOKEN = r"[^ \t\0;\"()<>@,:\\/\[\]?=]+"
_ID = re.compile(rf" *({_QUOTED}|[^ \0;\"()=<>,]+)(?: +([0-9]+))? *")
_METHOD = re.compile(rf" *({_KEYWORD}) *(?:/ *([0-9]+) *)?= *({_KEYWORD})(?= |$)")
_REASON = re.compile(rf" +reason *= *({_QUOTED}|{_TOKEN})(?= |$)", re.I)
_VALUE = rf"{_QUOTED}@[^ \0]+|{_QUOTED}|[^ \0\\]"
_PROPERTY = re.compile(
    rf" +(?:({_KEYWORD}) *\. *({_KEYWORD}) *= *({_VALUE}*)|(?!reason *=)({_KEYWORD}) *= *({_VALUE}+))(?= |$)", re.I
)
_NONE = re.compile(r" *none *", re.I)
_INSTANCE = re.compile(r" *i *= *([0-9]{1,2}) *")


class ResultsError(ValueError):
    """The field does not follow the grammar; the text says where."""


class AuthResults(msgspec.Struct, frozen=True, kw_only=True):
    """One field.  authserv_id: as written, unquoted.  results: () where it says "none"."""

    authserv_id: str
    version: int = 1
    results: tuple[MethodResult, ...] = ()

    def result(self, method: str) -> str | None:
        """The first result of that method, in lower case."""
        return next((each.result for each in self.results if each.method == method), None)


def parse_results(value: bytes) -> AuthResults:
    """What a field says; value: what stands behind its colon, folds and all.  ResultsError."""
    return _payload(*_segments(value))


def parse_arc_results(value: bytes) -> tuple[int, AuthResults | None]:
    """(instance, what it says or None where that cannot be read) of ARC-Authentication-Results.

    ResultsError when there is no instance in front.
    """
    lead, semicolon, payload = value.partition(b";")
    try:
        segments, _ = _segments(lead if semicolon else b"")
        instance = _INSTANCE.fullmatch(segments[0])
    except ResultsError:
        instance = None
    if instance is None:
        raise ResultsError("no i= in front")
    try:
        return int(instance[1]), parse_results(payload)
    except ResultsError:
        return int(instance[1]), None


def lexemes(text: str) -> Iterator[tuple[str, str]]:
    """(kind, text) of "blank", "quoted" (without quotes and backslashes), "comment", "semicolon" and "word".

    ResultsError at a comment or quoted string without end.  Linear; a comment costs a step for each parenthesis.
    """
    at = 0
    while at < len(text):
        found = _LEXEME.match(text, at)
        if found is None or found[0] == '"':
            raise ResultsError("a quoted string without end")
        at = found.end()
        if found[3]:
            at = _comment_end(text, at)
            yield "comment", text[found.start() : at]
        elif found[1]:
            yield "blank", found[1]
        elif found[4]:
            yield "semicolon", ";"
        elif found[5]:
            yield "word", found[5]
        else:
            yield "quoted", _PAIR.sub(r"\1", _FOLD.sub("", found[2]))


def _comment_end(text: str, at: int) -> int:
    depth = 1
    for found in _IN_COMMENT.finditer(text, at):
        if found[0] == "(":
            depth += 1
        elif found[0] == ")":
            depth -= 1
            if not depth:
                return found.end()
    raise ResultsError("a comment without end")


def _segments(value: bytes) -> tuple[list[str], list[str]]:
    """The parts between the semicolons, blanks and comments as one space, and the quoted strings in them."""
    if len(value) > MAX_FIELD:
        raise ResultsError("too long")
    text = value.decode("utf-8", "replace")
    if "\0" in text:
        raise ResultsError("NUL")
    pieces: list[str] = []
    quoted: list[str] = []
    for kind, octets in lexemes(text):
        if kind == "quoted":
            pieces.append(f"\0{len(quoted)}\0")
            quoted.append(octets)
        elif kind in ("blank", "comment"):
            if pieces[-1:] != [" "]:
                pieces.append(" ")
        else:
            pieces.append(octets)
    return "".join(pieces).split(";"), quoted


def _payload(segments: list[str], quoted: list[str]) -> AuthResults:
    if len(segments) > 1 and not segments[-1].strip(" "):
        segments.pop()
    head = _ID.fullmatch(segments[0])
    if head is None:
        raise ResultsError("no authserv-id")
    if len(segments) == 1:
        raise ResultsError("no result")
    authserv_id = _text(head[1], quoted)
    version = _number(head[2] or "1")
    if len(segments) == 2 and _NONE.fullmatch(segments[1]):
        return AuthResults(authserv_id=authserv_id, version=version)
    results = tuple(_result(segment, quoted) for segment in segments[1:])
    return AuthResults(authserv_id=authserv_id, version=version, results=results)


def _result(segment: str, quoted: list[str]) -> MethodResult:
    method = _METHOD.match(segment)
    if method is None:
        raise ResultsError("no method and result")
    at = method.end()
    reason = _REASON.match(segment, at)
    at = reason.end() if reason else at
    properties = []
    while property := _PROPERTY.match(segment, at):
        at = property.end()
        ptype, name, value = property[1] or "", property[2] or property[4], property[3] or property[5] or ""
        properties.append((ptype.lower(), name.lower(), _text(value, quoted)))
    if segment[at:].strip(" "):
        raise ResultsError("no property")
    return MethodResult(
        method=method[1].lower(),
        result=method[3].lower(),
        reason=_text(reason[1], quoted) if reason else "",
        properties=tuple(properties),
    )


def _number(digits: str) -> int:
    if len(digits) > 9:
        raise ResultsError("a version that is no version")
    return int(digits)


def _text(value: str, quoted: list[str]) -> str:
    if not value.startswith("\0"):
        return value
    place, _, rest = value[1:].partition("\0")
    return quoted[int(place)] + rest
