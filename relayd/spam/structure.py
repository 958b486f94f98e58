"""Rules on the header as a whole, and on what other programs wrote into it."""

from __future__ import annotations

import re

from relayd.spam.view import View

_SINGLE = frozenset(
    "from to cc bcc reply-to subject date message-id references in-reply-to sender content-type "
    "content-transfer-encoding content-disposition content-id content-description".split()
)
_ESSENTIAL = frozenset("from to cc bcc reply-to subject date message-id references in-reply-to sender".split())
_LIST_WEIGHT = {
    "list-id": 0.5125,
    "list-unsubscribe": 0.25,
    "list-subscribe": 0.25,
    "list-archive": 0.125,
    "list-help": 0.125,
    "list-owner": 0.125,
    "list-post": 0.125,
    "x-mailman-version": 0.125,
    "x-beenthere": 0.125,
    "x-loop": 0.125,
}
_PRIORITIES = {0: "ZERO", 1: "ONE", 2: "TWO", 3: "THREE", 4: "THREE"}
_NUMBER = re.compile(rb"\s*(\d{1,4})")
_NO_NAME = re.compile(r"[^A-Za-z0-9]+")
_MAX_SEEN = 100
"""Header names that become tags; more says nothing more."""


def look_at_structure(view: View) -> None:
    """Singletons, missing headers, lists, priority, and a tag for every header that is there."""
    tags, header = view.tags, view.header
    named = header.named
    for name in list(named)[:_MAX_SEEN]:
        tags.add("X_HDR_" + _NO_NAME.sub("_", name.upper())[:50], f"there is a field {name[:50]}")
    for name in _SINGLE.intersection(named):
        if len(named[name]) > 1:
            tags.add("MULTIPLE_UNIQUE_HEADERS", f"more than one field {name}")
        raw = named[name][0].raw
        if raw and raw[:1] not in b" \t\n":
            tags.add("HEADER_EMPTY_DELIMITER", f"no blank behind the colon of {name}")
    if not _ESSENTIAL.intersection(named):
        tags.add("MISSING_ESSENTIAL_HEADERS", "none of the fields that every message has")
    _look_at_list(view)
    priority = _NUMBER.match(header.value("x-priority"))
    if priority is not None:
        tags.add(f"HAS_X_PRIO_{_PRIORITIES.get(int(priority[1]), 'FIVE')}", "X-Priority", priority[1].decode())
    _look_at_software(view)


def _look_at_list(view: View) -> None:
    tags, header = view.tags, view.header
    weight = sum(amount for name, amount in _LIST_WEIGHT.items() if name in header)
    precedence = header.value("precedence").strip().lower()
    if precedence in (b"bulk", b"list"):
        weight += 0.25
    if precedence == b"bulk":
        tags.add("PRECEDENCE_BULK", "Precedence: bulk")
    if weight >= 1:
        tags.add("MAILLIST", "its fields are those of a mailing list", header.text("list-id"))
    if "list-unsubscribe" in header:
        tags.add("HAS_LIST_UNSUB", "one can unsubscribe")


def _look_at_software(view: View) -> None:
    """What programs on its way said of it, and of themselves."""
    tags, header = view.tags, view.header
    if b": " in header.value("x-authenticated-sender"):
        tags.add("HAS_X_AS", "X-Authenticated-Sender")
    if b"authenticated_id:" in header.value("x-get-message-sender-via").lower():
        tags.add("HAS_X_GMSV", "X-Get-Message-Sender-Via")
    for name in ("x-source", "x-source-args", "x-source-dir", "x-php-originating-script", "x-php-script"):
        value = header.value(name)
        if b"../" in value:
            tags.add("HIDDEN_SOURCE_OBJ", f"{name} leads upwards", value.decode("utf-8", "replace"))
        if "php" in name and b"eval()" in value.lower():
            tags.add("X_PHP_EVAL", f"{name} names eval()", value.decode("utf-8", "replace"))
    for name in ("x-ui-filterresults", "x-ui-out-filterresults"):
        if b"junk" in header.value(name).lower():
            tags.add("UNITEDINTERNET_SPAM", f"{name} says junk")
    for name in ("x-spam", "x-spam-flag", "x-spam-status"):
        value = header.value(name).strip().lower()
        if value.startswith((b"yes", b"true", b"spam")):
            tags.add("SPAM_FLAG", f"{name} says that it is spam", value.decode("utf-8", "replace"))
    if b"spam" in header.value("x-klms-antispam-status").lower().replace(b"not-spam", b"").replace(b"not_spam", b""):
        tags.add("KLMS_SPAM", "X-KLMS-AntiSpam-Status says that it is spam")
    mailer = header.first("x-mailer")
    if mailer is not None:
        if mailer.name != "X-Mailer":
            tags.add("XM_CASE", "X-Mailer is spelled otherwise", mailer.name)
        if b"phpmailer" in mailer.value.lower():
            tags.add("HAS_PHPMAILER_SIG", "X-Mailer is PHPMailer", mailer.text)
    for each in (mailer, header.first("user-agent")):
        if each is not None and each.value and not any(octet in b"0123456789" for octet in each.value):
            tags.add("XM_UA_NO_VERSION", f"{each.name} has no version", each.text)
