"""Rules that choose next hop and source by more than the recipient's domain (`queue.rule.<id>`).

What a rule may ask for is known for certain only while a message is taken: its header is read, its listener and
account are there.  So the rules are looked at once, then; the ids of those that matched travel with the message
(`Terms.rules`), in order, up to the first one that asks nothing of the recipient.  For each recipient the first of them
that still fits counts.  A reload that gives a rule another next hop so moves the mail that waits; one that takes the
rule away leaves the mail to the next that matched, else to what the recipient's domain says.

Pure and linear: a field's value is matched by globs, and nothing is read where no rule is declared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from relayd.mail.header import HeaderBlock
from relayd.mail.pattern import Addresses, Glob, Names
from relayd.options import OptionError
from relayd.routing.source_options import RuleOptions

MOST_KEPT = 8
"""Rules remembered of one message."""

_LONGEST_VALUE = 4096
"""Octets of a field's value that are looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What rules look at.  return_path: as it goes out, "" for none.  header: the header block as it came."""

    return_path: str
    account: str | None = None
    listener: str = ""
    header: bytes = b""


class Rule:
    """One rule.  next_hop: a route's id, "mx", or None; source: of a source or pool, or None.  Raises OptionError."""

    __slots__ = ("_account", "_header", "_listener", "_recipient", "_sender", "id", "next_hop", "options", "source")

    def __init__(self, id: str, options: RuleOptions) -> None:
        self.id = id
        self.options = options
        self.next_hop = options.next_hop
        self.source = options.source
        if self.next_hop is None and self.source is None:
            raise OptionError(f"queue.rule.{id}.next-hop: is missing: a rule names a next hop, a source, or both")
        self._sender = Addresses(options.sender) if options.sender else None
        self._recipient = Addresses(options.recipient) if options.recipient else None
        self._account = Names(options.account) if options.account else None
        self._listener = Names(options.listener) if options.listener else None
        self._header = tuple(_field(text, f"queue.rule.{id}.header") for text in options.header)

    def conditions(self) -> str:
        """What it asks for, for people: "sender: news.example; account: app-*"."""
        asked = (
            (kind, getattr(self.options, kind)) for kind in ("listener", "account", "sender", "header", "recipient")
        )
        return "; ".join(f"{kind}: {', '.join(values)}" for kind, values in asked if values) or "all mail"

    @property
    def needs_header(self) -> bool:
        """Whether a field of the header is among the conditions."""
        return bool(self._header)

    @property
    def needs_recipient(self) -> bool:
        """Whether the recipient is."""
        return self._recipient is not None

    def matches(self, facts: Facts, header: HeaderBlock | None) -> bool:
        """Whether everything but the recipient fits.  header: parsed, None where no rule needs it."""
        if self._listener is not None and not self._listener.matches(facts.listener):
            return False
        if self._account is not None and (facts.account is None or not self._account.matches(facts.account)):
            return False
        if self._sender is not None and not self._sender.matches(facts.return_path):
            return False
        return not self._header or (header is not None and any(_fits(*each, header) for each in self._header))

    def may_match(self, return_path: str) -> bool:
        """Whether it hangs on more than return path and recipient, and the return path fits."""
        if self._listener is None and self._account is None and not self._header:
            return False
        return self._sender is None or self._sender.matches(return_path)

    def takes(self, address: str) -> bool:
        """Whether the recipient fits."""
        return self._recipient is None or self._recipient.matches(address)


class Rules:
    """All rules, in their order; falsy when there is none."""

    def __init__(self, records: Mapping[str, RuleOptions] | None = None) -> None:
        ordered = sorted((records or {}).items(), key=lambda item: (item[1].order, item[0]))
        self._rules = {id: Rule(id, options) for id, options in ordered}
        self._needs_header = any(each.needs_header for each in self._rules.values())

    def __bool__(self) -> bool:
        return bool(self._rules)

    def __iter__(self) -> Iterator[Rule]:
        return iter(self._rules.values())

    def matching(self, facts: Facts) -> tuple[str, ...]:
        """The ids of the rules that fit a message, up to the first that fits whoever the recipient is."""
        header = HeaderBlock.parse(facts.header) if self._needs_header else None
        found: list[str] = []
        for rule in self._rules.values():
            if rule.matches(facts, header):
                found.append(rule.id)
                if not rule.needs_recipient or len(found) >= MOST_KEPT:
                    break
        return tuple(found)

    def beyond(self, return_path: str, address: str, found: Rule | None) -> Iterator[Rule]:
        """Those before `found` that may take the mail all the same, by its listener, account or header."""
        for rule in self._rules.values():
            if rule is found:
                return
            if rule.may_match(return_path) and rule.takes(address):
                yield rule

    def of(self, ids: Sequence[str], address: str) -> Rule | None:
        """The rule for one recipient of a message that `ids` matched; None: none, or a reload took it away."""
        for id in ids:
            rule = self._rules.get(id)
            if rule is not None and rule.takes(address):
                return rule
        return None


def _field(text: str, key: str) -> tuple[str, Glob]:
    name, colon, pattern = text.partition(":")
    name = name.strip()
    if not colon or not name or not name.isascii() or not name.isprintable() or " " in name:
        raise OptionError(f'{key}: expected "Name: pattern", not "{text}"')
    return name, Glob(pattern.strip())


def _fits(name: str, glob: Glob, header: HeaderBlock) -> bool:
    return any(glob.matches(value[:_LONGEST_VALUE].decode("utf-8", "replace").lower()) for value in header.get(name))
