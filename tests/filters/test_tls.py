"""TLS to filters: whose certificates are believed, and real daemons behind it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from relayd.filters.scan import Outcome, Scan
from relayd.filters.scanning import Scanners
from tests.filters.talking import Talk, Told, filter_options, milter_options, scannable, whole
from tests.mailauth.signing import pem
from tests.rig.milter_peer import MilterPeer
from tests.rig.milters import signing
from tests.rig.peers import require_program
from tests.rig.scanners import EICAR, Clamd, Rspamd, ScannerDaemon, Spamd
from tests.rig.tls_front import authority_file, in_front, server_context

AUTHORITY = trustme.CA()
STRANGER = trustme.CA()


@pytest.fixture
def trusted(tmp_path: Path) -> dict[str, Any]:
    return {"tls.enable": True, "tls.ca-files": [authority_file(AUTHORITY, tmp_path)]}


async def asked(tmp_path: Path, context: ssl.SSLContext, host: str, **given: Any) -> tuple[Talk, MilterPeer]:
    """A session with a milter behind TLS."""
    milter = MilterPeer(tmp_path / "milter")
    async with milter, in_front(milter.address, context) as port:
        return await whole(milter_options(f"{host}:{port}", **given)), milter


async def test_a_milter_is_told_everything_over_tls(tmp_path: Path, trusted: dict[str, Any]) -> None:
    found, milter = await asked(tmp_path, server_context(AUTHORITY, "localhost"), "localhost", **trusted)
    assert milter.commands().startswith("OCHMRTLLLLNBE")
    assert found.told.ids() == []
    found, milter = await asked(tmp_path, server_context(AUTHORITY, "127.0.0.1"), "127.0.0.1", **trusted)
    assert found.told.ids() == []


@pytest.mark.parametrize(
    ("authority", "name", "event", "reason"),
    [
        (AUTHORITY, "other.test", "milter.tls-invalid-name", "certificate not valid: "),
        (STRANGER, "localhost", "milter.io-error", "certificate not valid: unable to get local issuer certificate"),
    ],
)
async def test_a_certificate_that_is_not_valid_is_a_failure(
    tmp_path: Path, trusted: dict[str, Any], authority: trustme.CA, name: str, event: str, reason: str
) -> None:
    context = server_context(authority, name)
    found, milter = await asked(tmp_path, context, "localhost", **trusted)
    assert set(found.told.ids()) == {event}
    assert reason in found.told.of(event)["reason"]
    assert found.rulings["mail"] is not None
    assert not milter.seen
    found, milter = await asked(tmp_path, context, "localhost", **trusted, **{"tls.allow-invalid-certs": True})
    assert found.told.ids() == []
    assert milter.seen


async def test_one_that_speaks_no_tls_is_a_failure(tmp_path: Path, trusted: dict[str, Any]) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 no TLS here\r\n")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        found = await whole(milter_options(f"localhost:{port}", **trusted))
    assert "TLS failed" in found.told.of("milter.io-error")["reason"]


async def test_a_handshake_has_its_time(tmp_path: Path, trusted: dict[str, Any]) -> None:
    over = asyncio.Event()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    async with await asyncio.start_server(wait, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        found = await whole(milter_options(f"localhost:{port}", **trusted, **{"timeout.connect": "50ms"}))
        (scan,) = await scans("clamd", f"localhost:{port}", timeout="50ms", **trusted)
        over.set()
    assert set(found.told.ids()) == {"milter.timeout"}
    assert (scan.outcome, scan.what) == (Outcome.FAILED, "no answer in 0.05 s")


async def test_opendkim_signs_over_tls(tmp_path: Path, trusted: dict[str, Any]) -> None:
    require_program("opendkim")
    (opendkim,) = signing(tmp_path / "opendkim", "b.test", {"rsa": pem("rsa")}, "192.0.2.0/24")
    opendkim.start()
    try:
        async with in_front(opendkim.address, server_context(AUTHORITY, "localhost")) as port:
            found = await whole(milter_options(f"localhost:{port}", **trusted))
    finally:
        opendkim.stop()
    assert "milter.modified" in found.told.ids()
    assert b"DKIM-Signature: " in found.edited.block.encode()


async def scans(type: str, address: str, message: bytes = b"Subject: x\r\n\r\nx\r\n", **given: Any) -> list[Scan]:
    asked = Scanners({"it": filter_options(type, address, **given)})
    try:
        return await asked.scan(scannable(message), 30.0, Told().span)
    finally:
        await asked.close()


@pytest.fixture(scope="module", params=[Clamd, Spamd, Rspamd])
def daemon(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScannerDaemon]:
    found: ScannerDaemon = request.param(tmp_path_factory.mktemp("scanner"))
    found.start()
    yield found
    found.kill()


async def test_scanners_over_tls(daemon: ScannerDaemon, trusted: dict[str, Any]) -> None:
    type = daemon.__class__.__name__.lower()
    async with in_front(daemon.address, server_context(AUTHORITY, "localhost")) as port:
        (scan,) = await scans(type, f"localhost:{port}", **trusted)
        assert scan.outcome is not Outcome.FAILED, scan
        (scan,) = await scans(type, f"127.0.0.1:{port}", **trusted)
        assert scan.outcome is Outcome.FAILED
        assert scan.what.removeprefix("rspamd: ").startswith("certificate not valid: IP address mismatch")
        asked = Scanners({"it": filter_options(type, f"localhost:{port}", **trusted)})
        assert await asked.status(type) == {"it": ""}
        await asked.close()
        if type == "clamd":
            (scan,) = await scans(type, f"localhost:{port}", EICAR + b"\r\n", **trusted)
            assert scan.is_virus


async def test_what_was_said_before_a_write_failed_is_read(trusted: dict[str, Any]) -> None:
    listening = socket.create_server(("127.0.0.1", 0))

    def answer_at_once() -> None:
        connection, _ = listening.accept()
        with server_context(AUTHORITY, "localhost").wrap_socket(connection, server_side=True) as peer:
            peer.recv(10)
            peer.sendall(b"INSTREAM size limit exceeded. ERROR\0")

    with listening:
        answering = asyncio.get_running_loop().run_in_executor(None, answer_at_once)
        message = b"x" * (6 << 20)
        (scan,) = await scans("clamd", f"localhost:{listening.getsockname()[1]}", message, **trusted)
        await answering
    assert scan.outcome is Outcome.SKIPPED
