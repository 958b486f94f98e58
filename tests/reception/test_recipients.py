"""Who may send to whom: session classes, relay attempts, local names, duplicates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from relayd.mail.address import AddressError, parse_forward_path
from relayd.mail.envelope import Notify
from relayd.reception.recipients import UNREAD_POSTMASTER
from relayd.smtp.command import SyntaxRefused, parse_rcpt
from relayd.smtp.extension import Extensions
from tests.reception.house import HOSTNAME, House, outcome

RELAY: dict[str, Any] = {
    "rcpt": {"relay-domains": ["here.example", ".sub.example", "*.star.example"]},
    "known": {"all": {"domains": ["here.example", ".sub.example", "*.star.example"], "check": "any"}},
}
ALIASES: dict[str, Any] = {"server": {"aliases": ["root: ops@far.example, night@far.example"], "origin": "org.example"}}


async def offer(rig: House, address: str, trusted: bool = False, **fields: Any) -> tuple[int, str]:
    client = await (rig.trusted(**fields) if trusted else rig.stranger(**fields))
    return outcome(await rig.rcpt(await rig.begin(client), address))


@pytest.mark.parametrize("address", ["b@here.example", "b@x.sub.example", "b@y.x.sub.example", "b@x.star.example"])
async def test_a_stranger_may_send_to_relay_domains(tmp_path: Path, address: str) -> None:
    assert await offer(House(tmp_path, **RELAY), address) == (250, "2.1.5")


@pytest.mark.parametrize(
    "address",
    [
        "b@far.example",
        "b@x.here.example",  # exact means exact
        "b@sub.example",  # ".sub.example" is what is below it
        "b@star.example",
        "b@there.example",
        "b%far.example@here.example",
        "far.example!b@here.example",
        "far.example!b@far.example",
        '"b@far.example"@here.example',
        '"b%far.example"@here.example',
        "@here.example:b@far.example",
        "b@[198.51.100.7]",
        "b@[IPv6:2001:db8::7]",
        "b@[IPv6:::ffff:127.0.0.1]",
        "b@[127.0.0.1]",
        "b%far.example@[192.0.2.25]",
        "b@localhost",
    ],
)
async def test_a_stranger_is_refused_every_way_to_relay(tmp_path: Path, address: str) -> None:
    given = parse_forward_path(f"<{address}>", False)
    assert await offer(House(tmp_path, **RELAY), given) == (550, "5.7.1")


async def test_a_source_route_to_a_relay_domain_is_stripped(tmp_path: Path) -> None:
    rig = House(tmp_path, **RELAY)
    tx = await rig.begin(await rig.stranger())
    command = parse_rcpt("TO:<@evil.example,@far.example:b@here.example>", Extensions(), False)
    assert (await rig.reception.rcpt(tx, command)).is_positive
    assert [each.address for each in tx.recipients] == ["b@here.example"]


@pytest.mark.parametrize("address", ["user%x.example", "x.example!user", '"user@x.example"'])
async def test_a_bare_name_that_is_a_route_is_taken_from_nobody(tmp_path: Path, address: str) -> None:
    assert (await offer(House(tmp_path, **RELAY), address))[0] == 550
    assert await offer(House(tmp_path, **RELAY), address, trusted=True) == (550, "5.7.1")


async def test_an_address_that_is_no_address_is_a_syntax_error(tmp_path: Path) -> None:
    with pytest.raises((SyntaxRefused, AddressError)):
        parse_rcpt("TO:<b@far.example@here.example>", Extensions(), False)


async def test_a_trusted_client_may_relay_and_local_parts_elsewhere_are_opaque(tmp_path: Path) -> None:
    rig = House(tmp_path, **RELAY)
    for address in ("b@far.example", "b%x.example@far.example", '"b@x"@far.example', "b@[198.51.100.7]"):
        assert await offer(rig, address, trusted=True) == (250, "2.1.5"), address
    for address in ("b%x.example@here.example", "x!b@here.example", f"b%x.example@{HOSTNAME}"):
        assert await offer(rig, address, trusted=True) == (550, "5.7.1"), address


@pytest.mark.parametrize(
    ("address", "fields", "trusted"),
    [
        ("127.0.0.1", {}, True),
        ("::1", {}, True),
        ("::ffff:127.0.0.1", {}, True),
        ("::ffff:203.0.113.5", {}, False),
        ("203.0.113.5", {}, False),
        ("10.1.2.3", {"listener": "lan"}, True),
        ("10.1.2.3", {"listener": "smtp"}, False),
        ("127.0.0.1", {"from_proxy": True}, True),
        (None, {"role": "submit", "uid": 65534}, True),
        (None, {"uid": 0}, True),
        (None, {"uid": 65534}, False),
        (None, {"uid": 0, "from_proxy": True}, False),
        (None, {}, False),
    ],
)
async def test_the_session_class_is_decided_by_where_the_client_is(
    tmp_path: Path, address: str | None, fields: dict[str, Any], trusted: bool
) -> None:
    from relayd.options import parse_network

    rig = House(tmp_path, listener_networks={"lan": (parse_network("10.0.0.0/8"),)})
    client = rig.client(address, **fields)
    await rig.reception.connect(client)
    assert client.trusted is trusted
    assert (await offer_as(rig, client)) == ((250, "2.1.5") if trusted else (550, "5.7.1"))


async def offer_as(rig: House, client: Any) -> tuple[int, str]:
    return outcome(await rig.rcpt(await rig.begin(client), "b@far.example"))


async def test_the_class_is_decided_anew_when_xclient_changes_the_address(tmp_path: Path) -> None:
    rig = House(tmp_path)
    client = await rig.trusted()
    client.address = rig.client("203.0.113.9").address
    client.from_proxy = True
    await rig.reception.connect(client)
    assert not client.trusted


async def test_without_relay_networks_loopback_is_a_stranger(tmp_path: Path) -> None:
    rig = House(tmp_path, rcpt={"relay-networks": []})
    assert await offer(rig, "b@far.example", trusted=True) == (550, "5.7.1")


async def test_too_many_recipients_are_refused_and_the_earlier_ones_kept(tmp_path: Path) -> None:
    rig = House(tmp_path, limits={"recipients": 2})
    tx = await rig.begin(await rig.trusted())
    codes = [outcome(await rig.rcpt(tx, f"{name}@far.example")) for name in "abc"]
    assert codes == [(250, "2.1.5"), (250, "2.1.5"), (452, "4.5.3")]
    assert (await rig.send(tx, b"Subject: x\r\n\r\n")).code == 250
    assert [each.address for each in rig.queue.messages[0].recipients] == ["a@far.example", "b@far.example"]


async def test_a_repeated_recipient_is_accepted_once(tmp_path: Path) -> None:
    rig = House(tmp_path)
    message = await rig.deliver(
        await rig.trusted(), b"Subject: x\r\n\r\n", "b@far.example", "b@far.example", '"b"@far.example', "B@far.example"
    )
    assert [each.address for each in message.recipients] == ["b@far.example", "B@far.example"]
    assert message.counts == {"accepted": 2}
    assert len(rig.facts("smtp.rcpt-to-duplicate")) == 2


@pytest.mark.parametrize("domain", [HOSTNAME, "org.example", "[192.0.2.25]", "[IPv6:::ffff:192.0.2.25]"])
async def test_an_alias_stands_for_its_addresses_even_for_strangers(tmp_path: Path, domain: str) -> None:
    rig = House(tmp_path, **ALIASES)
    message = await rig.deliver(await rig.stranger(), b"Subject: x\r\n\r\n", f"Root@{domain}")
    assert [each.address for each in message.recipients] == ["ops@far.example", "night@far.example"]
    assert {each.orcpt for each in message.recipients} == {f"rfc822;Root@{domain}"}
    assert message.counts == {"accepted": 1, "replaced": 1, "expanded": 2}


async def test_what_aliases_stand_for_is_queued_once_and_the_count_stays_true(tmp_path: Path) -> None:
    rig = House(tmp_path, **ALIASES)
    message = await rig.deliver(await rig.trusted(), b"S: x\r\n\r\n", "ops@far.example", "root", "night@far.example")
    assert [each.address for each in message.recipients] == ["ops@far.example", "night@far.example"]
    counts = message.counts
    assert counts == {"accepted": 2, "replaced": 1, "expanded": 1}
    assert counts["accepted"] + counts["expanded"] == counts["replaced"] + len(message.recipients)


async def test_names_that_are_no_alias(tmp_path: Path) -> None:
    rig = House(tmp_path, **ALIASES)
    assert await offer(rig, f"nobody@{HOSTNAME}") == (550, "5.1.1")
    assert await offer(rig, "nobody@[192.0.2.25]") == (550, "5.1.1")
    assert await offer(rig, "nobody@[192.0.2.25]", trusted=True) == (550, "5.1.1")
    assert await offer(rig, "nobody") == (550, "5.1.1")
    assert await offer(rig, f"nobody@{HOSTNAME}", trusted=True) == (250, "2.1.5")


async def test_the_origin_qualifies_bare_names_of_trusted_sessions(tmp_path: Path) -> None:
    rig = House(tmp_path, **ALIASES)
    message = await rig.deliver(await rig.trusted(), b"Subject: x\r\n\r\n", "somebody", sender="cron")
    assert message.return_path == "cron@org.example"
    assert [each.address for each in message.recipients] == ["somebody@org.example"]


@pytest.mark.parametrize(
    "address",
    ["postmaster", "PostMaster", f"postmaster@{HOSTNAME}", "postmaster@here.example", "postmaster@[192.0.2.25]"],
)
async def test_postmaster_is_accepted_from_anyone_and_goes_to_the_configured_one(tmp_path: Path, address: str) -> None:
    rig = House(tmp_path, server={"postmaster": "ops@far.example"}, rcpt={"relay-domains": ["here.example"]})
    message = await rig.deliver(await rig.stranger(), b"Subject: x\r\n\r\n", address, sender="")
    assert [each.address for each in message.recipients] == ["ops@far.example"]
    assert rig.prober.asked == []


async def test_without_a_postmaster_a_relay_domain_gets_its_own(tmp_path: Path) -> None:
    rig = House(tmp_path, rcpt={"relay-domains": ["here.example"]})
    assert await offer(rig, "postmaster@here.example") == (250, "2.1.5")
    assert await offer(rig, "postmaster@far.example") == (550, "5.7.1")


@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        ("postmaster", False),
        ("postmaster", True),
        (f"postmaster@{HOSTNAME}", False),  # a trusted client's goes where that name leads
        ("Postmaster@[192.0.2.25]", False),
        ("Postmaster@[192.0.2.25]", True),
    ],
)
async def test_mail_to_a_postmaster_that_nobody_is_is_held(tmp_path: Path, address: str, trusted: bool) -> None:
    rig = House(tmp_path, rcpt={"relay-domains": ["here.example"]})
    client = await (rig.trusted() if trusted else rig.stranger())
    message = await rig.deliver(client, b"Subject: x\r\n\r\n", address)
    assert message.held == UNREAD_POSTMASTER
    assert [each.address for each in message.recipients] == [f"postmaster@{HOSTNAME}"]


async def test_a_held_message_to_postmaster_has_no_other_recipient(tmp_path: Path) -> None:
    rig = House(tmp_path)
    first = await rig.begin(await rig.trusted())
    assert outcome(await rig.rcpt(first, "postmaster")) == (250, "2.1.5")
    assert outcome(await rig.rcpt(first, "b@far.example")) == (452, "4.5.3")
    second = await rig.begin(await rig.trusted())
    assert outcome(await rig.rcpt(second, "b@far.example")) == (250, "2.1.5")
    assert outcome(await rig.rcpt(second, "postmaster")) == (452, "4.5.3")
    assert second.held is None


async def test_what_the_dsn_parameters_asked_for_is_kept(tmp_path: Path) -> None:
    rig = House(tmp_path)
    tx = await rig.begin(await rig.trusted(), ret="FULL", envid="id+2B1")
    await rig.rcpt(tx, "b@far.example", notify=frozenset({Notify.DELAY}), orcpt="rfc822;x@y.example")
    await rig.rcpt(tx, "c@far.example", notify=frozenset({Notify.NEVER}))
    await rig.rcpt(tx, "d@far.example")
    await rig.send(tx, b"Subject: x\r\n\r\n")
    message = rig.queue.messages[0]
    assert (message.ret, message.envid) == ("FULL", "id+2B1")
    assert [each.orcpt for each in message.recipients] == ["rfc822;x@y.example", None, None]
    assert [each.next_notify is not None for each in message.recipients] == [True, False, True]


@pytest.mark.parametrize(
    ("argument", "trusted", "code"),
    [
        ("root", True, (250, "2.1.5")),
        ("<root@org.example>", True, (250, "2.1.5")),
        ("Somebody <b@far.example>", True, (252, "2.1.5")),
        ("b@listed.example", True, (250, "2.1.5")),
        ("c@listed.example", True, (550, "5.1.1")),
        ("b@here.example", True, (252, "2.1.5")),
        ("a b c", True, (501, "5.1.3")),
        ("root", False, (252, "2.5.0")),
    ],
)
async def test_vrfy(tmp_path: Path, argument: str, trusted: bool, code: tuple[int, str]) -> None:
    rig = House(
        tmp_path,
        **ALIASES,
        rcpt={"relay-domains": ["here.example", "listed.example"]},
        known={"1": {"domains": ["listed.example"], "check": "list", "list": ["b"]}},
    )
    client = await (rig.trusted() if trusted else rig.stranger())
    assert outcome(await rig.reception.vrfy(client, argument)) == code
    assert rig.prober.asked == []
