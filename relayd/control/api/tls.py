"""The TLS of hosts: what is remembered of them, and what came of the sessions by domain and day; ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NotRequired, TypedDict

from relayd.control.answers import Failure, Problem
from relayd.control.queries import FLAG, TEXT, PageQuery, parameter
from relayd.control.routes import Call, Route
from relayd.delivery.tls_hosts import TlsHosts
from relayd.events import manage
from relayd.reports.tls_results import TlsResults, report
from relayd.routing.tls_memory import HostTls
from relayd.routing.tls_report import day_of
from relayd.telemetry.render import rfc3339

AREA = "tls"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostQuery(PageQuery):
    """Which hosts."""

    text: str | None = parameter(TEXT, "What the name must hold.")
    broken: bool = parameter(FLAG, "Only those whose TLS is not tried now (broken=1).")
    gone: bool = parameter(FLAG, "Only those that had TLS and were last found without (gone=1).")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultQuery:
    """Of which day."""

    day: str | None = parameter(TEXT, "The UTC day, 2026-11-30; today by default.")


class HostItem(TypedDict):
    """One host; times as RFC 3339, null for never.

    secured: when TLS was last active, to the day; version: of it.  brokenSince, brokenUntil, reason, failures: why TLS
    is not tried where it may be left out.  gone: when it was found without STARTTLS though it had it before.
    """

    host: str
    secured: str | None
    version: str
    brokenSince: str | None
    brokenUntil: str | None
    reason: str
    failures: int
    gone: str | None


class HostList(TypedDict):
    """What is remembered, the latest first."""

    items: list[HostItem]
    total: int


DateRange = TypedDict("DateRange", {"start-datetime": str, "end-datetime": str})

AppliedValue = TypedDict(
    "AppliedValue",
    {
        "policy-type": str,
        "policy-domain": str,
        "policy-string": NotRequired[list[str]],
        "mx-host": NotRequired[list[str]],
    },
)

SummaryValue = TypedDict("SummaryValue", {"total-successful-session-count": int, "total-failure-session-count": int})

FailureValue = TypedDict(
    "FailureValue",
    {
        "result-type": str,
        "sending-mta-ip": NotRequired[str],
        "receiving-mx-hostname": NotRequired[str],
        "receiving-mx-helo": NotRequired[str],
        "receiving-ip": NotRequired[str],
        "failure-reason-code": NotRequired[str],
        "failed-session-count": int,
    },
)

PolicyValue = TypedDict(
    "PolicyValue", {"policy": AppliedValue, "summary": SummaryValue, "failure-details": list[FailureValue]}
)

ReportValue = TypedDict(
    "ReportValue",
    {
        "organization-name": str,
        "date-range": DateRange,
        "contact-info": str,
        "report-id": str,
        "policies": list[PolicyValue],
    },
)
"""A report as RFC 8460 §4.4 has it."""


class TlsOperations:
    """The handlers.  clock: Unix time; hostname: ours, in reports.  contact: an address of ours."""

    def __init__(
        self,
        hosts: TlsHosts | None,
        results: TlsResults | None,
        clock: Callable[[], float],
        hostname: Callable[[], str],
    ) -> None:
        self._hosts = hosts
        self._results = results
        self._clock = clock
        self._hostname = hostname

    def routes(self) -> Iterator[Route]:
        """Every operation of the area."""
        yield Route(
            method="GET",
            path="/tls/hosts",
            permission="message-queue-list",
            handler=self.hosts,
            summary="What is remembered of the TLS of hosts",
            area=AREA,
            query=HostQuery,
            answer=HostList,
        )
        yield Route(
            method="DELETE",
            path="/tls/hosts/{host}",
            permission="message-queue-update",
            handler=self.forget,
            summary="Forget what is known of a host's TLS",
            area=AREA,
            answer=bool,
        )
        yield Route(
            method="POST",
            path="/tls/hosts/retry",
            permission="message-queue-update",
            handler=self.forgive,
            summary="Try TLS again with every host whose TLS counts as broken; how many those are",
            area=AREA,
            answer=int,
        )
        yield Route(
            method="GET",
            path="/tls/results",
            permission="outgoing-report-list",
            handler=self.domains,
            summary="The domains with results of TLS sessions of a day",
            area=AREA,
            query=ResultQuery,
            answer=list[str],
        )
        yield Route(
            method="GET",
            path="/tls/results/{domain}",
            permission="outgoing-report-get",
            handler=self.results,
            summary="What a domain would be told of a day's TLS sessions (RFC 8460)",
            area=AREA,
            query=ResultQuery,
            answer=ReportValue,
        )

    async def hosts(self, call: Call) -> HostList:
        """The hosts that fit, the latest first."""
        query: HostQuery = call.query
        now = self._clock()
        known = reversed(list(self._hosts.memory)) if self._hosts is not None else []
        found = [
            each
            for each in known
            if (not query.text or query.text.lower() in each.host)
            and (not query.broken or each.is_broken(now))
            and (not query.gone or each.gone)
        ]
        end = query.offset + query.size if query.size is not None else None
        return HostList(items=[_item(each) for each in found[query.offset : end]], total=len(found))

    async def forget(self, call: Call) -> bool:
        """As if the host had never been met."""
        host = call.path["host"].lower()
        if self._hosts is None or not self._hosts.memory.forget(host):
            raise Failure("notFound", item=host)
        await self._hosts.flush()
        manage.ACTION(
            call.span, account_name=call.caller.name, type_="forget-tls-host", details=host, total=1, reason=""
        )
        return True

    async def forgive(self, call: Call) -> int:
        """TLS is tried again everywhere."""
        if self._hosts is None:
            return 0
        total = self._hosts.memory.forgive()
        await self._hosts.flush()
        manage.ACTION(
            call.span, account_name=call.caller.name, type_="retry-tls-hosts", details="", total=total, reason=""
        )
        return total

    async def domains(self, call: Call) -> list[str]:
        """In alphabetical order."""
        return [] if self._results is None else await self._results.domains(self._day(call.query))

    async def results(self, call: Call) -> dict[str, Any]:
        """The report as it stands."""
        domain, day = call.path["domain"].lower(), self._day(call.query)
        found = {} if self._results is None else await self._results.of(domain, day)
        if not found:
            raise Failure("notFound", item=domain)
        hostname = self._hostname()
        return report(
            domain,
            day,
            found,
            organization=hostname,
            contact=f"postmaster@{hostname}",
            report_id=f"{datetime.fromtimestamp(day, UTC):%Y-%m-%d}.{domain}@{hostname}",
        )

    def _day(self, query: ResultQuery) -> int:
        if query.day is None:
            return day_of(self._clock())
        try:
            return int(datetime.strptime(query.day, "%Y-%m-%d").replace(tzinfo=UTC).timestamp())
        except ValueError:
            raise Problem(400, "Invalid parameters", "day: expected a day as 2026-11-30") from None


def _item(host: HostTls) -> HostItem:
    def shown(at: float) -> str | None:
        return rfc3339(at) if at else None

    return HostItem(
        host=host.host,
        secured=shown(host.secured),
        version=host.version,
        brokenSince=shown(host.broken_since),
        brokenUntil=shown(host.broken_until),
        reason=host.reason,
        failures=host.failures,
        gone=shown(host.gone),
    )
