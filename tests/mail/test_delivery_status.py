"""The fields of delivery statuses, as the RFC has them and as programs write them."""

from __future__ import annotations

import pytest

from relayd.mail.delivery_status import StatusRecipient, address_in, read_delivery_status


def test_blocks_are_recipients() -> None:
    status = read_delivery_status(
        "Reporting-MTA: dns; mx.example\nArrival-Date: today\n\n"
        "Original-Recipient: rfc822; <alias@a.example>\nFinal-Recipient: rfc822; a@b.example\n"
        "Action: Failed (bounced)\n"
        "Status: 5.1.1 (bad)\nRemote-MTA: dns; mx.b.example (192.0.2.1)\n"
        "Diagnostic-Code: smtp; 550 5.1.1\n  no such\n user\n\n"
        "Final-Recipient: utf-8; ü@b.example\nAction: delayed\n"
    )
    assert status.reporter == "mx.example"
    assert status.recipients == (
        StatusRecipient(
            address="a@b.example",
            original="alias@a.example",
            action="failed",
            status="5.1.1",
            diagnostic="550 5.1.1 no such user",
            remote="mx.b.example",
        ),
        StatusRecipient(address="ü@b.example", action="delayed"),
    )


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        (
            "Final-Recipient: rfc822; a@b\nAction: failed\nFinal-Recipient: rfc822; c@d\nAction: failed\n",
            ["a@b", "c@d"],
        ),
        ("Final-Recipient: rfc822; a@b\n\nFinal-Recipient: rfc822; A@B\nDiagnostic-Code: x\n", ["A@B"]),
        ("Action: failed\n\nOriginal-Recipient: <a@b>\n", ["a@b"]),
        ("Technical report:\n  Final-Recipient: rfc822;a@b\n  Action: failed\nRegards", ["a@b"]),
        ("Final-Recipient: rfc822;\nAction: failed\n", []),
        ("Subject: x\n", []),
    ],
)
def test_what_programs_make_of_it(text: str, addresses: list[str]) -> None:
    assert [each.address for each in read_delivery_status(text).recipients] == addresses


def test_an_address_is_taken_out_of_what_is_around_it() -> None:
    assert address_in("rfc822; Name <a@b>") == "a@b"
    assert address_in(" a@b ") == "a@b"
    assert address_in("rfc822;" + "a" * 400) == ""
