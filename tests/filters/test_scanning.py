"""Scanners side by side: what their answers come to, and every way in which they fail; scripted peers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from relayd.filters.circuit import Circuit
from relayd.filters.options import FilterOptions
from relayd.filters.scan import Outcome, Scan, Scannable
from relayd.filters.scanning import Scanners
from tests.filters.talking import Told, filter_options, scannable

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
MESSAGE = b"Subject: hello\r\n\r\nhello\r\n"


@asynccontextmanager
async def serving(path: Path, serve: Serve) -> AsyncIterator[str]:
    """A peer on a Unix socket; its address."""

    talks: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talks[task] = writer
        try:
            await serve(reader, writer)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        except (OSError, EOFError):
            pass
        finally:
            writer.transport.abort()
            del talks[task]

    server = await asyncio.start_unix_server(handle, path)
    try:
        yield f"unix:{path}"
    finally:
        server.close()
        for writer in talks.values():
            writer.transport.abort()
        await asyncio.gather(*talks)


def saying(answer: bytes, first: bytes = b"") -> Serve:
    """Reads until `first` has come (or anything), then says this and closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await (reader.readuntil(first) if first else reader.read(1))
        writer.write(answer)

    return serve


async def hanging(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Takes everything and says nothing, until the other side is gone."""
    while await reader.read(1 << 16):
        pass
    while True:
        writer.write(b"")
        await writer.drain()
        if writer.is_closing():
            return
        await asyncio.sleep(0.005)


def http(body: bytes, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


async def scanned(told: Told, *options: FilterOptions, message: bytes = MESSAGE, budget: float = 10.0) -> list[Scan]:
    scanners = Scanners({chr(ord("a") + number): each for number, each in enumerate(options)})
    try:
        return await scanners.scan(scannable(message), budget, told.span)
    finally:
        await scanners.close()


CLAMD_END, RSPAMD_END = b"\0\0\0\0", b"0\r\n\r\n"


@pytest.mark.parametrize(
    ("type", "answer", "outcome", "what"),
    [
        ("clamd", b"stream: OK\0", Outcome.PASSED, ""),
        ("clamd", b"stream: Eicar FOUND\0", Outcome.FOUND, "Eicar"),
        ("clamd", b"INSTREAM size limit exceeded. ERROR\0", Outcome.SKIPPED, ""),
        ("clamd", b"stream: broken ERROR\0", Outcome.FAILED, "clamd: broken ERROR"),
        ("clamd", b"", Outcome.FAILED, None),
        ("clamd", b"stream: OK", Outcome.FAILED, None),
        ("clamd", b"x" * 100_000, Outcome.FAILED, "clamd's answer is longer than 4096 octets"),
        ("spamd", b"SPAMD/1.1 0 EX_OK\r\nSpam: False ; 1.0 / 5.0\r\nContent-length: 1\r\n\r\nA", Outcome.PASSED, ""),
        ("spamd", b"SPAMD/1.1 0 EX_OK\r\nContent-length: 3\r\nSpam: True ; 9 / 5\r\n\r\nA,B", Outcome.FOUND, "spam"),
        ("spamd", b"SPAMD/1.1 74 EX_IOERR\r\n\r\n", Outcome.FAILED, "spamd: EX_IOERR"),
        ("spamd", b"SPAMD/1.1 0 EX_OK\r\nContent-length: 30\r\nSpam: True ; 9 / 5\r\n\r\nA", Outcome.FAILED, None),
        ("spamd", b"SPAMD/1.1 0 EX_OK\r\nContent-length: 0\r\n\r\n", Outcome.FAILED, "spamd's answer has no verdict"),
        ("spamd", b"HTTP/1.1 400 Bad\r\n\r\n", Outcome.FAILED, "spamd: 'HTTP/1.1 400 Bad' is no answer"),
        ("spamd", b"", Outcome.FAILED, "spamd closed the connection without an answer"),
        ("rspamd", http(b'{"action":"no action","score":1.5,"required_score":15}'), Outcome.PASSED, ""),
        ("rspamd", http(b'{"action":"reject","score":20,"symbols":{"X":{"score":3}}}'), Outcome.FOUND, "reject"),
        ("rspamd", http(b'{"action":"soft reject"}'), Outcome.NOT_NOW, "soft reject"),
        ("rspamd", http(b'{"error":"too long"}'), Outcome.FAILED, "rspamd: too long"),
        ("rspamd", http(b"{"), Outcome.FAILED, "rspamd's answer is no JSON"),
        ("rspamd", http(b"[" * 100_000), Outcome.FAILED, "rspamd's answer is no JSON"),
        ("rspamd", http(b"no", "500 Oops"), Outcome.FAILED, "rspamd: HTTP 500"),
        ("rspamd", b"garbage\r\n\r\n", Outcome.FAILED, None),
        ("rspamd", http(b"x" * (5 << 20)), Outcome.FAILED, "rspamd's answer is longer than 4194304 octets"),
        ("rspamd", b"", Outcome.FAILED, None),
    ],
)
async def test_what_an_answer_comes_to(
    tmp_path: Path, type: str, answer: bytes, outcome: Outcome, what: str | None
) -> None:
    told = Told()
    first = {"clamd": CLAMD_END, "spamd": b"hello\r\n", "rspamd": b"hello\r\n"}[type]
    async with serving(tmp_path / "s", saying(answer, first)) as address:
        (scan,) = await scanned(told, filter_options(type, address))
    assert scan.outcome is outcome
    assert what is None or scan.what == what
    said = {"passed": "passed", "found": "found", "not-now": "found", "skipped": "skipped", "failed": "failed"}
    assert told.ids() == [f"filter.{said[outcome.value]}"]


async def test_symbols_and_scores_are_kept(tmp_path: Path) -> None:
    answer = b"SPAMD/1.1 0 EX_OK\r\nContent-length: 8\r\nSpam: True ; 9.5 / 5.0\r\n\r\nONE,TWO\n"
    async with serving(tmp_path / "s", saying(answer, b"hello\r\n")) as address:
        (scan,) = await scanned(Told(), filter_options("spamd", address, user="nobody"))
    assert (scan.score, scan.required, list(scan.symbols)) == (9.5, 5.0, ["ONE", "TWO"])


async def test_all_are_asked_at_the_same_time(tmp_path: Path) -> None:
    """Each answers only when all have been asked."""
    asked = 0
    all_asked = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        await reader.readuntil(CLAMD_END)
        asked += 1
        if asked == 3:
            all_asked.set()
        await all_asked.wait()
        writer.write(b"stream: OK\0")

    async with serving(tmp_path / "s", serve) as address:
        scans = await scanned(Told(), *[filter_options("clamd", address)] * 3)
    assert [each.outcome for each in scans] == [Outcome.PASSED] * 3
    assert [each.id for each in scans] == ["a", "b", "c"]


@pytest.mark.parametrize("type", ["clamd", "spamd", "rspamd"])
async def test_one_that_hangs_costs_its_time_and_no_more(tmp_path: Path, type: str) -> None:
    told = Told()
    async with serving(tmp_path / "s", hanging) as address:
        (scan,) = await scanned(told, filter_options(type, address, timeout="20ms"))
        (by_budget,) = await scanned(told, filter_options(type, address), budget=0.02)
    assert (scan.outcome, scan.what) == (Outcome.FAILED, "no answer in 0.02 s")
    assert (by_budget.outcome, by_budget.what) == (Outcome.FAILED, "no answer in 0.02 s")


async def test_a_large_message_is_not_given_to_it() -> None:
    told = Told()
    (scan,) = await scanned(told, filter_options("clamd", "unix:/nowhere", **{"max-size": 5}))
    assert scan.outcome is Outcome.SKIPPED
    assert told.of("filter.skipped")["limit"] == 5


async def test_a_body_that_cannot_be_read_is_a_failure(tmp_path: Path) -> None:
    under_way = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(11)
        under_way.set()
        await reader.read()

    async def broken() -> AsyncIterator[bytes]:
        yield b"x"
        await under_way.wait()
        raise RuntimeError("gone")

    async with serving(tmp_path / "s", serve) as address:
        scanners = Scanners({"a": filter_options("clamd", address)})
        (scan,) = await scanners.scan(Scannable(queue_id=1, size=10, octets=broken), 10.0, Told().span)
    assert (scan.outcome, scan.what) == (Outcome.FAILED, "RuntimeError: gone")


@pytest.mark.parametrize(("type", "largest"), [("clamd", 25 << 20), ("rspamd", 25 << 20), ("spamd", 500 << 10)])
def test_how_much_each_is_given(type: str, largest: int) -> None:
    assert filter_options(type, "h:1").largest == largest
    assert filter_options(type, "h:1", **{"max-size": "1MB"}).largest == 1 << 20


async def test_the_breaker_opens_and_closes_again(tmp_path: Path) -> None:
    told = Told()
    now = 0.0
    options = filter_options(
        "clamd", f"unix:{tmp_path}/s", **{"breaker.failures": 2, "breaker.pause": "10s", "on-failure": "accept"}
    )
    scanners = Scanners({"a": options}, clock=lambda: now)
    for _ in range(3):
        await scanners.scan(scannable(MESSAGE), 10.0, told.span)
    assert told.ids() == ["filter.failed", "filter.suspended", "filter.failed", "filter.failed"]
    assert "not asked now" in told.of("filter.failed")["reason"]
    now = 11.0
    async with serving(tmp_path / "s", saying(b"stream: OK\0", CLAMD_END)):
        (scan,) = await scanners.scan(scannable(MESSAGE), 10.0, told.span)
    assert scan.outcome is Outcome.PASSED
    assert told.ids()[-2:] == ["filter.resumed", "filter.passed"]


def test_a_circuit_lets_one_try_while_it_is_open() -> None:
    circuit = Circuit(2, 10.0)
    assert not circuit.failed(0.0)
    assert circuit.failed(0.0)
    assert not circuit.may_try(9.0)
    assert circuit.may_try(10.0)
    assert not circuit.may_try(10.0)
    circuit.gave_up()
    assert circuit.may_try(10.0)
    assert not circuit.failed(10.0)
    assert not circuit.may_try(19.0)
    assert circuit.may_try(20.0)
    assert circuit.succeeded()
    assert circuit.may_try(20.0)
    never = Circuit(0, 10.0)
    assert not any(never.failed(0.0) for _ in range(100))


def scan(outcome: Outcome, id: str = "a", **given: Any) -> Scan:
    return Scan(outcome=outcome, id=id, what="x", **given)


@pytest.mark.parametrize(
    ("given", "scan", "action", "code"),
    [
        ({}, scan(Outcome.PASSED), "tag", None),
        ({}, scan(Outcome.SKIPPED), "tag", None),
        ({}, scan(Outcome.FOUND, is_virus=True), "reject", 554),
        ({}, scan(Outcome.FOUND), "tag", None),
        ({"action": "reject"}, scan(Outcome.FOUND), "reject", 554),
        ({"action": "hold"}, scan(Outcome.FOUND, is_virus=True), "hold", None),
        ({"action": "discard"}, scan(Outcome.FOUND), "discard", None),
        ({}, scan(Outcome.NOT_NOW), "tag", None),
        ({"action": "reject"}, scan(Outcome.NOT_NOW), "defer", 451),
        ({}, scan(Outcome.FAILED), "defer", 451),
        ({"on-failure": "accept"}, scan(Outcome.FAILED), "tag", None),
    ],
)
def test_what_becomes_of_the_message(given: dict[str, Any], scan: Scan, action: str, code: int | None) -> None:
    verdict = Scanners({"a": filter_options("spamd", "127.0.0.1:1", **given)}).verdict([scan])
    assert verdict.action == action
    assert (None if verdict.reply is None else verdict.reply.code) == code


def test_the_sternest_counts() -> None:
    scanners = Scanners(
        {id: filter_options("spamd", "127.0.0.1:1", action=id) for id in ("hold", "discard", "reject", "tag")}
    )
    found = [scan(Outcome.FOUND, id) for id in ("hold", "reject", "discard", "tag")]
    assert scanners.verdict(found).action == "reject"
    assert scanners.verdict([found[0], found[2]]).action == "discard"
    assert scanners.verdict([found[0], found[2], scan(Outcome.FAILED, "tag")]).action == "defer"


async def test_a_reload_keeps_what_stays_as_it_was() -> None:
    options = filter_options("clamd", "unix:/nowhere", **{"breaker.failures": 1, "breaker.pause": "1h"})
    scanners = Scanners({"a": options})
    told = Told()
    await scanners.scan(scannable(MESSAGE), 1.0, told.span)
    scanners.reconfigure({"a": options, "b": options})
    await scanners.scan(scannable(MESSAGE), 1.0, told.span)
    reasons = [each.fields["reason"] for each in told.events if each.kind.id == "filter.failed"]
    assert [("not asked" in each) for each in reasons] == [False, True, False]
    scanners.reconfigure({"a": filter_options("clamd", "unix:/nowhere", enabled=False)})
    assert not scanners
