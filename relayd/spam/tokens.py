"""A message as tokens of the statistical model: words and pairs of words, what stands in its header, where it links.

A token is a number of 64 bits; the same word is another token in the Subject, in a name or in a link.  Pairs of words
up to WINDOW apart (orthogonal sparse bigrams) tell "click here" from "here" and "click".  Scripts that write no blanks
between words are taken two characters at a time.
"""

from __future__ import annotations

import re
from array import array
from binascii import crc_hqx
from collections.abc import Iterable
from sys import byteorder
from zlib import crc32

from relayd.spam.html import Page
from relayd.spam.view import View

MAX_WORDS = 2000
"""Words of a message that become tokens."""
MAX_TOKENS = 6000
WINDOW = 2
"""How many words after one make pairs with it."""

_WORD = re.compile(r"[^\W\d_](?:[\w'’-]{0,38}\w)?|[$€£¥]\s?\d[\d.,]*|\d[\d.,%]*\d?%?|[!?$]{1,5}", re.U)
_PATH = re.compile(r"[A-Za-z]{3,20}|\.[a-z]{2,4}\b")
_UNSPACED = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")
_DIGITS = re.compile(r"\d")
_LONGEST = 20
_SHORTEST = 2
_MASK = (1 << 64) - 1
_MULTIPLIER = 0x9E3779B97F4A7C15
_NAMED = ("x-mailer", "user-agent", "content-type", "reply-to", "organization", "errors-to", "sender", "precedence")
_UNTOLD = frozenset(
    "received delivered-to return-path date message-id x-spam-status x-spam-level x-spam-flag x-spam-checker-version "
    "x-spam-report x-spam-result x-spam x-original-to authentication-results dkim-signature arc-seal status x-status "
    "x-uidl x-keywords x-pyzor xref arc-message-signature arc-authentication-results received-spf".split()
)
"""Fields that say where a message was, not what it is; and what other filters thought of it."""


def tokens_of(view: View) -> bytes:
    """The tokens of a message, each once, 8 octets each, little-endian."""
    found: set[int] = set()
    words = words_of(view.plain, MAX_WORDS)
    words += words_of(view.shown, MAX_WORDS - len(words))
    _add_words(found, words, "")
    _add_words(found, words_of(view.subject, 60), "s:")
    found.update(map(token, _of_header(view)))
    found.update(map(token, _of_links(view)))
    for _, page in view.pages:
        found.update(map(token, _of_page(page)))
    for part in view.message.parts:
        found.add(token(f"part:{part.content_type}"))
        if part.filename:
            found.add(token(f"file:{part.filename.lower().rpartition('.')[2][:10]}"))
    numbers = array("Q", sorted(found)[:MAX_TOKENS] if len(found) > MAX_TOKENS else found)
    if byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


def numbers_of(tokens: bytes) -> Iterable[int]:
    """The numbers that `tokens_of` packed."""
    numbers = array("Q")
    numbers.frombytes(tokens[: len(tokens) & ~7])
    if byteorder == "big":
        numbers.byteswap()
    return numbers


def token(text: str) -> int:
    """The number of a token's text."""
    octets = text.encode("utf-8", "replace")
    return ((crc32(octets) | crc_hqx(octets, len(octets)) << 32) * _MULTIPLIER) & _MASK


def words_of(text: str, most: int) -> list[str]:
    """The words of a text in their order, lower case; numbers by their shape."""
    words: list[str] = []
    for match in _WORD.finditer(text):
        if len(words) >= most:
            break
        word = match[0]
        if not word.isascii() and _UNSPACED.search(word):
            words += _unspaced(word)
            continue
        if len(word) > _LONGEST:
            words.append(f"long:{word[0].lower()}{len(word) // 10}")
        elif word[0].isalpha():
            if len(word) >= _SHORTEST:
                words.append(word.lower())
        elif word[0] in "!?":
            words.append(word[:3])
        else:
            words.append(_DIGITS.sub("0", word)[:8])
    return words[:most] if most > 0 else []


def _unspaced(text: str) -> list[str]:
    pairs = []
    for run in _UNSPACED.findall(text):
        pairs += [run[place : place + 2] for place in range(max(1, len(run) - 1))]
    return pairs


def _add_words(found: set[int], words: list[str], prefix: str) -> None:
    known: dict[str, int] = {}
    numbers = []
    for word in words:
        number = known.get(word)
        if number is None:
            number = known[word] = token(prefix + word)
        numbers.append(number)
    found.update(numbers)
    for distance in range(1, WINDOW + 1):
        factor = _MULTIPLIER + 2 * distance
        found.update([(one * factor + other) & _MASK for one, other in zip(numbers, numbers[distance:], strict=False)])


def _of_header(view: View) -> list[str]:
    found = []
    author = view.author
    if author.domain:
        found += [f"from:{author.key}", f"from:{author.domain}", f"from:{view.domain(author.domain)}"]
        found.append(f"tld:{author.domain.rpartition('.')[2]}")
    found += [f"name:{word}" for word in words_of(author.name, 10)]
    if not view.to:
        found.append("to:none")
    for name in _NAMED:
        field = view.header.first(name)
        if field is not None:
            words = words_of(field.text[:300], 20)
            found += [f"{name}:{word}" for word in words]
            found.append(f"{name}:{' '.join(words)[:60]}")
    found += [f"field:{field.name}" for field in view.header.fields[:60] if field.lower not in _UNTOLD]
    return found


def _of_links(view: View) -> list[str]:
    found = []
    for link in view.links[:100]:
        url = link.url
        found += [f"host:{url.host}", f"host:{view.domain(url.host)}", f"url:{link.place}"]
        if url.port:
            found.append(f"port:{url.port}")
        if url.is_address:
            found.append("url:address")
        found += [f"path:{word.lower()}" for word in _PATH.findall(url.path[:200])[:10]]
    return found


def _of_page(page: Page) -> list[str]:
    found = [f"tag:{name}" for name in list(page.tags)[:60]]
    found += [f"tags:{name}{number.bit_length()}" for name, number in list(page.tags.items())[:60]]
    found.append(f"comments:{page.comments.bit_length()}")
    found += [f"hidden:{word}" for word in words_of(page.hidden, 40)]
    return found
