"""TLS-RPT: records, and sessions counted by day, domain and policy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.routing.tls_records import BadRecord
from relayd.routing.tls_report import (
    MAX_DETAILS,
    AppliedPolicy,
    Collected,
    Failure,
    PolicyType,
    Results,
    ResultType,
    day_of,
    find_record,
    parse_record,
    policies_of,
)

DAY = 86400
POLICY = AppliedPolicy(domain="a.example", type=PolicyType.STS, strings=("version: STSv1",), mx=("mx.a.example",))
EXPIRED = Failure(result=ResultType.CERTIFICATE_EXPIRED, mx="mx.a.example", receiving_ip="192.0.2.1")


def test_the_record_among_others() -> None:
    found = find_record([b"other", b"v=TLSRPTv1; rua=mailto:t@a.example,https://a.example/t,ftp://a.example/x"])
    assert found is not None
    assert found.usable == ("mailto:t@a.example", "https://a.example/t")
    assert len(found.rua) == 3
    assert find_record([b"v=TLSRPTv11; rua=mailto:t@a.example"]) is None


@pytest.mark.parametrize(
    "records",
    [
        [b"v=TLSRPTv1; rua=mailto:a@a.example"] * 2,
        [b"v=TLSRPTv1; rua=mailto:" + b"a" * 5000],
        [b"v=TLSRPTv1; rua=" + b",".join([b"a:b"] * 101)],
        [b"v=TLSRPTv1; rua=mailto:\xc3\xb8@a.example"],
    ],
)
def test_records_that_count_as_none(records: list[bytes]) -> None:
    with pytest.raises(BadRecord):
        find_record(records)


@given(st.one_of(st.binary(), st.binary().map(lambda rest: b"v=TLSRPTv1; rua=mailto:a@a.example" + rest)))
def test_any_octets_are_a_record_or_are_refused(record: bytes) -> None:
    try:
        found = parse_record(record)
    except BadRecord:
        return
    assert all(":" in uri and uri.isascii() for uri in found.rua)


def test_sessions_are_counted_by_utc_day_and_policy() -> None:
    collected = Collected()
    collected.add(POLICY, None, DAY - 1.0)
    collected.add(POLICY, None, DAY + 0.0, sessions=3)
    collected.add(POLICY, EXPIRED, DAY + 5.0)
    collected.add(POLICY, EXPIRED, DAY + 6.0)
    collected.add(AppliedPolicy(domain="b.example", type=PolicyType.NONE), None, DAY + 7.0)
    assert day_of(DAY + 86399.9) == DAY
    assert collected.domains(DAY) == ["a.example", "b.example"]
    assert collected.of("a.example", DAY) == {POLICY: Results(successes=3, failed=2, failures={EXPIRED: 2})}
    assert [(day, policy, results.successes) for day, policy, results in collected.take(DAY)] == [(0, POLICY, 1)]
    assert len(collected) == 2


def test_the_policies_of_a_report() -> None:
    collected = Collected()
    collected.add(POLICY, None, 1.0)
    collected.add(POLICY, EXPIRED, 2.0)
    assert policies_of(collected.of("a.example", 0)) == [
        {
            "policy": {
                "policy-type": "sts",
                "policy-domain": "a.example",
                "policy-string": ["version: STSv1"],
                "mx-host": ["mx.a.example"],
            },
            "summary": {"total-successful-session-count": 1, "total-failure-session-count": 1},
            "failure-details": [
                {
                    "result-type": "certificate-expired",
                    "receiving-mx-hostname": "mx.a.example",
                    "receiving-ip": "192.0.2.1",
                    "failed-session-count": 1,
                }
            ],
        }
    ]


def test_what_is_kept_is_bounded() -> None:
    results = Results()
    for number in range(MAX_DETAILS + 10):
        results.add(Failure(result=ResultType.VALIDATION_FAILURE, reason=str(number)))
    assert (results.failed, len(results.failures)) == (MAX_DETAILS + 10, MAX_DETAILS)
    collected = Collected(limit=1)
    collected.add(POLICY, None, 1.0)
    collected.add(POLICY, None, DAY + 1.0)
    collected.add(POLICY, None, 2.0)
    assert (len(collected), collected.dropped, collected.of("a.example", 0)[POLICY].successes) == (1, 1, 2)
