"""Release, deadline and priority as MAIL gives them."""

from __future__ import annotations

import pytest

from relayd.smtp.command import MailCommand, SyntaxRefused, parse_mail
from relayd.smtp.extension import Extensions
from relayd.smtp.urgency import DeliverBy, parse_by, parse_hold_until

OFFERED = Extensions(future_release=604800, latest_release="2027-01-22T08:00:00Z", deliver_by=True, mt_priority=True)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ("HOLDFOR=0", {"hold_for": 0}),
        ("HOLDFOR=604800", {"hold_for": 604800}),
        ("HOLDUNTIL=2027-01-15T08:00:00Z", {"hold_until": 1_800_000_000.0}),
        ("HOLDUNTIL=2027-01-15T09:30:00.5+01:30", {"hold_until": 1_800_000_000.0}),
        ("BY=120;R", {"by": DeliverBy(seconds=120, returns=True)}),
        ("BY=-120;nt", {"by": DeliverBy(seconds=-120, returns=False, traces=True)}),
        ("MT-PRIORITY=-9", {"priority": -9}),
        ("MT-PRIORITY=0", {}),
        ("SIZE=5 MT-PRIORITY=4", {"size": 5, "priority": 4}),
    ],
)
def test_parameters(parameters: str, expected: dict[str, object]) -> None:
    command = parse_mail(f"FROM:<a@b.example> {parameters}", OFFERED)
    assert command == MailCommand(return_path="a@b.example", **expected)  # type: ignore[arg-type]


def test_a_leap_second_is_a_second() -> None:
    assert parse_hold_until("2016-12-31T23:59:60Z") == parse_hold_until("2017-01-01T00:00:00Z")


def test_times_without_end_are_no_times() -> None:
    assert parse_hold_until("0001-01-01T00:00:00+23:59") is None
    assert parse_hold_until("9999-12-31T23:59:59-23:59") is None
    assert parse_by("1" * 10 + ";N") is None


def test_who_is_not_offered_it_may_not_ask() -> None:
    for parameter in ("HOLDFOR=1", "BY=1;R", "MT-PRIORITY=1"):
        with pytest.raises(SyntaxRefused) as refused:
            parse_mail(f"FROM:<a@b.example> {parameter}", Extensions())
        assert refused.value.reply.code == 555
        assert refused.value.not_offered == parameter.partition("=")[0]


def test_the_offer() -> None:
    lines = OFFERED.lines("mx.example.org")
    assert "FUTURERELEASE 604800 2027-01-22T08:00:00Z" in lines
    assert "DELIVERBY" in lines
    assert "MT-PRIORITY" in lines
