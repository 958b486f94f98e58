"""Debian's clamd, spamd and rspamd: what they find, and each killed in the middle of a scan."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from relayd.filters.scan import Outcome, Scannable
from relayd.filters.scanning import Scanners
from tests.filters.talking import Told, filter_options, scannable
from tests.rig.scanners import EICAR, GTUBE, Clamd, Rspamd, ScannerDaemon, Spamd

HEAD = (
    b"Received: from client.test (client.test [192.0.2.7]) by mx.test; Mon, 30 Nov 2026 10:00:00 +0000\r\n"
    b"From: Ann <ann@a.test>\r\nTo: bob@b.test\r\nDate: Mon, 30 Nov 2026 10:00:00 +0000\r\n"
    b"Message-ID: <1@a.test>\r\nMIME-Version: 1.0\r\nSubject: dinner on friday\r\n\r\n"
)
CLEAN = HEAD + b"Shall we meet at seven? I will bring the tickets and the map that you left here.\r\n"


@pytest.fixture(scope="module", params=[Clamd, Spamd, Rspamd])
def daemon(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScannerDaemon]:
    """Each of the three, started."""
    make: Callable[[Path], ScannerDaemon] = request.param
    found = make(tmp_path_factory.mktemp("scanner"))
    found.start()
    yield found
    found.kill()


def scanners(daemon: ScannerDaemon) -> Scanners:
    return Scanners({"it": filter_options(type(daemon).__name__.lower(), daemon.address)})


async def test_it_finds_what_it_must_and_lets_the_rest_pass(daemon: ScannerDaemon) -> None:
    told = Told()
    asked = scanners(daemon)
    bad = EICAR if isinstance(daemon, Clamd) else GTUBE
    session = {"address": "192.0.2.7", "recipients": ("bob@b.test",), "helo": "client.test"}
    (found,) = await asked.scan(scannable(HEAD + bad + b"\r\n", **session), 30.0, told.span)
    (passed,) = await asked.scan(scannable(CLEAN, **session), 30.0, told.span)
    assert (found.outcome, passed.outcome) == (Outcome.FOUND, Outcome.PASSED), told.events
    assert found.is_virus is isinstance(daemon, Clamd)
    assert asked.verdict([found]).action == ("reject" if found.is_virus else "tag")
    assert "Eicar" in found.what if found.is_virus else "GTUBE" in found.symbols
    assert await asked.status(type(daemon).__name__.lower()) == {"it": ""}
    await asked.close()


async def test_killed_in_the_middle_of_a_scan(daemon: ScannerDaemon) -> None:
    """Half of the message is with it when it dies: the message is not taken for clean; the next daemon is asked."""
    told = Told()
    asked = scanners(daemon)

    async def octets() -> AsyncIterator[bytes]:
        yield CLEAN
        daemon.kill()
        for _ in range(28):
            yield b"x" * 16_384

    message = Scannable(queue_id=1, size=len(CLEAN) + 28 * 16_384, octets=octets)
    (scan,) = await asked.scan(message, 30.0, told.span)
    assert scan.outcome is Outcome.FAILED
    assert asked.verdict([scan]).reply is not None
    assert told.of("filter.failed")["policy"] == "tempfail"
    (scan,) = await asked.scan(scannable(CLEAN), 30.0, told.span)
    assert scan.outcome is Outcome.FAILED
    daemon.start()
    (scan,) = await asked.scan(scannable(CLEAN), 30.0, told.span)
    assert scan.outcome is Outcome.PASSED
    await asked.close()


async def test_clamd_says_that_a_message_is_too_large_for_it(tmp_path: Path) -> None:
    daemon = Clamd(tmp_path)
    daemon.start()
    try:
        told = Told()
        (scan,) = await scanners(daemon).scan(scannable(b"x" * (6 << 20)), 30.0, told.span)
        assert scan.outcome is Outcome.SKIPPED
    finally:
        daemon.kill()
