"""The rules by which a refusal is classified: their form, how they are read, how a text is made ready for them.

Rules are data (`conf/bounces.toml`, and an operator's file on top of it).  A rule says what it is about by phrases of
the reply's text, by enhanced codes and by codes, and restricts that by the refused command, by phrases that must not
be there and by names of hosts.  No regular expressions: a phrase is looked for as it stands, so the cost of a rule is
linear in the text, and the text is bounded.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from operator import itemgetter
from typing import TypeVar

import msgspec

MAX_TEXT = 4096
"""Characters of a text that rules look at."""


class BounceClass(Enum):
    """What a refusal is about.  The value is what events, metrics and the rules' file show."""

    BAD_MAILBOX = "bad-mailbox"
    BAD_DOMAIN = "bad-domain"
    FULL = "full"
    SIZE = "size"
    POLICY = "policy"
    CONTENT = "content"
    REPUTATION = "reputation"
    RATE = "rate"
    AUTH = "auth"
    TLS = "tls"
    DNS = "dns"
    NETWORK = "network"
    SYSTEM = "system"
    PROTOCOL = "protocol"
    EXPIRED = "expired"
    UNKNOWN = "unknown"


class Hardness(Enum):
    """When a rule means that the address itself is dead.

    NEVER: other mail, or the same mail later, may arrive.  ALWAYS: it may not.  ADDRESSED: only when it was the address
    that was refused, in answer to RCPT or with a code about addresses (x.1.n); filters and gateways claim the same of
    messages they do not like.
    """

    NEVER = "never"
    ALWAYS = "always"
    ADDRESSED = "addressed"


class RulesError(ValueError):
    """A file of rules cannot be used; the text says where and why."""


class RuleForm(msgspec.Struct, rename="kebab", forbid_unknown_fields=True, kw_only=True):
    """A rule as a file has it.

    id: its name.  class: see BounceClass.  text: phrases; any of them suffices; "*" stands for anything.
    enhanced: "5.1.1", or "x.1.1" for any class digit.  codes: of the reply.  steps: commands the refusal must answer.
    unless: phrases that must not be there.  hosts: domains the peer must be in.  hard: see Hardness.  given_up: the
    class instead of `class` when another system reports that it stopped trying.
    """

    id: str
    class_: str = msgspec.field(name="class")
    text: list[str] = []
    enhanced: list[str] = []
    codes: list[int] = []
    steps: list[str] = []
    unless: list[str] = []
    hosts: list[str] = []
    hard: str = "never"
    given_up: str = ""


class _FileForm(msgspec.Struct, forbid_unknown_fields=True):
    rule: list[RuleForm] = []


SHORT_WORD = 4
"""Letters up to which the last word of a phrase must be a whole word of the text ("dul" is not in "schedule")."""


KEY = 3
"""Letters of a phrase's first word by which phrases are found."""

_ALPHANUMERIC = re.compile(r"[^\W_]++")
_NUMBER = itemgetter(0)


@dataclass(frozen=True, slots=True)
class Phrase:
    """What to look for: pieces in their order.  head: it begins a word.  tail: it ends one."""

    pieces: tuple[str, ...]
    head: bool
    tail: bool

    @property
    def key(self) -> str:
        """The first letters of the word that the phrase begins; "" when it may begin anywhere."""
        word = _ALPHANUMERIC.match(self.pieces[0])
        return word[0][:KEY] if self.head and word is not None else ""

    def is_in(self, text: str) -> bool:
        """Whether `text` has the pieces, in their order."""
        place = 0
        last = len(self.pieces) - 1
        for number, piece in enumerate(self.pieces):
            place = text.find(piece, place)
            while place >= 0 and (
                (number == 0 and self.head and text[place - 1 : place].isalnum())
                or (number == last and self.tail and text[place + len(piece) : place + len(piece) + 1].isalnum())
            ):
                place = text.find(piece, place + 1)
            if place < 0:
                return False
            place += len(piece)
        return True


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule made ready."""

    id: str
    class_: BounceClass
    text: tuple[Phrase, ...]
    enhanced: frozenset[str]
    codes: frozenset[int]
    steps: frozenset[str]
    unless: tuple[Phrase, ...]
    hosts: tuple[str, ...]
    hard: Hardness
    given_up: BounceClass | None

    def allows(self, text: str, step: str, host: str) -> bool:
        """Whether the rule's restrictions let it apply."""
        if self.steps and step not in self.steps:
            return False
        if self.hosts and not any(host == each or host.endswith(f".{each}") for each in self.hosts):
            return False
        return not any(phrase.is_in(text) for phrase in self.unless)


class Rules:
    """A list of rules; the first that fits decides, and what the text says goes before what the codes say."""

    def __init__(self, rules: Sequence[Rule] = ()) -> None:
        self.rules = tuple(rules)
        self._of_code = tuple(rule for rule in rules if rule.enhanced or rule.codes)
        self._phrases: dict[str, list[tuple[int, Phrase]]] = {}
        for number, rule in enumerate(rules):
            for phrase in rule.text:
                self._phrases.setdefault(phrase.key, []).append((number, phrase))

    def by_text(self, text: str, step: str = "", host: str = "") -> Rule | None:
        """The first rule with a phrase in `text` (as `prepared` makes it).

        Only phrases are looked for whose first letters begin a word of the text, and those that may begin anywhere.
        """
        keys = {""}
        for word in _ALPHANUMERIC.findall(text):
            keys.update((word[:1], word[:2], word[:KEY]))
        candidates = [each for key in keys if (found := self._phrases.get(key)) for each in found]
        candidates.sort(key=_NUMBER)
        passed = -1
        for number, phrase in candidates:
            if number != passed and phrase.is_in(text):
                if self.rules[number].allows(text, step, host):
                    return self.rules[number]
                passed = number
        return None

    def by_code(self, code: int, enhanced: str, text: str = "", step: str = "", host: str = "") -> Rule | None:
        """The first rule with that enhanced code, else with that code, else with neither but for that command."""
        if enhanced:
            wanted = (enhanced, f"x{enhanced[1:]}")
            for rule in self._of_code:
                if not rule.enhanced.isdisjoint(wanted) and rule.allows(text, step, host):
                    return rule
        for rule in self._of_code:
            if rule.enhanced and not rule.codes:
                continue
            if (code in rule.codes or code // 100 in rule.codes) and rule.allows(text, step, host):
                return rule
        return None


_WORD = re.compile(r"[^\s<>()\[\]\"',;]++")
_BLANKS = re.compile(r"\s++")
_CODES = re.compile(r"(?<![0-9.#])[245][0-9][0-9](?:[- ]#?[245]\.[0-9]{1,3}\.[0-9]{1,3}(?![0-9.]))?(?=[\s-])", re.A)


def prepared(text: str) -> str:
    """The text as phrases are looked for in it: bounded, lower case, single blanks, without addresses, the fragments of
    URLs, and the codes that lines begin with; those words are the sender's, not the refuser's.
    """
    text = _CODES.sub(" ", text[:MAX_TEXT].lower()).replace("’", "'")
    return _BLANKS.sub(" ", _WORD.sub(_without_address, text)).strip()


def _without_address(word: re.Match[str]) -> str:
    if "@" in word[0]:
        return "@"
    return word[0].partition("#")[0] if "://" in word[0] else word[0]


NO_RULES = Rules()
"""Everything is unknown."""


def parse_rules(text: str, origin: str) -> list[RuleForm]:
    """The rules of a file's text.  origin: its name, for RulesError."""
    try:
        return msgspec.convert(tomllib.loads(text), _FileForm).rule
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise RulesError(f"{origin}: {error}") from None


def build_rules(shipped: Sequence[RuleForm], own: Sequence[RuleForm] = (), *, origin: str = "bounces.toml") -> Rules:
    """The rules in force: the operator's own before the shipped ones; one with the id of a shipped one replaces it.

    A rule without any condition is switched off, which is how an own one takes a shipped one away.  RulesError.
    """
    taken = {form.id for form in own}
    forms = [*own, *(form for form in shipped if form.id not in taken)]
    seen: set[str] = set()
    rules = []
    for form in forms:
        if form.id in seen:
            raise RulesError(f"{origin}: two rules have the id {form.id!r}")
        seen.add(form.id)
        if form.text or form.enhanced or form.codes:
            rules.append(_ready(form, origin))
    return Rules(rules)


_STEPS = frozenset(("connect", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "end of data"))
_ENHANCED = re.compile(r"[x245]\.[0-9]{1,3}\.[0-9]{1,3}", re.A)
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,60}")


def _ready(form: RuleForm, origin: str) -> Rule:
    where = f"{origin}: rule {form.id!r}"
    if _ID.fullmatch(form.id) is None:
        raise RulesError(f"{where}: an id is lower-case words joined by dashes")
    for step in form.steps:
        if step not in _STEPS:
            raise RulesError(f"{where}: {step!r} is none of the steps {', '.join(sorted(_STEPS))}")
    for enhanced in form.enhanced:
        if _ENHANCED.fullmatch(enhanced) is None:
            raise RulesError(f"{where}: {enhanced!r} is no enhanced code like 5.1.1 or x.1.1")
    return Rule(
        id=form.id,
        class_=_one_of(BounceClass, form.class_, where),
        text=tuple(phrase(each, where) for each in form.text),
        enhanced=frozenset(form.enhanced),
        codes=frozenset(form.codes),
        steps=frozenset(form.steps),
        unless=tuple(phrase(each, where) for each in form.unless),
        hosts=tuple(each.lower().strip(".") for each in form.hosts),
        hard=_one_of(Hardness, form.hard, where),
        given_up=_one_of(BounceClass, form.given_up, where) if form.given_up else None,
    )


_Choice = TypeVar("_Choice", BounceClass, Hardness)


def _one_of(kind: type[_Choice], value: str, where: str) -> _Choice:
    try:
        return kind(value)
    except ValueError:
        raise RulesError(f"{where}: {value!r} is none of {', '.join(str(each.value) for each in kind)}") from None


def phrase(text: str, where: str) -> Phrase:
    """What a phrase of a file stands for: "*" is anything.  where: the place, for RulesError."""
    pieces = tuple(piece for each in text.lower().split("*") if (piece := _BLANKS.sub(" ", each).strip()))
    if not pieces:
        raise RulesError(f"{where}: an empty phrase")
    word = pieces[-1].rsplit(" ", 1)[-1]
    tail = len(word) <= SHORT_WORD and word[-1].isascii() and word[-1].isalnum() and not text.endswith("*")
    head = pieces[0][0].isascii() and pieces[0][0].isalnum() and not text.startswith("*")
    return Phrase(pieces, head, tail)
