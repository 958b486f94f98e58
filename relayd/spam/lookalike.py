"""Host names that look like another: letters of other scripts that are drawn as Latin ones (UTS #39, in small), and
digits and pairs of letters that are read as another ("paypa1", "arnazon").
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable
from functools import lru_cache

import idna

_LOOK_ALIKES = {
    "a": "аɑα",
    "b": "ьƅ",
    "c": "сϲ",
    "d": "ԁđɗ",
    "e": "еҽє",
    "f": "ƒ",
    "g": "ɡց",
    "h": "һħհ",
    "i": "іıɩι",
    "j": "јϳ",
    "k": "κкķ",
    "l": "ӏłⅼ|",
    "m": "мռ",
    "n": "ոпη",
    "o": "оοօσøо",
    "p": "рρ",
    "q": "ԛգ",
    "r": "гɼ",
    "s": "ѕʂ",
    "t": "тτŧ",
    "u": "սυц",
    "v": "νѵ",
    "w": "ѡωԝ",
    "x": "хχ",
    "y": "уγү",
    "z": "ʐ",
}
"""Letters that stay apart from the Latin ones when accents are taken away, and what they are drawn as."""
_DRAWN_AS = str.maketrans({alike: letter for letter, alikes in _LOOK_ALIKES.items() for alike in alikes})
_MISREAD = re.compile("[0135]|rn|vv")
_DIGITS = str.maketrans("035", "oes")
_ZERO_WIDTH = frozenset("\u200b\u200c\u200d\u2060\ufeff\u00ad\u180e")


def has_zero_width(text: str) -> bool:
    """Whether characters stand in it that nobody sees."""
    return not text.isascii() and not _ZERO_WIDTH.isdisjoint(text)


def has_obscured(text: str) -> bool:
    """Whether it holds characters that hide or turn what stands beside them (direction overrides, zero width)."""
    if text.isascii():
        return False
    return has_zero_width(text) or any("\u202a" <= each <= "\u202e" or "\u2066" <= each <= "\u2069" for each in text)


def shown(host: str) -> str:
    """A host of A-labels as people see it; labels that cannot be decoded stay."""
    if "xn--" not in host:
        return host
    labels = []
    for label in host.split("."):
        try:
            labels.append(idna.decode(label, uts46=False) if label.startswith("xn--") else label)
        except (idna.IDNAError, UnicodeError):
            try:
                labels.append(label.encode("ascii", "replace").removeprefix(b"xn--").decode("punycode"))
            except UnicodeError:
                labels.append(label)
    return ".".join(labels)


def skeleton(host: str) -> str:
    """What a host looks like in Latin letters."""
    apart = unicodedata.normalize("NFKD", host.lower().translate(_DRAWN_AS))
    return "".join(letter for letter in apart if not unicodedata.combining(letter)).translate(_DRAWN_AS)


def imitates(host: str, known: Collection[str]) -> str:
    """The known host that another looks like, "" for none.  host: as people see it."""
    for drawn in _drawings(host):
        parts = drawn.split(".")
        for cut in range(len(parts) - 1):
            name = ".".join(parts[cut:])
            if name in known and not host.endswith(name):
                return name
    return ""


def _drawings(host: str) -> Iterable[str]:
    """What a host may be taken for."""
    if not host.isascii():
        drawn = skeleton(host)
        return (drawn,) if drawn.isascii() else ()
    if _MISREAD.search(host) is None:
        return ()
    plain = host.replace("rn", "m").replace("vv", "w").translate(_DIGITS)
    return (plain.replace("1", "l"), plain.replace("1", "i"))


@lru_cache(4096)
def script_of(letter: str) -> str:
    """The script of a letter by the first word of its Unicode name ("LATIN", "CYRILLIC"); "" of what is no letter."""
    if not letter.isalpha():
        return ""
    word = unicodedata.name(letter, "").partition(" ")[0]
    return {"FULLWIDTH": "LATIN", "HIRAGANA": "CJK", "KATAKANA": "CJK", "HANGUL": "HANGUL"}.get(word, word)


def scripts_of(text: str) -> set[str]:
    """The scripts of the letters in a text."""
    return {script for letter in set(text) if (script := script_of(letter))}


def mixes_scripts(label: str) -> bool:
    """Whether letters of several scripts stand in one label; Chinese and Japanese beside Latin is no mixture."""
    if label.isascii():
        return False
    scripts = scripts_of(label)
    return len(scripts) > 1 and not scripts <= {"LATIN", "CJK"}
