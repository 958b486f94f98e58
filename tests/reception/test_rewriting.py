"""The rewriting table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from relayd.options import OptionError
from relayd.reception.head import replace_addresses
from relayd.reception.rewriting import RewriteTable
from tests.reception.house import House, octets, options

MESSAGE = (
    b"From: =?utf-8?q?B=C3=B6b?= <bob@pc7.inside.example> (at work)\r\n"
    b"Sender: other@outside.example\r\n"
    b"To: <c@far.example>\r\n"
    b"Date: Tue, 01 Feb 2022 03:04:05 +0000\r\nMessage-ID: <1@x.example>\r\n"
    b"X-Mailer: old\r\nx-mailer: older\r\n\r\nbody\r\n"
)


async def test_the_return_path_is_rewritten_where_the_sender_matches(tmp_path: Path) -> None:
    rig = House(tmp_path, rewrite={"m": {"sender": [".inside.example"], "envelope-from": "{local}@inside.example"}})
    client = await rig.trusted()
    assert (await rig.deliver(client, MESSAGE, sender="bob@pc7.inside.example")).return_path == "bob@inside.example"
    assert (await rig.deliver(client, MESSAGE, sender="bob@outside.example")).return_path == "bob@outside.example"
    assert (await rig.deliver(client, MESSAGE, sender="")).return_path == ""
    assert rig.facts("smtp.mail-from-rewritten") == [
        {"from_": "bob@pc7.inside.example", "to": "bob@inside.example", "id": "m"}
    ]
    first, *rest = rig.facts("queue.queue-message-authenticated")
    assert first["given_from"] == "bob@pc7.inside.example"
    assert not [each for each in rest if "given_from" in each or "given_to" in each]


async def test_a_recipient_is_rewritten_and_the_change_is_counted(tmp_path: Path) -> None:
    rig = House(tmp_path, rewrite={"m": {"recipient": ["old.example"], "envelope-to": "{local}.{domain}@new.example"}})
    message = await rig.deliver(await rig.trusted(), MESSAGE, "b@old.example", "c@other.example")
    assert [(each.address, each.orcpt) for each in message.recipients] == [
        ("b.old.example@new.example", "rfc822;b@old.example"),
        ("c@other.example", None),
    ]
    assert message.counts == {"accepted": 2, "replaced": 1, "expanded": 1}
    (fact,) = rig.facts("queue.queue-message-authenticated")
    assert fact["given_to"] == ["b@old.example", "c@other.example"]
    assert "given_from" not in fact


async def test_header_addresses_are_rewritten_where_they_match_themselves(tmp_path: Path) -> None:
    rule = {"sender": [".inside.example"], "from": "{local}@inside.example", "sender-field": "{local}@inside.example"}
    rig = House(tmp_path, rewrite={"m": rule})
    message = octets(await rig.deliver(await rig.trusted(), MESSAGE, sender="bob@pc7.inside.example"))
    assert b"\r\nFrom: =?utf-8?q?B=C3=B6b?= <bob@inside.example> (at work)\r\n" in message
    assert b"\r\nSender: other@outside.example\r\n" in message
    assert message.endswith(b"\r\n\r\nbody\r\n")


async def test_fields_are_removed_replaced_and_added(tmp_path: Path) -> None:
    rig = House(
        tmp_path,
        rewrite={
            "1": {"remove": ["X-Mailer"], "add": ["X-Route: first"]},
            "2": {"replace": ["Sender: robot@x.example", "Organization: Example"], "add": ["X-Route: second"]},
            "3": {"listener": ["other"], "add": ["X-Route: third"]},
        },
    )
    message = octets(await rig.deliver(await rig.trusted(), MESSAGE))
    header = message[: message.index(b"\r\n\r\n") + 2]
    assert b"ailer" not in header
    assert header.count(b"Sender: ") == 1
    assert b"\r\nSender: robot@x.example\r\nTo:" in header
    assert header.endswith(b"X-Route: first\r\nOrganization: Example\r\nX-Route: second\r\n")


async def test_a_rule_that_matches_no_recipient_leaves_every_octet(tmp_path: Path) -> None:
    rig = House(tmp_path, rewrite={"m": {"recipient": ["x@y.example"], "remove": ["To"]}})
    message = await rig.deliver(await rig.trusted(), MESSAGE)
    assert message.body.content == MESSAGE
    assert message.body.offset == 0
    assert b"To:" not in octets(await rig.deliver(await rig.trusted(), MESSAGE, "x@y.example", "z@y.example"))


async def test_redirect_all_sends_everything_to_one_place_and_tells_for_whom_it_was(tmp_path: Path) -> None:
    rig = House(tmp_path, redirect={"redirect-all": ["staging@test.example"]})
    message = await rig.deliver(await rig.trusted(), MESSAGE, "b@far.example", "c@far.example")
    assert [each.address for each in message.recipients] == ["staging@test.example"]
    assert message.counts == {"accepted": 2, "replaced": 2, "expanded": 1}
    assert b"\r\nX-Original-To: b@far.example, c@far.example\r\n" in octets(message)


def upper(address: str) -> str | None:
    return address.upper()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a@b.c", "A@B.C"),
        ("<a@b.c>", "<A@B.C>"),
        ('"x@y.z" <a@b.c>, d@e.f (g@h.i)', '"x@y.z" <A@B.C>, D@E.F (g@h.i)'),
        ('"a b"@c.d', '"A B"@C.D'),
        ('"a\\"b@c" <d@e.f>', '"a\\"b@c" <D@E.F>'),
        ("(nested (x@y.z) still) a@b.c", "(nested (x@y.z) still) A@B.C"),
        ("a@[192.0.2.1]", "A@[192.0.2.1]"),
        ("group: a@b.c, d@e.f;", "group: A@B.C, D@E.F;"),
        ("nobody", None),
        ('"unclosed a@b.c', '"unclosed A@B.C'),
    ],
)
def test_only_addresses_outside_of_quotes_and_comments_change(value: str, expected: str | None) -> None:
    assert replace_addresses(value, upper) == expected


@pytest.mark.parametrize("value", ["a" * 300_000, '"' * 100_001, '"\\' * 100_000, "(" * 300_000, "a@" * 150_000])
def test_a_hostile_field_takes_linear_time(value: str) -> None:
    replace_addresses(value, upper)  # the test's own time limit is the proof


@pytest.mark.parametrize(
    "rule",
    [
        {"envelope-from": "nobody"},
        {"envelope-to": "{local}"},
        {"from": "a b@c"},
        {"recipient": ["a@b.c"], "envelope-from": "a@b.c"},
        {"add": ["no colon"]},
        {"add": ["X: a\r\nY: b"]},
        {"remove": ["X Y"]},
    ],
)
def test_a_rule_that_cannot_work_is_refused(rule: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=r"rewrite\.x"):
        RewriteTable(options(rewrite={"x": rule}).rewrite)
