"""What is done when a provider complains: rules about its replies, as data.

A rule fits when every condition that it names is met: the provider, the reply's code, its enhanced code, a phrase of
its text, the class that the bounce rules gave it.  Phrases are those of `routing/bounce_rules`: looked for as they
stand, with "*" for anything between, in a text that is bounded; so no text can make the search expensive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import msgspec

from relayd.mail.reply import Reply
from relayd.options import OptionError, parse_duration
from relayd.routing.bounce_rules import BounceClass, Phrase, RulesError, phrase, prepared

_MOST_SECONDS = 7 * 86400.0


class Action(Enum):
    """What a rule does."""

    SLOW = "slow"
    """Give less for a time."""
    SUSPEND = "suspend"
    """Give nothing for a time."""
    IGNORE = "ignore"
    """Nothing; no later rule is asked."""


class Scope(Enum):
    """To whom it is done."""

    PROVIDER = "provider"
    """All destinations of the provider; the domain where it has none."""
    DOMAIN = "domain"
    """The destination alone."""


class ResponseForm(msgspec.Struct, rename="kebab", forbid_unknown_fields=True, kw_only=True):
    """A rule as a file has it."""

    id: str
    providers: list[str] = []
    codes: list[int] = []
    enhanced: list[str] = []
    text: list[str] = []
    classes: list[str] = []
    action: str
    scope: str = "provider"
    for_: str = msgspec.field(name="for", default="0")
    share: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A rule made ready.  seconds: how long it holds.  share: of what is given, for SLOW."""

    id: str
    providers: frozenset[str]
    codes: frozenset[int]
    enhanced: frozenset[str]
    text: tuple[Phrase, ...]
    classes: frozenset[str]
    action: Action
    scope: Scope
    seconds: float
    share: float

    def fits(self, provider: str, reply: Reply, text: str, class_: str) -> bool:
        """Whether all conditions are met.  text: the reply's, as `prepared` makes it."""
        if self.providers and provider not in self.providers:
            return False
        if self.codes and reply.code not in self.codes and reply.code // 100 not in self.codes:
            return False
        if self.enhanced and reply.enhanced not in self.enhanced and f"x{reply.enhanced[1:]}" not in self.enhanced:
            return False
        if self.classes and class_ not in self.classes:
            return False
        return not self.text or any(each.is_in(text) for each in self.text)


class Responses:
    """The rules in their order; the first that fits counts."""

    def __init__(self, rules: Sequence[Response] = ()) -> None:
        self.rules = tuple(rules)

    def find(self, provider: str, reply: Reply, class_: str) -> Response | None:
        """The rule for a refusal by `provider` ("" for none); class_: by the bounce rules, "" when they were not asked.

        One that does nothing is as none.
        """
        if not self.rules:
            return None
        text = prepared(reply.text)
        found = next((rule for rule in self.rules if rule.fits(provider, reply, text, class_)), None)
        return found if found is not None and found.action is not Action.IGNORE else None


NO_RESPONSES = Responses()


def read_responses(tables: Any, origin: str) -> list[ResponseForm]:
    """The rules of a file's `[[response]]` tables.  Raises RulesError."""
    try:
        return msgspec.convert(tables, list[ResponseForm])
    except msgspec.ValidationError as error:
        raise RulesError(f"{origin}: response: {error}") from None


def build_responses(layers: Sequence[Sequence[ResponseForm]], providers: frozenset[str]) -> Responses:
    """The rules in force, the operator's first; an id that comes again is replaced by the one before.

    providers: ids that a rule may name.  Raises RulesError.
    """
    forms: dict[str, ResponseForm] = {}
    for layer in layers:
        ids = [form.id for form in layer]
        if twice := next((id for id in ids if ids.count(id) > 1), None):
            raise RulesError(f"response {twice!r}: two rules have this id")
        for form in layer:
            forms.setdefault(form.id, form)
    return Responses([_ready(form, providers) for form in forms.values()])


def _ready(form: ResponseForm, providers: frozenset[str]) -> Response:
    where = f"response {form.id!r}"
    try:
        action, scope = Action(form.action), Scope(form.scope)
        for each in form.classes:
            BounceClass(each)
        seconds = parse_duration(form.for_)
    except ValueError as error:  # OptionError is one
        text = str(error) if isinstance(error, OptionError) else f"{error} here"
        raise RulesError(f"{where}: {text}") from None
    if unknown := sorted(set(form.providers) - providers):
        raise RulesError(f"{where}: there is no provider {unknown[0]!r}")
    if action is not Action.IGNORE and not 0.0 < seconds <= _MOST_SECONDS:
        raise RulesError(f"{where}: for: expected a duration of at most 7d")
    if not 0.0 < form.share < 1.0:
        raise RulesError(f"{where}: share: expected a part between 0 and 1")
    if not (form.codes or form.enhanced or form.text or form.classes):
        raise RulesError(f"{where}: expected codes, enhanced, text or classes")
    return Response(
        id=form.id,
        providers=frozenset(form.providers),
        codes=frozenset(form.codes),
        enhanced=frozenset(form.enhanced),
        text=tuple(phrase(each, where) for each in form.text),
        classes=frozenset(form.classes),
        action=action,
        scope=scope,
        seconds=seconds,
        share=form.share,
    )
