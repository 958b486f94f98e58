"""Whether the DNS shows what a domain should have."""

from __future__ import annotations

import pytest

from relayd.control.api.dns_check import checked
from relayd.resolver.answer import Tlsa
from relayd.resolver.zone import TIMEOUT, Zone

KEY = "v=DKIM1; k=rsa; p=ABCDEF"
ZONE = Zone(
    {
        "mx.example.org": {"A": ["192.0.2.1"]},
        "example.org": {"MX": [(5, "mx.example.org"), (9, "b.example")], "TXT": ["v=spf1  MX ra=postmaster -all", "x"]},
        "mail.example.org": {"CNAME": ["mx.example.org"]},
        "s._domainkey.example.org": {"TXT": ["v=DKIM1;k=rsa; p=ABC DEF"]},
        "_25._tcp.mx.example.org": {"TLSA": [Tlsa(3, 1, 1, b"\1")]},
        "other.example": {"MX": [(1, "mx.elsewhere.example")], "TXT": ["v=spf1 -all"]},
        "same.example": {"A": ["192.0.2.1"]},
        "two.example": {"TXT": ["v=spf1 -all", "v=spf1 mx -all"]},
        "six.example": {"AAAA": ["2001:db8::1"]},
        "slow.example": {"*": TIMEOUT},
    }
)
SPF = "v=spf1 mx ra=postmaster -all"


@pytest.mark.parametrize(
    ("type", "name", "content", "state"),
    [
        ("MX", "example.org.", "10 mx.example.org.", "ok"),
        ("MX", "other.example.", "10 mx.example.org.", "different"),
        ("MX", "none.example.", "10 mx.example.org.", "missing"),
        ("MX", "slow.example.", "10 mx.example.org.", "unknown"),
        ("TXT", "example.org.", SPF, "ok"),
        ("TXT", "other.example.", SPF, "different"),
        ("TXT", "two.example.", SPF, "different"),
        ("TXT", "mx.example.org.", SPF, "missing"),
        ("TXT", "s._domainkey.example.org.", KEY, "ok"),
        ("TXT", "s._domainkey.example.org.", KEY + "G", "different"),
        ("CNAME", "mail.example.org.", "mx.example.org.", "ok"),
        ("CNAME", "same.example.", "mx.example.org.", "ok"),
        ("CNAME", "six.example.", "mx.example.org.", "different"),
        ("CNAME", "mail.none.example.", "mx.example.org.", "missing"),
        ("TLSA", "_25._tcp.mx.example.org.", "3 1 1 01", "ok"),
        ("TLSA", "_25._tcp.mx.example.org.", "3 1 1 02", "different"),
        ("SRV", "_submission._tcp.example.org.", "0 1 587 mx.example.org.", "unchecked"),
    ],
)
async def test_states(type: str, name: str, content: str, state: str) -> None:
    found = await checked(ZONE, type, name, content)
    assert found[0] == state
    assert bool(found[1]) == (state in ("different", "unknown") or (state == "ok" and type != "CNAME"))
