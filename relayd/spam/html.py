"""HTML read for its words, links and tricks, in one linear pass.

A tokenizer of our own on one regular expression that cannot backtrack: parsers that build a tree pay for hostile
nesting with time that grows as its square (100,000 open elements cost lexbor 45 s, `html.parser` loses itself in
unclosed quotes).  Words that nobody can see (of no size, hidden, in the colour of the page) are kept apart.
"""

from __future__ import annotations

import html as entities
import re
from dataclasses import dataclass, field

MAX_TAGS = 20000
MAX_LINKS = 500

_TAG = re.compile(
    r"<(?:!--(?P<comment>.*?(?:-->|\Z))|(?P<close>/?)(?P<name>[a-zA-Z][a-zA-Z0-9]*+)"
    r"(?P<rest>(?:[^>\"']++|\"[^\"]*+\"|'[^']*+')*+)(?:>|\Z|[\"'][^>]*+>?)|[!?/][^>]*+>?)",
    re.S,
)
_ATTRIBUTE = re.compile(r"([a-zA-Z-]++)\s*+=\s*+(?:\"([^\"]*+)\"?|'([^']*+)'?|([^\s>\"']++))")
_BLANKS = re.compile(r"\s+")
_RAW = {name: re.compile(rf"</{name}", re.I) for name in ("script", "style", "title", "textarea")}
_BREAKS = frozenset(
    "address article blockquote body br center dd div dl dt form h1 h2 h3 h4 h5 h6 head hr li ol p pre table td th tr "
    "ul".split()
)
_HIDDEN = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*[01](?:px|pt|em|%)?\s*(?:;|\Z)|max-height\s*:\s*0"
    r"|opacity\s*:\s*0(?:\.0+)?\s*(?:;|\Z)",
    re.I,
)
_VOID = frozenset("area base br col embed hr img input link meta param source track wbr".split())


@dataclass(slots=True)
class Link:
    """A link: where it leads, the words that show it, and whether it shows an image."""

    url: str
    text: str = ""
    has_image: bool = False


@dataclass(slots=True)
class Page:
    """What was found.  text: the words that are seen; hidden: those that are not.  images: (url, width, height), 0
    where not told.  tags: how many of each name were opened; closed: how many were closed.
    """

    text: str = ""
    hidden: str = ""
    title: str = ""
    links: list[Link] = field(default_factory=list)
    images: list[tuple[str, int, int]] = field(default_factory=list)
    tags: dict[str, int] = field(default_factory=dict)
    closed: dict[str, int] = field(default_factory=dict)
    refresh: str = ""
    has_style_sheet: bool = False
    has_form: bool = False
    has_script: bool = False
    comments: int = 0
    is_cut: bool = False


def read_page(source: str) -> Page:
    """The page that `source` is."""
    return _Reader(source).read()


class _Reader:
    def __init__(self, source: str) -> None:
        self.source = source
        self.page = Page()
        self.words: list[str] = []
        self.hidden: list[str] = []
        self.link: Link | None = None
        self.link_words: list[str] = []
        self.hiding = ""  # name of the element that hides what is in it
        self.depth = 0  # of elements of that name within it

    def read(self) -> Page:
        page, source = self.page, self.source
        place = 0
        tags = 0
        search = _TAG.search
        while True:
            tag = search(source, place)
            if tag is None:
                self._say(source[place:])
                break
            if tag.start() > place:
                self._say(source[place : tag.start()])
            place = tag.end()
            tags += 1
            if tags > MAX_TAGS:
                page.is_cut = True
                break
            name = tag["name"]
            if name is None:
                if tag["comment"] is not None:
                    page.comments += 1
                continue
            name = name.lower()
            if tag["close"]:
                self._close(name)
                continue
            page.tags[name] = page.tags.get(name, 0) + 1
            raw = _RAW.get(name)
            if raw is not None:
                end = raw.search(source, place)
                stop = end.start() if end is not None else len(source)
                if name == "title":
                    page.title = source[place:stop].strip()[:500]
                place = stop
            self._open(name, tag["rest"])
        self._leave_link()
        page.text = "".join(self.words)
        page.hidden = "".join(self.hidden)
        return page

    def _say(self, text: str) -> None:
        text = _BLANKS.sub(" ", text)
        if "&" in text:
            text = entities.unescape(text)
        if self.hiding:
            self.hidden.append(text)
            return
        self.words.append(text)
        if self.link is not None:
            self.link_words.append(text)

    def _open(self, name: str, rest: str) -> None:
        if name in _BREAKS:
            (self.hidden if self.hiding else self.words).append("\n")
        if self.hiding:
            if name == self.hiding:
                self.depth += 1
        elif name not in _VOID and "=" in rest and self._hides(rest):
            self.hiding, self.depth = name, 1
        if name in _LOOKED_AT:
            self._look(name, attributes(rest))

    def _hides(self, rest: str) -> bool:
        return ("style" in rest or "STYLE" in rest) and _HIDDEN.search(attributes(rest).get("style", "")) is not None

    def _look(self, name: str, attribute: dict[str, str]) -> None:
        page = self.page
        if name in ("a", "area"):
            self._leave_link()
            url = attribute.get("href", "").strip()
            if url and len(page.links) < MAX_LINKS:
                self.link = Link(url)
                page.links.append(self.link)
        elif name == "img":
            url = attribute.get("src", "").strip()
            if len(page.images) < MAX_LINKS:
                page.images.append((url, _number(attribute.get("width", "")), _number(attribute.get("height", ""))))
            if self.link is not None:
                self.link.has_image = True
        elif name == "meta":
            if attribute.get("http-equiv", "").lower() == "refresh":
                page.refresh = attribute.get("content", "")[:500] or "refresh"
        elif name == "link":
            if "stylesheet" in attribute.get("rel", "").lower():
                page.has_style_sheet = True
        elif name == "form":
            page.has_form = True
            url = attribute.get("action", "").strip()
            if url and len(page.links) < MAX_LINKS:
                page.links.append(Link(url))
        elif name == "script":
            page.has_script = True

    def _close(self, name: str) -> None:
        self.page.closed[name] = self.page.closed.get(name, 0) + 1
        if name in _BREAKS:
            (self.hidden if self.hiding else self.words).append("\n")
        if name == "a":
            self._leave_link()
        if self.hiding == name:
            self.depth -= 1
            if not self.depth:
                self.hiding = ""

    def _leave_link(self) -> None:
        if self.link is not None:
            self.link.text = "".join(self.link_words).strip()[:500]
            self.link_words.clear()
            self.link = None


_LOOKED_AT = frozenset(("a", "area", "img", "meta", "link", "form", "script"))


def attributes(rest: str) -> dict[str, str]:
    """The attributes of a tag by lower-case name, the first of each, entities decoded."""
    found: dict[str, str] = {}
    for match in _ATTRIBUTE.finditer(rest[:20000]):
        value = match[2] if match[2] is not None else match[3] if match[3] is not None else match[4]
        found.setdefault(match[1].lower(), entities.unescape(value) if "&" in value else value)
    return found


def _number(text: str) -> int:
    digits = text.strip().removesuffix("px")
    return int(digits) if digits.isdecimal() and digits.isascii() and len(digits) < 6 else 0
