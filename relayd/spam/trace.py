"""Rules on the road that a message took: Received, Message-ID, Date, and how the client came."""

from __future__ import annotations

import ipaddress
import re
from email.utils import mktime_tz, parsedate_tz

from relayd.spam.view import View

_DAY = 86400.0
_COUNTS = ((0, "ZERO"), (1, "ONE"), (2, "TWO"), (3, "THREE"), (5, "FIVE"), (7, "SEVEN"), (12, "TWELVE"))
_FROM = re.compile(rb"\s*from\s+\[?([^\s\]\[();]{1,255})\]?", re.I)
_BY_IP = re.compile(rb"\[(?:IPv6:)?([0-9a-fA-F.:]{3,45})\]", re.I)
_PEER = re.compile(rb"\(\s*([A-Za-z0-9_.-]{1,255})\s*\[")
_FOR = re.compile(rb"\bfor\s+<?([^\s<>;]{1,320}@[^\s<>;]{1,255})>?", re.I)
_TLS = re.compile(rb"\bwith\s+(?:UTF8)?[EL]S?MTPS|TLS|cipher|version=", re.I)
_USER = re.compile(r"(?:\A|[.-])user(?:\Z|[.-])|\Auser\Z", re.I)
_MAX_HOPS = 50


def look_at_trace(view: View) -> list[str]:
    """The Received fields, the client's EHLO name, Message-ID and Date.  The addresses of hops, nearest first."""
    hops = _look_at_received(view)
    _look_at_client(view)
    _look_at_message_id(view)
    _look_at_date(view)
    return hops


def _look_at_received(view: View) -> list[str]:
    tags, facts = view.tags, view.facts
    received = view.header.named.get("received", [])
    count = len(received)
    word = next((word for limit, word in _COUNTS if count <= limit), "GT_12")
    tags.add(f"RCVD_COUNT_{word}", f"{count} Received fields")
    recipients = {each.key for each in view.recipients}
    hops: dict[str, None] = {}
    bare = 0
    secure = facts.is_tls
    for each in received[:_MAX_HOPS]:
        value = each.value
        if not value.isascii():
            tags.add("RCVD_ILLEGAL_CHARS", "a Received field holds 8-bit characters", each.text)
        name = _FROM.match(value)
        if name is not None:
            helo = name[1].decode("ascii", "replace").lower()
            is_bare = is_address(helo)
            bare += is_bare and not _is_private(helo)
            if _USER.search(helo) and "." not in helo.strip("."):
                tags.add("RCVD_HELO_USER", "a hop called itself user", helo)
            peer = _PEER.search(value)
            if peer is not None and not is_bare and "." in helo:
                _compare_peer(view, helo, peer[1].decode("ascii", "replace").lower())
        elif value.lstrip()[:3].lower() != b"by " and b"from" not in value.lower():
            tags.add("RCVD_UNPARSABLE", "a Received field names nobody", each.text)
        for address in _BY_IP.findall(value):
            text = address.decode("ascii")
            if is_address(text):
                hops[text] = None
        target = _FOR.search(value)
        if target is not None and target[1].decode("utf-8", "replace").lower() in recipients:
            tags.add("PREVIOUSLY_DELIVERED", "it was for this recipient before", target[1].decode("utf-8", "replace"))
        secure = secure and _TLS.search(value) is not None
    if bare >= 2 or (bare == 1 and is_address(facts.helo.strip("[]"))):
        tags.add("RCVD_DOUBLE_IP_SPAM", "several hops give bare addresses as their names")
    if received and secure:
        tags.add("RCVD_TLS_ALL", "every hop was encrypted")
    return list(hops)


def _compare_peer(view: View, helo: str, peer: str) -> None:
    """The name a hop gave against the one its address has."""
    if peer in ("unknown", "may", "helo", "ehlo") or "." not in peer:
        return
    if not view.related(helo, peer):
        view.tags.add("FORGED_RCVD_TRAIL", "a hop's name is not the one of its address", f"{helo} is {peer}")


def _look_at_client(view: View) -> None:
    tags, facts = view.tags, view.facts
    if facts.account:
        tags.add("RCVD_VIA_SMTP_AUTH", "the client signed in")
    if facts.is_tls:
        tags.add("RCVD_TLS_LAST", "this hop is encrypted")
    else:
        tags.add("RCVD_NO_TLS_LAST", "this hop is not encrypted")
    helo = facts.helo.strip().lower()
    if not helo or facts.is_trusted:
        return
    bare = helo.strip("[]").removeprefix("ipv6:")
    if is_address(bare):
        tags.add("HELO_BAREIP", "the EHLO name is an address", helo)
        if facts.address is not None and ipaddress.ip_address(bare) != facts.address:
            tags.add("HELO_IP_A", "the EHLO name is another address than the client's", f"{helo}, {facts.address}")
    elif view.registrable(helo) is None:
        tags.add("HELO_NOT_FQDN", "the EHLO name is no name of a host", helo)
    if _USER.search(helo) and "." not in helo.strip("."):
        tags.add("RCVD_HELO_USER", "the EHLO name is user", helo)


def _look_at_message_id(view: View) -> None:
    tags = view.tags
    first = view.header.first("message-id")
    if first is None or not first.value:
        tags.add("MISSING_MID", "there is no Message-ID")
        return
    text = first.text
    value = text.strip()
    if not first.value.isascii() or "(" in value or value.strip("<>").startswith("@") or "@" not in value:
        tags.add("INVALID_MSGID", "the Message-ID is none", value)
    if not (value.startswith("<") and value.endswith(">")):
        tags.add("MID_MISSING_BRACKETS", "the Message-ID has no angle brackets", value)
    identity = value.strip("<>").lower()
    right = identity.rpartition("@")[2]
    if len(right) > 255:
        tags.add("MID_RHS_TOO_LONG", "the Message-ID's right side is too long")
    if right.startswith("[") and is_address(right.strip("[]")):
        tags.add("MID_RHS_IP_LITERAL", "the Message-ID's right side is an address in brackets", right)
    elif is_address(right):
        tags.add("MID_BARE_IP", "the Message-ID's right side is an address", right)
    elif "@" in identity and "." not in right:
        tags.add("MID_RHS_NOT_FQDN", "the Message-ID's right side is no name of a host", right)
    if right.startswith("www."):
        tags.add("MID_RHS_WWW", "the Message-ID's right side is a web server", right)
    _compare_message_id(view, identity, right)


def _compare_message_id(view: View, identity: str, right: str) -> None:
    tags = view.tags
    for mailbox, name in ((view.author, "FROM"), (view.sender, "ENV_FROM")):
        if not mailbox.domain:
            continue
        if mailbox.key in identity:
            tags.add(f"MID_CONTAINS_{name}", "the Message-ID contains the address of the sender", mailbox.key)
        elif right == mailbox.domain:
            tags.add(f"MID_RHS_MATCH_{name}", "the Message-ID is of the sender's domain", right)
        elif view.related(right, mailbox.domain):
            tags.add(f"MID_RHS_MATCH_{name}TLD", "the Message-ID is of the sender's organisation", right)
    for mailbox in view.recipients or view.to:
        if not mailbox.domain or mailbox.domain == view.author.domain:
            continue
        if mailbox.key in identity:
            tags.add("MID_CONTAINS_TO", "the Message-ID contains the address of a recipient", mailbox.key)
        elif right == mailbox.domain:
            tags.add("MID_RHS_MATCH_TO", "the Message-ID is of a recipient's domain", right)


def _look_at_date(view: View) -> None:
    tags = view.tags
    first = view.header.first("date")
    if first is None:
        tags.add("MISSING_DATE", "there is no Date")
        return
    when = read_date(first.value)
    if when is None:
        tags.add("INVALID_DATE", "the Date cannot be read", first.text)
        return
    behind = view.facts.now - when
    if behind > _DAY:
        tags.add("DATE_IN_PAST", f"the Date is {behind / 3600:.0f} hours ago", first.text)
    elif behind < -7200:
        tags.add("DATE_IN_FUTURE", f"the Date is {-behind / 3600:.0f} hours ahead", first.text)


def read_date(value: bytes) -> float | None:
    """Unix time of a Date (RFC 5322 §3.3, and what older programs wrote); None of what is none."""
    try:
        parts = parsedate_tz(value[:200].decode("ascii", "replace"))
        return None if parts is None else float(mktime_tz(parts))
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def is_address(text: str) -> bool:
    """Whether a name is an IP address."""
    if not text or not (text[0].isdigit() or ":" in text):
        return False
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_private(text: str) -> bool:
    return ipaddress.ip_address(text).is_private
