"""XCLIENT: a trusted host tells who the real client is (Postfix's XCLIENT_README)."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from relayd.mail.reply import Reply
from relayd.mail.xtext import XtextError, decode_xtext
from relayd.reception.client import Address, Client

_UNAVAILABLE = ("[UNAVAILABLE]", "[TEMPUNAVAIL]")
_NAMES = ("NAME", "ADDR", "PORT", "PROTO", "HELO", "LOGIN", "DESTADDR", "DESTPORT")
UNKNOWN: Address = ipaddress.IPv4Address(0)
"""The address of a client that nobody told: in no one's network, and not None, which would be a Unix socket."""


class XclientError(Exception):
    """An attribute is not known or has a bad value; the text is for the peer."""


def parse_xclient(argument: str) -> dict[str, str | None]:
    """Attributes by name, decoded; None is "not available".  XclientError."""
    attributes: dict[str, str | None] = {}
    for word in argument.split():
        name, equals, value = word.partition("=")
        name = name.upper()
        if name not in _NAMES or not equals:
            raise XclientError(f"Bad XCLIENT attribute: {name[:20]}")
        try:
            attributes[name] = None if value.upper() in _UNAVAILABLE else decode_xtext(value)
        except XtextError as error:
            raise XclientError(f"Bad XCLIENT value of {name}") from error
    if not attributes:
        raise XclientError("Syntax: XCLIENT attribute=value...")
    _check(attributes)
    return attributes


def parse_address(text: str | None) -> Address:
    """ "192.0.2.1", "IPV6:2001:db8::1", or None: UNKNOWN.  XclientError."""
    if text is None:
        return UNKNOWN
    try:
        address = ipaddress.ip_address(text[5:] if text[:5].upper() == "IPV6:" else text)
    except ValueError as error:
        raise XclientError("Bad XCLIENT address") from error
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _check(attributes: Mapping[str, str | None]) -> None:
    parse_address(attributes.get("ADDR"))
    parse_address(attributes.get("DESTADDR"))
    for name in ("PORT", "DESTPORT"):
        value = attributes.get(name)
        if value is not None and not (value.isascii() and value.isdigit() and len(value) <= 5 and int(value) <= 65535):
            raise XclientError(f"Bad XCLIENT value of {name}")
    if (attributes.get("PROTO") or "ESMTP") not in ("SMTP", "ESMTP"):
        raise XclientError("Bad XCLIENT value of PROTO")
    if any(value and not value.isprintable() for value in attributes.values()):
        raise XclientError("Bad XCLIENT value")


def apply_xclient(client: Client, attributes: Mapping[str, str | None]) -> None:
    """Write what was told over what was known; what was not told stays, but HELO and LOGIN begin anew."""
    if "ADDR" in attributes:
        client.address = parse_address(attributes["ADDR"])
    if "PORT" in attributes:
        client.port = int(attributes["PORT"] or 0)
    if "NAME" in attributes:
        client.name = attributes["NAME"] or "unknown"
    if "DESTADDR" in attributes:
        client.local_address = str(parse_address(attributes["DESTADDR"]))
    if "DESTPORT" in attributes:
        client.local_port = int(attributes["DESTPORT"] or 0)
    client.helo = attributes.get("HELO") or ""
    client.esmtp = attributes.get("PROTO") == "ESMTP"
    client.account = attributes.get("LOGIN") or None
    client.account_emails = ()
    client.signed_in = None
    client.trusted = False
    client.from_proxy = True


NOT_ALLOWED = Reply(550, "5.7.0", "XCLIENT is not allowed from your address")
