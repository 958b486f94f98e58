"""Rules on the Subject."""

from __future__ import annotations

import re

from relayd.spam.senders import look_at_encoding
from relayd.spam.url import find_urls
from relayd.spam.view import View

_CURRENCY = re.compile("[$€£¥₹₽₿]")
_REPLY = re.compile(r"\s*(?:re|aw|antw|sv)\s*:", re.I)
_WORDS = re.compile(r"\w+")
_LONG = 200


def look_at_subject(view: View) -> None:
    """How it is written, and whether it names the recipient."""
    tags = view.tags
    field = view.header.first("subject")
    if field is None:
        tags.add("MISSING_SUBJECT", "there is no Subject")
        return
    raw, subject = field.value, view.subject
    if not raw.isascii():
        if not (view.facts.is_utf8 or view.facts.is_8bit):
            tags.add("SUBJECT_NEEDS_ENCODING", "8-bit characters that are not encoded", subject)
        try:
            raw.decode("utf-8")
        except UnicodeDecodeError:
            tags.add("INVALID_SUBJECT_8BIT", "no UTF-8", subject)
    look_at_encoding(view, field, "SUBJ")
    trimmed = subject.strip()
    if not trimmed:
        tags.add("EMPTY_SUBJECT", "the Subject is empty")
        return
    if len(trimmed) > _LONG:
        tags.add("LONG_SUBJ", f"the Subject has {len(trimmed)} characters", subject)
    if field.raw.rstrip(b"\r\n")[-1:] in (b" ", b"\t"):
        tags.add("SUBJECT_ENDS_SPACES", "the Subject ends with blanks", subject)
    _look_at_marks(view, trimmed)
    if len(trimmed) >= 10 and len(_WORDS.findall(trimmed)) > 1 and trimmed.upper() == trimmed and _has_case(trimmed):
        tags.add("SUBJ_ALL_CAPS", "the Subject is all capitals", subject)
    url = next((each for each in find_urls(trimmed, 3, bare=False) if each.host), None)
    if url is not None:
        tags.add("URL_IN_SUBJECT", "a link in the Subject", url.text)
    _look_at_recipient(view, trimmed.lower())
    if is_bounce_subject(trimmed.lower()):
        tags.add("SUBJ_BOUNCE_WORDS", "the Subject is that of a bounce", subject)
    if _REPLY.match(trimmed) and "in-reply-to" not in view.header and "references" not in view.header:
        tags.add("FAKE_REPLY", "a reply to nothing", subject)


def _has_case(text: str) -> bool:
    return text.lower() != text


def _look_at_marks(view: View, subject: str) -> None:
    tags = view.tags
    currency = _CURRENCY.search(subject)
    if currency is not None:
        tags.add("SUBJECT_HAS_CURRENCY", "money in the Subject", subject)
    if subject.endswith("!"):
        tags.add("SUBJECT_ENDS_EXCLAIM", "the Subject ends with !", subject)
    elif subject.endswith("?"):
        tags.add("SUBJECT_ENDS_QUESTION", "the Subject ends with ?", subject)
    elif "!" in subject:
        tags.add("SUBJECT_HAS_EXCLAIM", "the Subject has !", subject)
    elif "?" in subject:
        tags.add("SUBJECT_HAS_QUESTION", "the Subject has ?", subject)


def _look_at_recipient(view: View, subject: str) -> None:
    """Spam names the address it is to, as if it knew somebody there."""
    for each in view.recipients or view.to:
        if not each.domain:
            continue
        if each.key in subject:
            view.tags.add("RCPT_IN_SUBJECT", "the Subject names the recipient's address", each.key)
        elif len(each.local) > 3 and re.search(rf"(?<!\w){re.escape(each.local)}(?!\w)", subject):
            view.tags.add("RCPT_LOCAL_IN_SUBJECT", "the Subject names the recipient's local part", each.local)
        elif each.domain in subject:
            view.tags.add("RCPT_DOMAIN_IN_SUBJECT", "the Subject names the recipient's domain", each.domain)


def is_bounce_subject(subject: str) -> bool:
    """Whether it is worded as those of notices of delivery.  subject: in lower case."""

    def has(*words: str) -> bool:
        return any(word in subject for word in words)

    if "delivery" in subject and has("failed", "report", "status", "warning"):
        return True
    if "failure" in subject and has("delivery", "notice", "mail"):
        return True
    if "delivered" in subject and has("couldn't be", "could not be", "hasn't been", "has not been"):
        return True
    return has("returned mail", "undeliverable", "undelivered")
