"""Paths and addresses of the envelope."""

from __future__ import annotations

import ipaddress

import pytest

from relayd.mail.address import (
    AddressError,
    a_label,
    literal_address,
    mailbox_key,
    parse_address,
    parse_forward_path,
    parse_reverse_path,
    qualify,
    quote_local,
    routed_elsewhere,
    same_mailbox,
    split_address,
    unquote_local,
)


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("<>", ""),
        ("<a@B.Example>", "a@b.example"),
        ("<Local.Part@X.org>", "Local.Part@x.org"),
        ("<@one.example,@two.example:a@b.example>", "a@b.example"),
        ("<@[IPv6:2001:db8::1]:a@b.example>", "a@b.example"),
        ('<"a b"@x.org>', '"a b"@x.org'),
        ('<"a\\"@b"@x.org>', '"a\\"@b"@x.org'),
        ("<a@[192.0.2.1]>", "a@[192.0.2.1]"),
        ("<a@[IPV6:2001:DB8:0::1]>", "a@[IPv6:2001:db8::1]"),
    ],
)
def test_a_reverse_path_is_kept_in_one_form(path: str, address: str) -> None:
    assert parse_reverse_path(path, False) == address


@pytest.mark.parametrize(
    "path",
    [
        "a@b.example",
        "<a@b.example",
        "<a>",
        "<@one.example>",
        "<@one.example:>",
        "<one.example:a@b.example>",
        "<@one..example:a@b.example>",
        "<@[IPv6:2001:db8::1>",
        "<a@b_c.example>",
        "<a@b.example.>",
        "<.a@b.example>",
        "<a..b@b.example>",
        "<a b@b.example>",
        "<a@[192.0.2.256]>",
        "<a@[IPv6:fe80::1%eth0]>",
        "<a@[tag:text]>",
        "<a@\x80.example>",
        '<"a@b.example>',
        '<"a"b@b.example>',
        f"<{'a' * 65}@b.example>",
        f"<{'é' * 33}@b.example>",
        f"<a@{'b' * 64}.example>",
        f"<a@{'b.' * 126}example>",
    ],
)
@pytest.mark.parametrize("smtputf8", [False, True])
def test_what_the_grammar_does_not_give_is_refused(path: str, smtputf8: bool) -> None:
    with pytest.raises(AddressError):
        parse_reverse_path(path, smtputf8)


def test_postmaster_needs_no_domain_as_recipient() -> None:
    assert parse_forward_path("<Postmaster>", False) == "Postmaster"
    with pytest.raises(AddressError):
        parse_forward_path("<root>", False)
    assert parse_forward_path("<root>", False, bare_names=True) == "root"
    assert parse_reverse_path("<root>", False, bare_names=True) == "root"
    with pytest.raises(AddressError):
        parse_forward_path("<>", False)


def test_an_internationalized_address_needs_smtputf8() -> None:
    for address in ("é@b.example", "a@É.example"):
        with pytest.raises(AddressError) as caught:
            parse_address(address)
        assert caught.value.needs_smtputf8
    assert parse_address("é@É.Example", smtputf8=True) == "é@é.example"
    for address in ("a@-é.example", "a@☃.example", "a\x85@b.example"):
        with pytest.raises(AddressError) as caught:
            parse_address(address, smtputf8=True)
        assert not caught.value.needs_smtputf8


def test_u_labels_have_a_labels() -> None:
    assert a_label("Bücher.Example") == "xn--bcher-kva.example"
    assert a_label("bu\u0308cher.example") == "xn--bcher-kva.example"
    for domain in ("☃.example", "é" * 300, "é..example"):
        with pytest.raises(AddressError):
            a_label(domain)


def test_address_literals_stand_for_addresses() -> None:
    assert literal_address("[192.0.2.1]") == ipaddress.ip_address("192.0.2.1")
    assert literal_address("[IPv6:::ffff:192.0.2.1]") == ipaddress.ip_address("::ffff:192.0.2.1")
    for domain in ("192.0.2.1", "[192.0.2]", "[::1]", "[IPv6:192.0.2.1]", "x.example", ""):
        assert literal_address(domain) is None


@pytest.mark.parametrize(
    ("address", "routed"),
    [
        ("a@b.example", False),
        ("a+b=c@b.example", False),
        ("a%c.example@b.example", True),
        ("c.example!a@b.example", True),
        ('"a@c.example"@b.example', True),
        ('"a\\@c.example"@b.example', True),
        ('"@c.example:a"@b.example', True),
        ('"a b"@b.example', False),
        ("", False),
        ("postmaster", False),
    ],
)
def test_relay_tricks_in_local_parts_are_seen(address: str, routed: bool) -> None:
    assert routed_elsewhere(address) is routed


def test_parts_and_names() -> None:
    assert split_address('"a@b"@c.example') == ('"a@b"', "c.example")
    assert split_address("root") == ("root", "")
    assert split_address('"a@b"') == ('"a@b"', "")
    assert qualify("root", "b.example") == "root@b.example"
    assert qualify("root@a", "b.example") == "root@a"
    assert qualify("", "b.example") == ""
    assert unquote_local('"a\\"b"') == 'a"b'
    assert unquote_local("ab") == "ab"
    assert quote_local('a "b') == '"a \\"b"'
    assert quote_local("a.b") == "a.b"


def test_one_mailbox_has_several_forms() -> None:
    assert same_mailbox('"a.b"@X.org', "a.b@x.ORG")
    assert same_mailbox('"\\a"@x.org', "a@x.org")
    assert same_mailbox("PostMaster@x.org", "postmaster@x.org")
    assert same_mailbox("é@bücher.example", "e\u0301@xn--bcher-kva.example")
    assert not same_mailbox("A@x.org", "a@x.org")
    assert not same_mailbox("a@x.org", "a@y.org")
    assert mailbox_key("a@☃.example") == ("a", "☃.example")
