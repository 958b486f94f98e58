"""What deliveries leave behind: hosts whose TLS is broken or gone, and results for TLS reports."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import pytest

from relayd.delivery.connection import Dialer
from relayd.delivery.host_policy import HostPolicies
from relayd.delivery.hosts import Hosts
from relayd.delivery.tls import TlsContexts
from relayd.delivery.tls_hosts import FILE, TlsHosts, open_hosts
from relayd.events.event import Span
from relayd.queue.message import Result
from relayd.resolver.answer import Tlsa
from relayd.resolver.zone import FORGED, Zone
from relayd.routing.mta_sts import Mode, Policy
from relayd.routing.next_hop import TlsMode
from relayd.routing.tls_report import AppliedPolicy, Collected, Failure, day_of
from tests.delivery.setting import Setting, direct, job, smarthost
from tests.delivery.test_tls_hosts import CERTIFICATES, ENFORCE, ROOT, TESTING, Policies, context, tlsa
from tests.delivery.test_tls_hosts import folder as folder  # the certificates as files
from tests.rig.peer import Script, running


class Counted:
    """Results as they are added."""

    def __init__(self) -> None:
        self.collected = Collected()

    def add(self, policy: AppliedPolicy, failure: Failure | None = None, sessions: int = 1) -> None:
        self.collected.add(policy, failure, time.time(), sessions)

    def summary(self) -> list[tuple[str, int, int, list[str]]]:
        """Type of policy, successes, failures, results."""
        return [
            (policy.type.value, each.successes, each.failed, sorted(failure.result.value for failure in each.failures))
            for policy, each in self.collected.of("x.example", day_of(time.time())).items()
        ]


class House:
    """Attempts that remember."""

    def __init__(self, folder: Path, port: int, records: Any = None, sts: Policy | None = None) -> None:
        zone: dict[str, dict[str, Any]] = {
            "x.example": {"MX": [(10, "mx.example")]},
            "mx.example": {"A": ["127.0.0.1"]},
        }
        if records is not None:
            zone[f"_{port}._tcp.mx.example"] = {"TLSA": records}
        self.made = made = Setting(zone=zone, tls=TlsContexts([str(folder / "ca.pem")]))
        self.counted = Counted()
        self.port = port
        self.resolver = Zone(zone, secure=records is not None)
        self.policies = HostPolicies(self.resolver, sts=Policies(sts))
        self.folder = folder
        self.span = Span(made.stream)

    async def open(self, directory: Path) -> TlsHosts:
        hosts = await open_hosts(directory, self.counted, time.time, self.span)
        hosts.seconds = 3600.0
        finder = Hosts(
            self.resolver,
            self.made.reuse,
            allow_private=True,
            is_self=lambda name, port: False,
            chance=lambda: 0.0,
            policies=self.policies,
            refused=hosts.refused,
        )
        dialer = Dialer("relay.example", self.made.timeouts, self.made.tls, hosts)
        road = dataclasses.replace(self.made.road, hosts=finder, dialer=dialer)
        self.made.attempts.reconfigure(road, soft_bounce=False)
        return hosts

    async def deliver(self, mode: TlsMode = TlsMode.OPPORTUNISTIC) -> Result:
        [outcome] = await self.made.run(job(), direct(self.port, tls=mode))
        await self.made.pool.close()
        self.made.pool._closed = False
        return outcome.result


async def test_broken_tls_costs_one_connection_and_not_each(folder: Path, tmp_path: Path) -> None:
    async with running(Script(broken_tls=True), tls=context(folder, "good")) as peer:
        house = House(folder, peer.port)
        hosts = await house.open(tmp_path)
        assert await house.deliver() is Result.DELIVERED
        assert peer.connections == 2  # the handshake failed, then in the clear
        assert await house.deliver() is Result.DELIVERED
        assert peer.connections == 3
        assert "STARTTLS" not in peer.commands[-1]
        assert len(house.made.stated("delivery.start-tls-disabled")) == 1
        assert await house.deliver(TlsMode.REQUIRED) is Result.DEFERRED  # never below what is demanded
        assert "STARTTLS" in peer.commands[-1]
        hosts.memory.forgive()
        assert await house.deliver() is Result.DELIVERED
        assert "STARTTLS" in peer.commands[-2]
        await hosts.close()


async def test_it_is_remembered_over_a_restart_and_off_when_told(folder: Path, tmp_path: Path) -> None:
    async with running(Script(broken_tls=True), tls=context(folder, "good")) as peer:
        house = House(folder, peer.port)
        hosts = await house.open(tmp_path)
        await house.deliver()
        await hosts.close()
        hosts = await house.open(tmp_path)
        [known] = hosts.memory
        assert (known.host, known.failures) == ("mx.example", 1)
        await house.deliver()
        assert "STARTTLS" not in peer.commands[-1]
        hosts.seconds = 0.0
        await house.deliver()
        assert "STARTTLS" in peer.commands[-2]
        await hosts.close()


async def test_a_host_that_had_tls_before_raises_an_alarm(folder: Path, tmp_path: Path) -> None:
    async with running(tls=context(folder, "good")) as peer:
        house = House(folder, peer.port)
        hosts = await house.open(tmp_path)
        await house.deliver()
        peer.tls = None
        await house.deliver()
        await house.deliver()
        [alarm] = house.made.stated("delivery.tls-gone")
        assert alarm.fields["hostname"] == "mx.example"
        assert alarm.fields["version"].startswith("TLSv1")
        assert await house.deliver(TlsMode.REQUIRED) is Result.DEFERRED
        await hosts.close()


@pytest.mark.parametrize(
    ("records", "sts", "certificate", "expected"),
    [
        (None, None, "good", [("no-policy-found", 1, 0, [])]),
        (None, None, "self-signed", [("no-policy-found", 1, 0, [])]),
        (None, None, "none", [("no-policy-found", 0, 1, ["starttls-not-supported"])]),
        (None, ENFORCE, "good", [("sts", 1, 0, [])]),
        (None, ENFORCE, "expired", [("sts", 0, 1, ["certificate-expired"])]),
        (None, ENFORCE, "none", [("sts", 0, 1, ["starttls-not-supported"])]),
        (None, TESTING, "wrong-name", [("sts", 0, 1, ["certificate-host-mismatch"])]),
        (None, TESTING, "none", [("sts", 0, 1, ["starttls-not-supported"])]),
        (
            None,
            Policy(mode=Mode.TESTING, mx=("mx2.example",), max_age=1000),
            "good",
            [("sts", 0, 1, ["validation-failure"])],
        ),
        (
            None,
            Policy(mode=Mode.ENFORCE, mx=("mx2.example",), max_age=1000),
            "good",
            [("sts", 0, 1, ["validation-failure"])],
        ),
        ([tlsa(3, CERTIFICATES["good"])], None, "good", [("tlsa", 1, 0, [])]),
        ([tlsa(3, ROOT)], None, "good", [("tlsa", 0, 1, ["validation-failure"])]),
        ([Tlsa(1, 1, 1, bytes(32))], None, "good", [("tlsa", 1, 0, [])]),
        (FORGED, None, "good", [("tlsa", 0, 1, ["dnssec-invalid"])]),
    ],
)
async def test_what_is_counted(
    folder: Path,
    tmp_path: Path,
    records: Any,
    sts: Policy | None,
    certificate: str,
    expected: list[tuple[str, int, int, list[str]]],
) -> None:
    async with running(tls=context(folder, certificate)) as peer:
        house = House(folder, peer.port, records, sts)
        hosts = await house.open(tmp_path)
        await house.deliver()
        assert house.counted.summary() == expected
        await hosts.close()


async def test_tls_from_the_first_octet_promises_no_starttls(folder: Path, tmp_path: Path) -> None:
    async with running(tls=context(folder, "good"), implicit=True) as peer:
        house = House(folder, peer.port)
        hosts = await house.open(tmp_path)
        await house.made.run(job(), smarthost(peer.port, tls=TlsMode.REQUIRED, implicit_tls=True))
        assert not len(hosts.memory)
        await house.made.pool.close()
        await hosts.close()


async def test_nobody_is_told_of_a_smarthost(folder: Path, tmp_path: Path) -> None:
    async with running(tls=context(folder, "good")) as peer:
        house = House(folder, peer.port)
        hosts = await house.open(tmp_path)
        await house.made.run(job(), smarthost(peer.port, tls=TlsMode.REQUIRED))
        assert not len(house.counted.collected)
        assert [each.host for each in hosts.memory] == ["127.0.0.1"]
        await house.made.pool.close()
        await hosts.close()


@pytest.mark.parametrize("content", [b"this is no database" * 100, b""])
async def test_a_file_that_is_no_database_costs_the_memory_and_no_mail(
    folder: Path, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / FILE).write_bytes(content)
    async with running(tls=context(folder, "good")) as peer:
        house = House(folder, peer.port)
        hosts = await house.open(tmp_path)
        assert bool(house.made.stated("store.broken")) is bool(content)
        assert await house.deliver() is Result.DELIVERED
        assert len(hosts.memory) == 1
        await hosts.flush()
        await hosts.close()
