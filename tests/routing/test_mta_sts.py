"""MTA-STS: records, policies, which hosts they name, and how long they are kept."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.routing.mta_sts import (
    MAX_AGE,
    MAX_POLICY,
    BadPolicy,
    Kept,
    Mode,
    Policy,
    parse_policy,
    policy_url,
    record_id,
    wants_fetch,
)
from relayd.routing.tls_records import BadRecord

GOOD = b"version: STSv1\r\nmode: enforce\r\nmx: mx1.example\r\nmx: *.Backup.example\r\nmax_age: 604800\r\n"


def test_a_policy() -> None:
    policy = parse_policy(GOOD)
    assert policy == Policy(mode=Mode.ENFORCE, mx=("mx1.example", "*.backup.example"), max_age=604800)
    assert parse_policy("\n".join(policy.lines()).encode()) == policy


def test_the_first_of_a_field_counts_and_unknown_ones_are_ignored() -> None:
    policy = parse_policy(GOOD + b"mode: none\nmax_age: 1\nnew-field: x y\n")
    assert (policy.mode, policy.max_age, policy.unknown) == (Mode.ENFORCE, 604800, ("new-field",))


def test_a_policy_is_kept_for_a_year_at_most() -> None:
    assert parse_policy(b"version: STSv1\nmode: none\nmax_age: 9999999999\n").max_age == MAX_AGE


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"version: STSv1\nmode: enforce\nmax_age: 1",
        b"version: STSv1\nmode: strict\nmx: a.example\nmax_age: 1",
        b"version: STSv1\nmode: none\nmax_age: 12345678901",
        b"version: STSv1\nmode: none\nmax_age: +1",
        b"version: STSv1\nmode: enforce\nmx: a.*.example\nmax_age: 1",
        b"version: STSv1\nmode: enforce\nmx: *\nmax_age: 1",
        b"version: STSv1\nmode: enforce\nmx: .a.example\nmax_age: 1",
        b"<html>not found</html>",
        GOOD + b"x" * MAX_POLICY,
    ],
)
def test_what_is_no_policy(body: bytes) -> None:
    with pytest.raises(BadPolicy):
        parse_policy(body)


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("mx1.example", True),
        ("MX1.Example.", True),
        ("mx2.example", False),
        ("a.backup.example", True),
        ("a.b.backup.example", False),
        ("backup.example", False),
        ("xbackup.example", False),
    ],
)
def test_which_hosts_a_policy_names(host: str, allowed: bool) -> None:
    assert parse_policy(GOOD).allows(host) is allowed


def test_an_internationalised_host() -> None:
    policy = Policy(mode=Mode.ENFORCE, mx=("xn--bcher-kva.example",), max_age=1)
    assert policy.allows("bücher.example")


@pytest.mark.parametrize(
    ("records", "id"),
    [
        ([b"v=STSv1; id=20160831085700Z;"], "20160831085700Z"),
        ([b"v=STSv1 ; ext=1;id=a"], "a"),
        ([b"v=spf1 -all", b"v=STSv1; id=b"], "b"),
        ([b"v=spf1 -all"], None),
        ([b"v=STSv10; id=b"], None),
        ([], None),
    ],
)
def test_the_id_in_a_record(records: list[bytes], id: str | None) -> None:
    assert record_id(records) == id


@pytest.mark.parametrize(
    "records",
    [
        [b"v=STSv1; id=a", b"v=STSv1; id=a"],
        [b"v=STSv1;"],
        [b"v=STSv1; id="],
        [b"v=STSv1; id=a-b"],
        [b"v=STSv1; id=" + b"a" * 33],
        [b"v=STSv1; id=a;;"],
        [b"v=STSv1; id=a; =x"],
        [b"v=STSv1; id=\xff"],
        [b"v=STSv1; id=a; x=" + b"y" * 5000],
    ],
)
def test_records_that_count_as_none(records: list[bytes]) -> None:
    with pytest.raises(BadRecord):
        record_id(records)


def test_when_a_policy_is_fetched() -> None:
    policy = Policy(mode=Mode.ENFORCE, mx=("a.example",), max_age=1000)
    kept = Kept(policy=policy, id="1", fetched=100.0, checked=100.0)
    assert kept.is_fresh(1099.0)
    assert not kept.is_fresh(1100.0)
    assert not kept.is_fresh(99.0)  # a clock that was set back
    assert wants_fetch(None, "1", 0.0)
    assert not wants_fetch(None, None, 0.0)
    assert not wants_fetch(kept, "1", 200.0)
    assert wants_fetch(kept, "2", 200.0)
    assert wants_fetch(kept, "1", 600.0)  # half of its life
    assert not wants_fetch(kept, None, 600.0)  # the record is gone; the policy counts while it is fresh


def test_where_a_policy_is() -> None:
    assert policy_url("a.example") == "https://mta-sts.a.example/.well-known/mta-sts.txt"
    assert policy_url("a.example", 8443) == "https://mta-sts.a.example:8443/.well-known/mta-sts.txt"


LINES = st.sampled_from(["version: STSv1", "mode: enforce", "mode: none", "mx: *.a.example", "max_age: 10", ":", "mx:"])


@given(st.one_of(st.binary(), st.lists(st.one_of(LINES, st.text())).map(lambda lines: "\n".join(lines).encode())))
def test_any_octets_are_a_policy_or_are_refused(body: bytes) -> None:
    try:
        policy = parse_policy(body)
    except BadPolicy:
        return
    assert 0 <= policy.max_age <= MAX_AGE
    assert policy.mx or policy.mode is Mode.NONE
    assert parse_policy("\n".join(policy.lines()).encode()).lines() == policy.lines()


@given(st.one_of(st.binary(), st.binary().map(lambda rest: b"v=STSv1;" + rest)))
def test_any_octets_are_a_record_or_are_refused(record: bytes) -> None:
    try:
        id = record_id([record])
    except BadRecord:
        return
    assert id is None or id.isalnum()


def test_parsing_is_linear() -> None:
    started = time.process_time()
    for hostile in (b":" * MAX_POLICY, b"mx: " + b"*." * 30000, b"\n" * MAX_POLICY, b"a" * MAX_POLICY):
        with pytest.raises(BadPolicy):
            parse_policy(hostile)
    assert time.process_time() - started < 1.0
