"""What rules look at: a message, the session that brought it, and what was read out of both, each once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from relayd.spam.facts import Facts
from relayd.spam.html import Page, read_page
from relayd.spam.mailbox import Mailbox, mailbox_of, read_mailboxes
from relayd.spam.message import Header, Message, Part
from relayd.spam.ruleset import Lists
from relayd.spam.tag import Tags
from relayd.spam.url import MAX_URLS, Url, find_urls, parse_url

MAX_TEXT = 256 << 10
"""Characters of words that are looked at; together."""
MAX_SUBJECT = 2000


@dataclass(frozen=True, slots=True)
class Linked:
    """A link of the content.  place: "text", "html" or "subject".  anchor: the words that show it, "" of a bare one."""

    url: Url
    place: str
    anchor: str = ""
    has_image: bool = False


@dataclass
class View:
    """A message under the eyes of the rules, which set `tags`.

    registrable: the part of a domain that somebody registered, None of what has none.
    """

    message: Message
    facts: Facts
    lists: Lists
    registrable: Callable[[str], str | None]
    tags: Tags = field(default_factory=Tags)

    @property
    def header(self) -> Header:
        return self.message.header

    @cached_property
    def authors(self) -> list[Mailbox]:
        """The mailboxes of the first From field."""
        return read_mailboxes(self.header.value("from"))

    @cached_property
    def author(self) -> Mailbox:
        """The first author, empty where there is none."""
        return self.authors[0] if self.authors else _NOBODY

    @cached_property
    def reply_to(self) -> list[Mailbox]:
        return read_mailboxes(self.header.value("reply-to"))

    @cached_property
    def to(self) -> list[Mailbox]:
        """To, Cc and Bcc."""
        return [
            mailbox
            for name in ("to", "cc", "bcc")
            for each in self.header.named.get(name, ())
            for mailbox in read_mailboxes(each.value)
        ]

    @cached_property
    def sender(self) -> Mailbox:
        """The envelope's; without address for the null return path."""
        return mailbox_of(self.facts.return_path)

    @cached_property
    def recipients(self) -> list[Mailbox]:
        """The envelope's."""
        return [mailbox_of(each) for each in self.facts.recipients[:200]]

    @cached_property
    def subject(self) -> str:
        """As people see it."""
        return self.header.text("subject")[:MAX_SUBJECT]

    @cached_property
    def pages(self) -> list[tuple[Part, Page]]:
        """The HTML parts."""
        return [
            (part, read_page(part.text[:MAX_TEXT])) for part in self.message.texts if part.content_type == "text/html"
        ]

    @cached_property
    def plain(self) -> str:
        """The words of the text parts that are no HTML."""
        texts = [part.text for part in self.message.texts if part.content_type != "text/html"]
        return "\n".join(texts)[:MAX_TEXT]

    @cached_property
    def shown(self) -> str:
        """The words of the HTML parts that people see."""
        return "\n".join(page.text for _, page in self.pages)[:MAX_TEXT]

    @cached_property
    def words(self) -> str:
        """All words of the content that people see."""
        return f"{self.plain}\n{self.shown}" if self.plain and self.shown else self.plain or self.shown

    @cached_property
    def links(self) -> list[Linked]:
        """The links of the content, MAX_URLS at most."""
        found = [Linked(url, "text") for url in find_urls(self.plain)]
        for _, page in self.pages:
            for link in page.links:
                url = parse_url(link.url)
                if url.scheme in ("http", "https", "ftp"):
                    found.append(Linked(url, "html", link.text, link.has_image))
            for source, _, _ in page.images:
                if source[:4].lower() == "http" or source[:2] == "//":
                    found.append(Linked(parse_url(source), "image"))
            found += [Linked(url, "html") for url in find_urls(page.text, 100)]
        found += [Linked(url, "subject") for url in find_urls(self.subject, 10)]
        return found[:MAX_URLS]

    @cached_property
    def is_list(self) -> bool:
        """Whether the header says that a mailing list sent it."""
        return "MAILLIST" in self.tags

    def related(self, one: str, other: str) -> bool:
        """Whether two domains belong to one organisation, as far as their names tell."""
        return bool(one) and bool(other) and (one == other or self.domain(one) == self.domain(other))

    def domain(self, name: str) -> str:
        """The registered part of a domain; itself where it has none."""
        return self.registrable(name) or name

    def hosts(self) -> Iterator[str]:
        """The hosts of all links, with repeats."""
        return (link.url.host for link in self.links if link.url.host)


_NOBODY = Mailbox("", "")
