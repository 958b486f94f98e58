"""TLS results by domain and day: counted off the way of mail, kept over restarts, bounded, shown as the RFC says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relayd.events.event import Event, EventStream, Span
from relayd.reports import tls_results
from relayd.reports.tls_record import reporting_record
from relayd.reports.tls_results import FILE, KEEP_DAYS, TlsResults, open_results, report
from relayd.resolver.answer import Temporary
from relayd.resolver.zone import TIMEOUT, Zone
from relayd.routing.tls_records import BadRecord
from relayd.routing.tls_report import AppliedPolicy, Failure, PolicyType, ResultType, day_of

STS = AppliedPolicy(
    domain="x.example", type=PolicyType.STS, strings=("version: STSv1", "mode: testing"), mx=("*.mx.example",)
)
NONE = AppliedPolicy(domain="x.example", type=PolicyType.NONE)
EXPIRED = Failure(result=ResultType.CERTIFICATE_EXPIRED, mx="a.mx.example", receiving_ip="192.0.2.1", reason="expired")
DAY = 86400.0


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def told() -> list[Event]:
    return []


@pytest.fixture
async def results(tmp_path: Path, clock: Clock, told: list[Event]) -> AsyncIterator[TlsResults]:
    opened = await open_results(tmp_path, clock, Span(EventStream(clock, [told.append])))
    yield opened
    await opened.close()


async def test_the_report_of_a_day(results: TlsResults, clock: Clock) -> None:
    day = day_of(clock.now)
    for _ in range(3):
        results.add(STS)
    results.add(STS, EXPIRED)
    results.add(STS, EXPIRED)
    results.add(NONE, Failure(result=ResultType.STARTTLS_NOT_SUPPORTED, mx="b.mx.example"))
    await results.flush()
    results.add(STS, EXPIRED)
    assert await results.domains(day) == ["x.example"]
    found = report(
        "x.example",
        day,
        await results.of("x.example", day),
        organization="relay.example",
        contact="postmaster@relay.example",
        report_id="1",
    )
    assert found == {
        "organization-name": "relay.example",
        "date-range": {"start-datetime": "2027-01-15T00:00:00Z", "end-datetime": "2027-01-15T23:59:59Z"},
        "contact-info": "postmaster@relay.example",
        "report-id": "1",
        "policies": [
            {
                "policy": {
                    "policy-type": "sts",
                    "policy-domain": "x.example",
                    "policy-string": ["version: STSv1", "mode: testing"],
                    "mx-host": ["*.mx.example"],
                },
                "summary": {"total-successful-session-count": 3, "total-failure-session-count": 3},
                "failure-details": [
                    {
                        "result-type": "certificate-expired",
                        "receiving-mx-hostname": "a.mx.example",
                        "receiving-ip": "192.0.2.1",
                        "failure-reason-code": "expired",
                        "failed-session-count": 3,
                    }
                ],
            },
            {
                "policy": {"policy-type": "no-policy-found", "policy-domain": "x.example"},
                "summary": {"total-successful-session-count": 0, "total-failure-session-count": 1},
                "failure-details": [
                    {
                        "result-type": "starttls-not-supported",
                        "receiving-mx-hostname": "b.mx.example",
                        "failed-session-count": 1,
                    }
                ],
            },
        ],
    }


async def test_they_outlive_restarts_and_days_are_apart(results: TlsResults, tmp_path: Path, clock: Clock) -> None:
    first = day_of(clock.now)
    results.add(STS)
    clock.now += DAY
    results.add(STS)
    results.add(STS)
    await results.close()
    again = await open_results(tmp_path, clock, Span(EventStream(clock)))
    counted = [(await again.of("x.example", day))[STS].successes for day in (first, day_of(clock.now))]
    assert counted == [1, 2]
    clock.now = first + (KEEP_DAYS + 1) * DAY
    await again.flush()
    assert await again.domains(first) == []
    assert await again.domains(int(first + DAY)) == ["x.example"]
    await again.close()


async def test_the_bounds(results: TlsResults, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_results, "MAX_DETAILS", 2)
    monkeypatch.setattr(tls_results, "MAX_POLICIES", 2)
    for number in range(5):
        results.add(STS, Failure(result=ResultType.VALIDATION_FAILURE, reason=str(number)))
        await results.flush()
    day = day_of(clock.now)
    found = (await results.of("x.example", day))[STS]
    assert (found.failed, len(found.failures)) == (5, 2)
    for domain in ("y.example", "z.example"):
        results.add(AppliedPolicy(domain=domain, type=PolicyType.NONE))
        await results.flush()
    assert await results.domains(day) == ["x.example", "y.example"]


async def test_without_a_database_they_are_counted_all_the_same(tmp_path: Path, clock: Clock) -> None:
    told: list[Event] = []
    (tmp_path / FILE).mkdir()
    opened = await open_results(tmp_path, clock, Span(EventStream(clock, [told.append])))
    assert [each.kind.id for each in told] == ["store.broken"]
    opened.add(STS)
    await opened.flush()
    assert (await opened.of("x.example", day_of(clock.now)))[STS].successes == 1
    clock.now += (KEEP_DAYS + 2) * DAY
    await opened.flush()
    assert await opened.domains(day_of(clock.now - (KEEP_DAYS + 2) * DAY)) == []
    await opened.close()


async def test_whom_a_domain_wants_to_be_told() -> None:
    told: list[Event] = []
    span = Span(EventStream(lambda: 0.0, [told.append]))
    zone = Zone(
        {
            "_smtp._tls.a.example": {"TXT": ["v=TLSRPTv1; rua=mailto:t@a.example"]},
            "_smtp._tls.b.example": {"TXT": ["v=TLSRPTv1; nothing"]},
            "_smtp._tls.c.example": {"TXT": TIMEOUT},
        }
    )
    found = await reporting_record(zone, "a.example", span)
    assert found is not None
    assert found.rua == ("mailto:t@a.example",)
    with pytest.raises(BadRecord):
        await reporting_record(zone, "b.example", span)
    with pytest.raises(Temporary):
        await reporting_record(zone, "c.example", span)
    assert await reporting_record(zone, "d.example", span) is None
    assert [each.kind.id for each in told] == [
        "tls-rpt.record-fetch",
        "tls-rpt.record-fetch-error",
        "tls-rpt.record-fetch-error",
        "tls-rpt.record-not-found",
    ]
