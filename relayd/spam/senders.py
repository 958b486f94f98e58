"""Rules on who says that he sent it: From, the return path, Reply-To, requests for receipts."""

from __future__ import annotations

import re

from relayd.spam.mailbox import Mailbox, read_mailboxes
from relayd.spam.message import Field
from relayd.spam.url import find_emails
from relayd.spam.view import View

_TITLES = frozenset(("mr.", "mrs.", "ms.", "dr.", "prof.", "rev.", "hon.", "barr.", "barrister", "mr", "mrs"))
_SERVICES = frozenset("www-data anonymous ftp apache nobody guest nginx web www".split())
_BOUNCERS = ("postmaster", "mailer-daemon")
_NO_SPACE = re.compile(rb"[^\s<\"]<[^<>@\s]+@[^<>\s]+>")
_WORD = re.compile(rb"=\?([^?\s]{1,40})\?([BbQq])\?([^?]*)\?=")


def look_at_senders(view: View) -> None:
    """From, MAIL FROM, Reply-To, Disposition-Notification-To, X-Confirm-Reading-To."""
    _look_at_from(view)
    _look_at_envelope(view)
    _look_at_name(view)
    _look_at_reply_to(view)
    _look_at_receipts(view)
    _look_at_providers(view)


def _look_at_from(view: View) -> None:
    tags = view.tags
    fields = view.header.named.get("from", [])
    if not fields:
        tags.add("MISSING_FROM", "there is no From")
        return
    if len(fields) > 1:
        tags.add("MULTIPLE_FROM", f"there are {len(fields)} From fields")
    author, first = view.author, fields[0]
    raw = first.value
    if not author.domain:
        tags.add("FROM_INVALID", "there is no address in From", first.text)
    if not raw.isascii():
        try:
            raw.decode("utf-8")
        except UnicodeDecodeError:
            tags.add("INVALID_FROM_8BIT", "From is no UTF-8", first.text)
        if not (view.facts.is_utf8 or view.facts.is_8bit):
            tags.add("FROM_NEEDS_ENCODING", "From has 8-bit characters that are not encoded", first.text)
    look_at_encoding(view, first, "FROM")
    if _NO_SPACE.search(raw):
        tags.add("NO_SPACE_IN_FROM", "no blank before the angle bracket", first.text)
    if author.domain.startswith("www.") or any(each.domain.startswith("www.") for each in view.reply_to):
        tags.add("WWW_DOT_DOMAIN", "the domain is a web server", author.domain)
    locals = (author.local, view.sender.local, *(each.local for each in view.reply_to))
    service = next((local for local in locals if local in _SERVICES), "")
    if service:
        tags.add("FROM_SERVICE_ACCT", "sent by an account of a service", service)
    elif "+" in author.local or "+" in view.sender.local:
        tags.add("TAGGED_FROM", "the sender's local part is tagged", author.local)


def look_at_encoding(view: View, field: Field, name: str) -> None:
    """Encoded words that encode nothing."""
    if b"=?" not in field.raw:
        return
    text = field.text
    if not text.isascii():
        return
    for charset, encoding, _ in _WORD.findall(field.value[:4096]):
        if not charset.lower().startswith(b"iso-2022"):
            kind = "QP" if encoding in b"qQ" else "BASE64"
            view.tags.add(f"{name}_EXCESS_{kind}", f"{field.name} is encoded without need", text)


def _look_at_envelope(view: View) -> None:
    tags, facts, author, sender = view.tags, view.facts, view.author, view.sender
    if not facts.return_path or sender.local in _BOUNCERS:
        tags.add("FROM_BOUNCE", "sent by a mail system", facts.return_path)
    if facts.return_path and not sender.domain:
        tags.add("ENV_FROM_INVALID", "the return path is no address", facts.return_path)
    if not author.domain:
        return
    is_of_client = view.related(author.domain, facts.helo.lower())
    if is_of_client:
        tags.add("FROMTLD_EQ_ENV_FROMTLD", "From is of the client's domain", facts.helo)
    if facts.return_path:
        if sender.key == author.key:
            tags.add("FROM_EQ_ENV_FROM", "From is the return path")
        else:
            tags.add("FROM_NEQ_ENV_FROM", "From is not the return path", f"{author.key}, {facts.return_path}")
            if not is_of_client:
                tags.add("FORGED_SENDER", "From is neither the return path nor of the client's domain", author.key)
    to = view.to
    if len(to) == 1 and to[0].key == author.key:
        tags.add("TO_EQ_FROM", "it is to its author")
    elif any(each.domain == author.domain for each in to):
        tags.add("TO_DOM_EQ_FROM_DOM", "it is to the author's domain")


def _look_at_name(view: View) -> None:
    """The name that people see instead of the address."""
    tags, author = view.tags, view.author
    if not view.authors:
        return
    name = author.name
    if not name:
        tags.add("FROM_NO_DN", "the author has no name")
        return
    lower = name.lower().strip("\"' ")
    if lower == author.key:
        tags.add("FROM_DN_EQ_ADDR", "the author's name is the address", name)
    else:
        tags.add("FROM_HAS_DN", "the author has a name")
        other = next((each for each in find_emails(lower, 5) if each != author.key), "")
        if other:
            domain = other.rpartition("@")[2]
            if view.related(domain, author.domain):
                tags.add("FROM_NEQ_DISPLAY_NAME", "the author's name is another address", name)
            else:
                tags.add("SPOOF_DISPLAY_NAME", "the author's name is an address of another domain", name)
    if "  " in name:
        tags.add("FROM_NAME_EXCESS_SPACE", "many blanks in the author's name", name)
    if has_title(name):
        tags.add("FROM_NAME_HAS_TITLE", "the author's name has a title", name)


def has_title(name: str) -> bool:
    """Whether a person's name is given with a title."""
    return not _TITLES.isdisjoint(name.lower().split())


def _look_at_reply_to(view: View) -> None:
    tags, author = view.tags, view.author
    first = view.header.first("reply-to")
    if first is None:
        return
    tags.add("HAS_REPLYTO", "there is a Reply-To", first.text)
    reply = next((each for each in view.reply_to if each.domain), None)
    if reply is None:
        tags.add("REPLYTO_UNPARSABLE", "there is no address in Reply-To", first.text)
        return
    look_at_encoding(view, first, "REPLYTO")
    if has_title(reply.name):
        tags.add("REPLYTO_EMAIL_HAS_TITLE", "the name in Reply-To has a title", reply.name)
    if reply.key == author.key and reply.name == author.name:
        tags.add("REPLYTO_EQ_FROM", "Reply-To is From")
        return
    if view.related(reply.domain, author.domain):
        tags.add("REPLYTO_DOM_EQ_FROM_DOM", "Reply-To is of the author's domain")
    else:
        tags.add("REPLYTO_DOM_NEQ_FROM_DOM", "Reply-To is of another domain than From", reply.key)
        _look_at_spoofed_reply(view, reply)
    if reply.key == view.sender.key:
        tags.add("REPLYTO_ADDR_EQ_FROM", "Reply-To is the return path")
    if reply.name and reply.name == author.name and reply.key != author.key:
        tags.add("REPLYTO_DN_EQ_FROM_DN", "Reply-To has the author's name and another address", reply.key)
    if not view.is_list and any(reply.key == each.key for each in view.recipients or view.to):
        tags.add("REPLYTO_EQ_TO_ADDR", "answers go to a recipient", reply.key)


def _look_at_spoofed_reply(view: View, reply: Mailbox) -> None:
    """An author who pretends to be of the recipients' domain, and wants the answers elsewhere."""
    domains = {each.domain for each in view.recipients or view.to if each.domain}
    if view.is_list or not domains or not view.author.domain:
        return
    if domains == {view.author.domain} and reply.domain not in domains:
        view.tags.add("SPOOF_REPLYTO", "From is of the recipients' domain, answers go elsewhere", reply.key)


def _look_at_receipts(view: View) -> None:
    tags, author = view.tags, view.author
    confirm = read_mailboxes(view.header.value("x-confirm-reading-to"))
    if confirm and author.domain and confirm[0].key != author.key:
        tags.add("HEADER_RCONFIRM_MISMATCH", "X-Confirm-Reading-To is not From", confirm[0].address)
    receipt = read_mailboxes(view.header.value("disposition-notification-to"))
    if receipt and receipt[0].key != (view.sender.key or author.key) and receipt[0].key != author.key:
        tags.add("HEADER_FORGED_MDN", "the receipt goes to somebody else", receipt[0].address)


def _look_at_providers(view: View) -> None:
    """Addresses at providers that ask nobody who he is."""
    receipt = read_mailboxes(view.header.value("disposition-notification-to"))
    cc = [each for field in view.header.named.get("cc", ()) for each in read_mailboxes(field.value)]
    to = [each for field in view.header.named.get("to", ()) for each in read_mailboxes(field.value)]
    for mailboxes, place in (
        (view.authors, "FROM"),
        ((view.sender,), "ENV_FROM"),
        (view.reply_to, "REPLY_TO"),
        (to, "TO"),
        (cc, "CC"),
        (receipt, "DNT"),
    ):
        for each in mailboxes:
            if each.domain in view.lists.freemail:
                view.tags.add(f"FREEMAIL_{place}", f"an address of a free provider in {place}", each.key)
            elif each.domain in view.lists.disposable:
                word = "REPLYTO" if place == "REPLY_TO" else place
                view.tags.add(f"DISPOSABLE_{word}", f"a throw-away address in {place}", each.key)
