"""Finding Authentication-Results that claim to be ours (RFC 8601 §5), in whatever dress.

A reader behind us believes what bears our authserv-id, and may read more loosely than the RFC; so a field counts as
ours in every way that some reader might take it to be: folded, with comments or blanks within the name, quoted, with
a version, in other letters, as U-label or A-label, in full-width letters, in Latin-1, as an encoded word.  What cannot
be read counts as ours when our id stands anywhere in it.
"""

from __future__ import annotations

import base64
import binascii
import functools
import quopri
import re
import unicodedata
from collections.abc import Iterable, Iterator

import idna

from relayd.mail.header import HeaderBlock, HeaderField
from relayd.mailauth.results import FIELD
from relayd.mailauth.results_read import ResultsError, lexemes

_MAX_LEAD = 4096
"""Characters in front of the first ";" that are looked at; nobody honest writes more."""
_MAX_ID = 1000
_NAME = FIELD.lower()
_ENCODED = re.compile(r"=\?([^?\s]+)\?([bBqQ])\?([^?\s]*)\?=\s*")
_BLANKS = re.compile(r"\s+")


def forged_fields(header: HeaderBlock, authserv_ids: Iterable[str]) -> list[HeaderField]:
    """The Authentication-Results fields that claim one of these ids."""
    ours = frozenset(_plain_id(id) for id in authserv_ids)
    return [field for field in header.fields if field.name.lower() == _NAME and _claims(field, ours)]


def _claims(field: HeaderField, ours: frozenset[str]) -> bool:
    value = field.raw[field.raw.find(b":") + 1 :]
    for text in _readings(value):
        try:
            words = _lead(text)
        except ResultsError:
            plain = _plain(_BLANKS.sub("", text.replace("\\", "")))
            if any(name in plain for name in _spellings(ours)):
                return True
            continue
        if words is None or not ours.isdisjoint(_ids(words)):
            return True
    return False


def _readings(value: bytes) -> Iterator[str]:
    """The texts that readers may see in these octets."""
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        text = value.decode("latin-1")
    yield text
    if "=?" in text:
        yield _ENCODED.sub(_decoded, text[: 2 * _MAX_LEAD])


def _decoded(word: re.Match[str]) -> str:
    charset, encoding, text = word[1].partition("*")[0], word[2].lower(), word[3]
    try:
        if encoding == "b":
            octets = base64.b64decode(text + "=" * (-len(text) % 4))
        else:
            octets = quopri.decodestring(text.encode("utf-8"), header=True)
        return octets.decode(charset, "replace")
    except (binascii.Error, LookupError, ValueError):
        return word[0]


def _lead(text: str) -> list[str] | None:
    """The words and quoted strings in front of the first ";"; None: too much stands there.  ResultsError."""
    words: list[str] = []
    cut = text[:_MAX_LEAD]
    try:
        for kind, word in lexemes(cut):
            if kind == "semicolon":
                return words
            if kind in ("word", "quoted"):
                words.append(word)
    except ResultsError:
        if len(text) <= _MAX_LEAD:
            raise
        return None
    return words if len(text) <= _MAX_LEAD else None


def _ids(words: list[str]) -> Iterator[str]:
    """The ids that these words may be taken for."""
    if not words:
        return
    if words[-1].isdigit():
        yield _plain_id("".join(words[:-1]))
    for id in (words[0], "".join(words)):
        yield _plain_id(id)
        yield _plain_id(re.split("[/:=,]", id, maxsplit=1)[0])


@functools.lru_cache(1024)
def _plain_id(id: str) -> str:
    """The one form of an id: A-labels, lower case, without blanks and final dot."""
    if len(id) > _MAX_ID:
        return ""
    text = _plain(_BLANKS.sub("", id)).strip(".")
    if text.isascii():
        return text
    try:
        return ".".join(label if label.isascii() else idna.alabel(label).decode("ascii") for label in text.split("."))
    except UnicodeError:
        return text


def _plain(text: str) -> str:
    """Lower case, without what Unicode takes for the same (RFC 5895; UTS 46 where the text can be a name)."""
    if text.isascii():
        return text.lower()
    try:
        return idna.uts46_remap(text, std3_rules=False, transitional=False)
    except idna.IDNAError:
        return unicodedata.normalize("NFKC", text).casefold()


@functools.lru_cache(64)
def _spellings(ours: frozenset[str]) -> frozenset[str]:
    """The ids and, where they have them, their U-label forms."""
    names = set(ours)
    for name in ours:
        try:
            names.add(idna.decode(name))
        except UnicodeError:
            continue
    return frozenset(name for name in names if name)
