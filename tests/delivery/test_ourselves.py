"""Which hosts are this server."""

from __future__ import annotations

import pytest

from relayd.delivery.ourselves import Ourselves

OURS = Ourselves("Relay.Example", [("0.0.0.0", 25), ("192.0.2.1", 2525), ("::", 465)])


@pytest.mark.parametrize(
    ("host", "port", "ours"),
    [
        ("relay.example", 25, True),
        ("RELAY.example.", 999, True),
        ("mx.example", 25, False),
        ("192.0.2.1", 2525, True),
        ("192.0.2.1", 2526, False),
        ("::ffff:192.0.2.1", 2525, True),
        ("127.0.0.1", 25, True),
        ("127.0.0.2", 25, True),
        ("127.0.0.1", 26, False),
        ("::1", 465, True),
        ("203.0.113.9", 25, False),
        ("2001:db8::9", 465, False),
    ],
)
def test_a_wildcard_listener_is_every_own_address_and_no_other(host: str, port: int, ours: bool) -> None:
    assert OURS(host, port) is ours
