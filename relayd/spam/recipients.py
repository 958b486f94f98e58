"""Rules on whom a message is to: To, Cc, Bcc against the envelope."""

from __future__ import annotations

from difflib import SequenceMatcher
from itertools import pairwise

from relayd.spam.mailbox import Mailbox
from relayd.spam.senders import look_at_encoding
from relayd.spam.view import View

_COUNTS = ((0, "ZERO"), (1, "ONE"), (2, "TWO"), (3, "THREE"), (5, "FIVE"), (7, "SEVEN"), (12, "TWELVE"))
_MANY = 13
_COMPARED = 40
"""Recipients that are compared with each other at most."""
_FIELDS = ("to", "cc", "bcc")


def look_at_recipients(view: View) -> None:
    """How many, how named, whether the envelope has others."""
    tags, header, to = view.tags, view.header, view.to
    if "to" not in header:
        tags.add("MISSING_TO", "there is no To")
    for name in _FIELDS:
        for field in header.named.get(name, ()):
            value = field.value
            if b"undisclosed" in value.lower():
                tags.add("UNDISC_RCPT", f"recipients undisclosed in {field.name}", field.text)
            if not value.isascii():
                _look_at_8bit(view, value, field.text)
            look_at_encoding(view, field, "TO")
            if b"< " in value or b" >" in value:
                tags.add("TO_WRAPPED_IN_SPACES", "blanks within angle brackets", field.text)
    count = len({each.key for each in to})
    word = next((word for limit, word in _COUNTS if count <= limit), "GT_50")
    tags.add(f"RCPT_COUNT_{word}", f"{count} recipients in the header")
    if to:
        _look_at_names(view, to)
    _look_at_envelope(view, to)
    if len(to) >= 5:
        _look_at_order(view, to)
    info = view.author.local == "info" and "list-unsubscribe" in header
    if info and any(each.local == "info" for each in to):
        tags.add("INFO_TO_INFO_LU", "from info to info, with List-Unsubscribe")
    tagged = next((each for each in (*to, *view.recipients) if "+" in each.local), None)
    if tagged is not None:
        tags.add("TAGGED_RCPT", "a recipient's local part is tagged", tagged.key)
    traps = view.lists.traps
    trap = next((each for each in view.recipients if each.key in traps or f"@{each.domain}" in traps), None)
    if trap is not None:
        tags.add("SPAM_TRAP", "a recipient is a trap", trap.key)


def _look_at_8bit(view: View, value: bytes, text: str) -> None:
    if not view.facts.is_utf8:
        view.tags.add("TO_NEEDS_ENCODING", "8-bit characters that are not encoded", text)
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        view.tags.add("INVALID_TO_8BIT", "no UTF-8", text)


def _look_at_names(view: View, to: list[Mailbox]) -> None:
    tags = view.tags
    named = sum(1 for each in to if each.name)
    same = sum(1 for each in to if each.name and each.name.lower() == each.key)
    if not named:
        tags.add("TO_DN_NONE", "no recipient has a name")
    elif named == len(to):
        tags.add("TO_DN_ALL", "all recipients have names")
    else:
        tags.add("TO_DN_SOME", "some recipients have names")
    if same:
        word = "ALL" if same == len(to) else "SOME"
        tags.add(f"TO_DN_EQ_ADDR_{word}", "recipients' names are their addresses")
    if any("recipient" in each.name.lower() for each in to):
        tags.add("TO_DN_RECIPIENTS", "a recipient is named recipient")


def _look_at_envelope(view: View, to: list[Mailbox]) -> None:
    tags = view.tags
    keys = {each.key for each in to}
    envelope = {each.key for each in view.recipients}
    if len(envelope) > 1 and (not view.facts.return_path or view.sender.local in ("postmaster", "mailer-daemon")):
        tags.add("RCPT_BOUNCEMOREONE", f"a bounce with {len(envelope)} recipients")
    if not envelope:
        return
    if keys and keys <= envelope:
        tags.add("TO_MATCH_ENVRCPT_ALL", "all recipients of the header are in the envelope")
    elif keys & envelope:
        tags.add("TO_MATCH_ENVRCPT_SOME", "some recipients of the header are in the envelope")
    missing = min(envelope - keys, default="")
    if missing:
        tags.add("FORGED_RECIPIENTS", "a recipient of the envelope is not in the header", missing)


def _look_at_order(view: View, to: list[Mailbox]) -> None:
    """Lists of recipients as programs make them."""
    keys = [each.key for each in to[:_COMPARED]]
    if len(keys) >= 6 and len(set(keys)) == len(keys) and keys == sorted(keys):
        view.tags.add("SORTED_RECIPS", "the recipients are sorted")
    locals = [each.local for each in to[:_COMPARED] if each.local]
    pairs = list(pairwise(locals))
    alike = sum(1 for one, other in pairs if SequenceMatcher(None, one[:64], other[:64]).ratio() > 0.75)
    if pairs and len(locals) >= 5 and alike > 0.65 * len(pairs):
        view.tags.add("SUSPICIOUS_RECIPS", "the recipients look alike", " ".join(keys[:5]))
