"""What is offered, and what a peer offers."""

from __future__ import annotations

from relayd.smtp.extension import Extensions, PeerExtensions


def test_a_stranger_and_a_trusted_client_see_different_lines() -> None:
    assert Extensions(size=1000, rcpt_max=100).lines("mx.example.org") == [
        "mx.example.org",
        "PIPELINING",
        "SIZE 1000",
        "ENHANCEDSTATUSCODES",
        "8BITMIME",
        "SMTPUTF8",
        "CHUNKING",
        "LIMITS RCPTMAX=100",
    ]
    trusted = Extensions(starttls=True, auth=("PLAIN", "LOGIN"), dsn=True, vrfy=True, mail_max=7, xclient=True)
    lines = trusted.lines("mx.example.org")
    for line in ("SIZE", "VRFY", "STARTTLS", "AUTH PLAIN LOGIN", "DSN", "LIMITS MAILMAX=7"):
        assert line in lines
    assert lines[-1].startswith("XCLIENT NAME ADDR ")


def test_our_own_offer_reads_as_it_was_meant() -> None:
    lines = Extensions(size=1000, rcpt_max=100, auth=("PLAIN",), dsn=True, starttls=True).lines("mx.example.org")
    peer = PeerExtensions.parse(lines)
    assert peer.hostname == "mx.example.org"
    assert peer.pipelining
    assert peer.chunking
    assert peer.dsn
    assert peer.starttls
    assert peer.smtputf8
    assert peer.eightbitmime
    assert peer.enhanced
    assert peer.size == 1000
    assert peer.auth == {"PLAIN"}
    assert peer.limits == {"RCPTMAX": 100}


def test_odd_offers_are_read_with_patience() -> None:
    peer = PeerExtensions.parse(
        ["mx says hello", "size", "auth=LOGIN", "Auth plain  xoauth2", "LIMITS RCPTMAX=x MAILMAX=3 y", "", " STARTTLS "]
    )
    assert peer.hostname == "mx"
    assert peer.size == 0
    assert peer.auth == {"LOGIN", "PLAIN", "XOAUTH2"}
    assert peer.limits == {"MAILMAX": 3}
    assert peer.starttls
    assert not peer.pipelining
    assert PeerExtensions.parse([]).size is None
    assert PeerExtensions.parse(["mx", "SIZE lots"]).size == 0
