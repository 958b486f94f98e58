"""The rules of the content, one after the other, over one message: the work that a worker process may do."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from relayd.spam.facts import Facts, Scanned
from relayd.spam.links import look_at_links
from relayd.spam.message import MAX_FIELD, Message, read
from relayd.spam.pages import look_at_pages
from relayd.spam.parts import look_at_parts
from relayd.spam.patterns import Patterns
from relayd.spam.recipients import look_at_recipients
from relayd.spam.ruleset import Ruleset
from relayd.spam.senders import look_at_senders
from relayd.spam.structure import look_at_structure
from relayd.spam.subject import look_at_subject
from relayd.spam.tag import Tags
from relayd.spam.tokens import tokens_of
from relayd.spam.trace import look_at_trace
from relayd.spam.url import find_emails
from relayd.spam.view import View

_MESSAGE_ID = re.compile(rb"<[^<>\s]{1,990}>")
MAX_REFERENCES = 5
"""Messages that one is said to answer."""
MAX_ASKED = 100
"""Hosts and addresses that others may be asked about."""

Rule = Callable[[View], None]
"""A rule: looks at the view and sets tags."""


class Scanner:
    """Scans messages by one set of rules.

    registrable: as of `View`.  more: rules of the operator's own program; an exception of one sets RULE_FAILED.
    """

    def __init__(
        self, ruleset: Ruleset, registrable: Callable[[str], str | None], more: Sequence[tuple[str, Rule]] = ()
    ) -> None:
        self.ruleset = ruleset
        self._registrable = registrable
        self._patterns = Patterns(ruleset.rules)
        self._more = tuple(more)

    def scan(self, content: bytes, facts: Facts, size: int = 0) -> Scanned:
        """What the content gives.  content: its beginning where it is longer than MAX_OCTETS; size: of the whole."""
        return self.look(read(content, size=size), facts)

    def look(self, message: Message, facts: Facts) -> Scanned:
        """The same of a message that was read."""
        view = View(message, facts, self.ruleset.lists, self._registrable, Tags())
        look_at_structure(view)
        hops = look_at_trace(view)
        look_at_senders(view)
        look_at_recipients(view)
        look_at_subject(view)
        look_at_parts(view)
        look_at_pages(view)
        look_at_links(view)
        self._patterns.look(view)
        for name, rule in self._more:
            try:
                rule(view)
            except MemoryError:
                raise
            except Exception as error:  # a program of the operator's must not cost mail
                view.tags.add("RULE_FAILED", f"rule {name}: {type(error).__name__}", str(error))
        _look_at_operators_lists(view)
        urls = dict.fromkeys(link.url.normal for link in view.links if link.url.host)
        senders = (each.key for each in (*view.authors, *view.reply_to) if each.domain)
        emails = dict.fromkeys((*senders, *find_emails(view.words)))
        domains = {each.domain for each in view.authors if each.domain}
        return Scanned(
            tags=tuple(view.tags),
            urls=tuple(urls)[:MAX_ASKED],
            hosts=tuple(dict.fromkeys(view.hosts()))[:MAX_ASKED],
            emails=tuple(emails)[:MAX_ASKED],
            hops=tuple(hops)[:MAX_ASKED],
            from_domain=domains.pop() if len(domains) == 1 else "",
            tokens=tokens_of(view),
            references=_references(view),
            is_partial=bool(message.partial),
        )


def _references(view: View) -> tuple[str, ...]:
    """The messages that it answers (RFC 5322 §3.6.4): In-Reply-To, then the nearest of References."""
    found: dict[str, None] = {}
    for name in ("in-reply-to", "references"):
        value = view.header.value(name)[-MAX_FIELD:]
        for each in reversed(_MESSAGE_ID.findall(value)):
            found[each.decode("utf-8", "replace")] = None
    return tuple(found)[:MAX_REFERENCES]


def _look_at_operators_lists(view: View) -> None:
    domain = view.author.domain
    if domain and domain in view.lists.blocked:
        view.tags.add("BLOCKED_DOMAIN", "the author's domain is blocked here", domain)
