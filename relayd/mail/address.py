"""Addresses and paths of the envelope (RFC 5321 §4.1.2, RFC 6531 §3.3), strictly.

An address is a `str` without angle brackets and source route: the local part as it was written (quotes kept), the
domain in lower case.  "" is the null reverse path.  Address literals are validated and kept: "[192.0.2.1]",
"[IPv6:2001:db8::1]".  A domain may hold U-labels when SMTPUTF8 was given; `a_label` makes it comparable.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata

import idna

_ATEXT = r"A-Za-z0-9!#$%&'*+/=?^_`{|}~\-"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?"
PLAIN_ADDRESS = rf"[{_ATEXT}]++(?:\.[{_ATEXT}]++)*+@{_LABEL}(?:\.{_LABEL})*+"
"""Pattern of the usual address: ASCII dot-string at a domain name; lengths of the whole are still to be checked."""

_PLAIN = re.compile(PLAIN_ADDRESS)
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*+")
_DOT_STRING = re.compile(rf"[{_ATEXT}\u00a0-\U0010ffff]++(?:\.[{_ATEXT}\u00a0-\U0010ffff]++)*+")
_QUOTED = re.compile(r'"(?:[ !#-\[\]-~\u00a0-\U0010ffff]|\\[ -~])*+"')
_QUOTED_PAIR = re.compile(r"\\(.)", re.S)

MAX_LOCAL = 64
MAX_DOMAIN = 255
MAX_ADDRESS = 254  # RFC 5321 §4.5.3.1.3: a path is 256 octets with its angle brackets


class AddressError(Exception):
    """The text is no address; `text` says why, for the peer.

    `needs_smtputf8`: it would be one had the SMTPUTF8 parameter been given (RFC 6531 §3.5).
    """

    def __init__(self, text: str, *, needs_smtputf8: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.needs_smtputf8 = needs_smtputf8


def split_address(address: str) -> tuple[str, str]:
    """(local part, domain); the domain is "" for a bare name and for the null path."""
    local, at, domain = address.rpartition("@")
    if not at or address.endswith('"'):
        return address, ""
    return local, domain


def unquote_local(local: str) -> str:
    """The local part that a quoted string stands for; others come back unchanged."""
    if len(local) >= 2 and local[0] == '"' and local[-1] == '"':
        return _QUOTED_PAIR.sub(r"\1", local[1:-1])
    return local


def quote_local(local: str) -> str:
    """The written form of an unquoted local part: quoted only where the grammar needs it."""
    if _DOT_STRING.fullmatch(local):
        return local
    return '"' + re.sub(r'(["\\])', r"\\\1", local) + '"'


def routed_elsewhere(address: str) -> bool:
    """Whether the local part asks some host for another hop: %-hack, "!" path, "@" or ":" in quotes."""
    local = split_address(address)[0]
    return not _ROUTING.isdisjoint(local if local[:1] != '"' else unquote_local(local))


_ROUTING = frozenset("%!@:")


def qualify(local: str, origin: str) -> str:
    """A bare name gets `origin` as its domain; a whole address and the null path come back unchanged."""
    return local if not local or split_address(local)[1] else f"{local}@{origin}"


def same_mailbox(one: str, other: str) -> bool:
    """Whether two addresses name the same mailbox: quoting and form of the domain do not matter, case of the local
    part does (RFC 5321 §2.4), but for postmaster (§4.5.1).
    """
    return one == other or mailbox_key(one) == mailbox_key(other)


def mailbox_key(address: str) -> tuple[str, str]:
    """(unquoted local part, domain as A-labels), equal for addresses of the same mailbox."""
    local, domain = split_address(address)
    local = unquote_local(local)
    if local.isascii():
        if local.lower() == "postmaster":
            local = "postmaster"
    else:
        local = unicodedata.normalize("NFC", local)
    try:
        return local, a_label(domain)
    except AddressError:
        return local, domain.lower()


def a_label(domain: str) -> str:
    """The domain with every U-label as A-label, lower case (RFC 5891 §4.4); AddressError when there is none."""
    domain = domain.lower()
    if domain.isascii():
        return domain
    if len(domain) > MAX_DOMAIN:
        raise AddressError("Domain name is too long")
    try:
        labels = unicodedata.normalize("NFC", domain).split(".")
        text = ".".join(label if label.isascii() else idna.alabel(label).decode("ascii") for label in labels)
    except UnicodeError as error:  # idna.IDNAError is one
        raise AddressError("Domain name is not a valid internationalized name") from error
    if not _DOMAIN.fullmatch(text) or len(text) > MAX_DOMAIN:
        raise AddressError("Domain name is not a valid internationalized name")
    return text


def literal_address(domain: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address that an address literal (RFC 5321 §4.1.3) stands for; None when `domain` is none that is valid."""
    if domain[:1] != "[" or domain[-1:] != "]":
        return None
    text = domain[1:-1]
    try:
        if text[:5].lower() == "ipv6:":
            return None if "%" in text else ipaddress.IPv6Address(text[5:])
        return ipaddress.IPv4Address(text)
    except ValueError:
        return None


def check_domain(domain: str, smtputf8: bool) -> str:
    """The domain or address literal in the form that is kept; AddressError when it is none."""
    if _DOMAIN.fullmatch(domain):
        if len(domain) > MAX_DOMAIN:
            raise AddressError("Domain name is too long")
        return domain.lower()
    if domain[:1] == "[":
        address = literal_address(domain)
        if address is None:
            raise AddressError("Address literal is not valid")
        return f"[{address}]" if address.version == 4 else f"[IPv6:{address}]"
    if domain.isascii() or "\x7f" < min(c for c in domain if not c.isascii()) < "\xa0":
        raise AddressError("Domain name is not valid")
    if not smtputf8:
        raise AddressError("Address needs SMTPUTF8", needs_smtputf8=True)
    a_label(domain)
    if len(domain.encode()) > MAX_DOMAIN:
        raise AddressError("Domain name is too long")
    return unicodedata.normalize("NFC", domain.lower())


def check_local(local: str, smtputf8: bool) -> None:
    """AddressError unless `local` is a dot-string or a quoted string of at most 64 octets."""
    if not (_QUOTED if local[:1] == '"' else _DOT_STRING).fullmatch(local):
        raise AddressError("Local part is not valid")
    if not local.isascii() and not smtputf8:
        raise AddressError("Address needs SMTPUTF8", needs_smtputf8=True)
    if len(local) > MAX_LOCAL or len(local.encode()) > MAX_LOCAL:
        raise AddressError("Local part is too long")


def parse_address(text: str, *, smtputf8: bool = False) -> str:
    """A mailbox (local part "@" domain) in the form that is kept; AddressError."""
    if _PLAIN.fullmatch(text):
        local, _, domain = text.rpartition("@")
        if len(local) > MAX_LOCAL or len(text) > MAX_ADDRESS:
            raise AddressError("Address is too long")
        return f"{local}@{domain.lower()}"
    if len(text) > MAX_ADDRESS:
        raise AddressError("Address is too long")
    if text[:1] == '"':
        quoted = _QUOTED.match(text)
        local = quoted[0] if quoted else ""
        at, domain = text[len(local) : len(local) + 1], text[len(local) + 1 :]
    else:
        local, at, domain = text.partition("@")
    if not local or not at or not domain:
        raise AddressError("Address must have the form user@domain")
    check_local(local, smtputf8)
    address = f"{local}@{check_domain(domain, smtputf8)}"
    if len(address.encode()) > MAX_ADDRESS:
        raise AddressError("Address is too long")
    return address


def _inside(text: str) -> str:
    if len(text) < 2 or text[0] != "<" or text[-1] != ">":
        raise AddressError("Path must stand between < and >")
    return text[1:-1]


def _strip_route(path: str, smtputf8: bool) -> str:
    """RFC 5321 appendix C: a source route is checked for form and ignored."""
    if path[:1] != "@":
        return path
    route, colon, mailbox = path.partition(":")
    if colon and "[" in route:  # an IPv6 literal in the route holds colons of its own
        route, colon, mailbox = _split_literal_route(path)
    if not colon or len(path) > 4 * MAX_DOMAIN:
        raise AddressError("Source route is not valid")
    for hop in route.split(","):
        if hop[:1] != "@":
            raise AddressError("Source route is not valid")
        check_domain(hop[1:], smtputf8)
    return mailbox


def _split_literal_route(path: str) -> tuple[str, str, str]:
    inside = False
    for place, character in enumerate(path):
        if character in "[]":
            inside = character == "["
        elif character == ":" and not inside:
            return path[:place], ":", path[place + 1 :]
    return path, "", ""


def parse_reverse_path(text: str, smtputf8: bool, *, bare_names: bool = False) -> str:
    """What stands between "<" and ">" inclusive, of MAIL; "" for the null path.

    bare_names: a local part alone is taken too, for the caller to qualify.
    """
    path = _inside(text)
    if not path:
        return ""
    path = _strip_route(path, smtputf8)
    if bare_names and path and not split_address(path)[1]:
        check_local(path, smtputf8)
        return path
    return parse_address(path, smtputf8=smtputf8)


def parse_forward_path(text: str, smtputf8: bool, *, bare_names: bool = False) -> str:
    """What stands between "<" and ">" inclusive, of RCPT; "postmaster" alone is always taken (RFC 5321 §4.5.1)."""
    path = _strip_route(_inside(text), smtputf8)
    if path and not split_address(path)[1] and (bare_names or path.lower() == "postmaster"):
        check_local(path, smtputf8)
        return path
    return parse_address(path, smtputf8=smtputf8)
