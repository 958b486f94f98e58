"""`relayd check --live`: what each look finds, with the outside played."""

from __future__ import annotations

import datetime
import os
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trustme

from relayd.cli.live import (
    Finding,
    NoAnswer,
    Outside,
    look,
    look_at_clock,
    look_at_disk,
    look_at_names,
    look_at_port,
    look_at_resolver,
    look_at_sources,
    sync_time,
)
from relayd.cli.live_certificates import look_at_certificates
from relayd.config.configuration import Config
from relayd.config.load import load


@dataclass
class World(Outside):
    """An outside in dictionaries; what is not in them does not answer."""

    records: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    greetings: dict[tuple[str, int], str] = field(default_factory=dict)
    addresses: list[str] = field(default_factory=list)

    def resolve(self, name: str, kind: str) -> list[str]:
        if name.endswith(".invalid"):
            return self.records.get(("*.invalid", kind), [])
        if (name, kind) not in self.records:
            raise NoAnswer(f"{name} {kind}: timed out")
        return self.records[name, kind]

    def greeting(self, host: str, port: int) -> str:
        if (host, port) not in self.greetings:
            raise NoAnswer("Connection timed out")
        return self.greetings[host, port]

    def own_addresses(self) -> list[str]:
        return self.addresses


Make = Callable[[str], Config]


@pytest.fixture
def config(tmp_path: Path) -> Make:
    def make(text: str = "") -> Config:
        path = tmp_path / "relayd.toml"
        head = f'server.hostname = "mx.example.org"\nserver.data-dir = "{tmp_path}/data"\n'
        path.write_text(head + text, encoding="utf-8")
        return load(path, environ={})

    return make


PTR = ("34.216.184.93.in-addr.arpa", "PTR")


@pytest.mark.parametrize(
    ("records", "state", "text"),
    [
        ({PTR: ["mx.example.org."], ("mx.example.org", "A"): ["93.184.216.34"]}, "ok", "both ways"),
        ({PTR: []}, "fail", "has no reverse name"),
        ({PTR: ["mx.example.org."], ("mx.example.org", "A"): ["192.0.2.1"]}, "fail", "does not point back"),
        ({PTR: ["other.example."], ("other.example", "A"): ["93.184.216.34"]}, "warn", "EHLO says mx.example.org"),
        ({}, "fail", "timed out"),
    ],
)
def test_names(records: dict[tuple[str, str], list[str]], state: str, text: str, config: Make) -> None:
    (finding,) = look_at_names(config(""), World(records, {}, ["93.184.216.34"]))
    assert (finding.state, finding.subject) == (state, "PTR")
    assert text in finding.text


def test_behind_nat_the_name_cannot_be_told(config: Make) -> None:
    (finding,) = look_at_names(config(""), World(addresses=["10.0.0.1"]))
    assert finding.state == "warn"
    assert "private" in finding.text


MX = {("gmail.com", "MX"): ["20 b.example.", "10 a.example."]}


@pytest.mark.parametrize(
    ("greetings", "state"),
    [({("a.example", 25): "220 hi"}, "ok"), ({("a.example", 25): "554 go away"}, "warn"), ({}, "fail")],
)
def test_port_25(greetings: dict[tuple[str, int], str], state: str, config: Make) -> None:
    (finding,) = look_at_port(config(""), World(MX, greetings), None)
    assert (finding.state, finding.subject) == (state, "port 25 out")


def test_a_target_of_the_operator_s(config: Make) -> None:
    (finding,) = look_at_port(config(""), World(greetings={("h.example", 2525): "220 hi"}), "h.example:2525")
    assert finding.state == "ok"


def test_routes_are_tried_instead_of_port_25_where_all_mail_goes_by_them(config: Make) -> None:
    text = 'queue.outbound.next-hop = "a"\nqueue.route.a.address = "h.example"\nqueue.route.a.port = 587\n'
    (good,) = look_at_port(config(text), World(greetings={("h.example", 587): "220 hi"}), None)
    (bad,) = look_at_port(config(text), World(), None)
    assert (good.state, good.subject) == ("ok", "route a")
    assert bad.state == "fail"


def test_the_resolver(config: Make) -> None:
    assert [each.state for each in look_at_resolver(World(MX))] == ["ok"]
    assert [each.state for each in look_at_resolver(World())] == ["fail"]
    (lying,) = look_at_resolver(World({**MX, ("*.invalid", "A"): ["192.0.2.1"]}))
    assert (lying.state, "invents" in lying.text) == ("fail", True)


def _certificate(directory: Path, names: tuple[str, ...] = ("mx.example.org",), days: int = 90) -> tuple[Path, Path]:
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    issued = trustme.CA().issue_cert(*names, not_before=now - 100 * day, not_after=now + days * day)
    cert, key = directory / "c.pem", directory / "k.pem"
    cert.write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    return cert, key


@pytest.mark.parametrize(
    ("names", "days", "state", "text"),
    [
        (("mx.example.org",), 90, "ok", "names mx.example.org"),
        (("*.example.org",), 90, "ok", "names mx.example.org"),
        (("other.example",), 90, "warn", "does not name mx.example.org"),
        (("mx.example.org",), 5, "warn", "expires on"),
        (("mx.example.org",), -5, "fail", "expired on"),
    ],
)
def test_certificates(names: tuple[str, ...], days: int, state: str, text: str, config: Make, tmp_path: Path) -> None:
    cert, key = _certificate(tmp_path, names, days)
    loaded = config(f'certificate.a.cert = "{cert}"\ncertificate.a.private-key = "{key}"\n')
    (finding,) = look_at_certificates(loaded, time.time())
    assert finding.state == state
    assert text in finding.text


def test_a_key_of_another_certificate_and_no_certificate(config: Make, tmp_path: Path) -> None:
    cert, key = _certificate(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    _, another = _certificate(other)
    loaded = config(f'certificate.a.cert = "{cert}"\ncertificate.a.private-key = "{key}"\n')
    key.write_bytes(another.read_bytes())  # between reading the file and looking: before, it is an error of the file
    (finding,) = look_at_certificates(loaded, time.time())
    assert "do not belong together" in finding.text
    cert.write_text("nonsense", encoding="utf-8")
    (finding,) = look_at_certificates(loaded, time.time())
    assert finding.state == "fail"
    (none,) = look_at_certificates(config(""), time.time())
    assert none.state == "warn"


def test_the_clock(tmp_path: Path) -> None:
    now = time.time()
    assert [each.state for each in look_at_clock(tmp_path, now)] != ["fail"]
    future = tmp_path / "queue.db"
    future.touch()
    os.utime(future, (now + 3600, now + 3600))
    (finding,) = look_at_clock(tmp_path, now)
    assert finding.state == "fail"
    assert "behind the newest file" in finding.text


def test_the_disk(tmp_path: Path) -> None:
    room, sync = look_at_disk(tmp_path / "not" / "yet", 1)
    assert room.state == "ok"
    assert "a synced write takes" in sync.text
    room, _ = look_at_disk(tmp_path, 1 << 62)
    assert room.state == "fail"
    assert "queue.min-free" in room.hint
    assert 0 < sync_time(tmp_path, 1) < 60


def test_everything_together(config: Make) -> None:
    findings = look(config(""), None, World(MX, {("a.example", 25): "220 hi"}))
    assert all(isinstance(each, Finding) for each in findings)
    assert {"port 25 out", "resolver", "certificate", "clock", "disk"} <= {each.subject for each in findings}


def test_a_real_host_that_does_not_listen_and_one_that_greets() -> None:
    with pytest.raises(NoAnswer):
        Outside().greeting("127.0.0.1", _closed_port())
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(Outside().greeting, "127.0.0.1", server.getsockname()[1])
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"220 relay.test\r\n250")
        assert asked.result(10) == "220 relay.test"


def test_the_configured_resolver_is_asked_and_its_silence_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relayd.cli.live._TIMEOUT", 0.2)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        with pytest.raises(NoAnswer):
            Outside((f"udp://127.0.0.1:{server.getsockname()[1]}",)).resolve("a.example", "MX")
        assert b"\x07example" in server.recv(512)


def _closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_sources_are_addresses_of_this_machine(config: Make) -> None:
    sources = config(
        'queue.source.here.address = "127.0.0.9"\nqueue.source.away.address = "192.0.2.1"\n'
        'queue.source.six.address-v6 = "::1"\n'
    )
    found = {each.subject: (each.state, each.text) for each in look_at_sources(sources, World())}
    assert found["source here"][0] == "warn"
    assert found["source away"] == ("fail", "192.0.2.1 cannot be used: Cannot assign requested address")
    assert found["source six"][0] == "warn"
