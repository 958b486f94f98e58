"""Outside filters around a whole relay: Debian's ClamAV, SpamAssassin, rspamd and opendkim, and a scripted milter."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import smtplib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.conftest import Proxied, StartRelay, message, send, wait_logged, wait_until
from tests.journeys.test_signing import arrived, passed, strangers
from tests.mailauth.signing import DOMAIN, pem
from tests.rig.daemon import Daemon, free_port
from tests.rig.milter_peer import GO_ON, Answer, MilterPeer, packet
from tests.rig.milters import signing
from tests.rig.scanners import EICAR, GTUBE, Clamd, Rspamd, ScannerDaemon, Spamd
from tests.rig.sink import Sink

Scanners = dict[str, ScannerDaemon]


@pytest.fixture(scope="module")
def scanners(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scanners]:
    """All three, started."""
    found: Scanners = {}
    for make in (Clamd, Spamd, Rspamd):
        name = make.__name__.lower()
        found[name] = make(tmp_path_factory.mktemp(name))
        found[name].start()
    yield found
    for each in found.values():
        each.kill()


def filters(scanners: Scanners, *names: str, **given: Any) -> dict[str, Any]:
    """Settings of filters, each named as its daemon."""
    settings: dict[str, Any] = {}
    for name in names:
        settings |= {f"filter.{name}.type": name, f"filter.{name}.address": scanners[name].address}
        settings |= {f"filter.{name}.{key}": value for key, value in given.items()}
    return settings


def refusal(daemon: Daemon, content: bytes) -> tuple[int, str]:
    """The reply to a message that is not taken."""
    with pytest.raises(smtplib.SMTPDataError) as refused:
        with smtplib.SMTP("127.0.0.1", daemon.smtp_port, "client.test", timeout=60) as client:
            client.sendmail("a@sender.test", ["b@receiver.test"], content)
    error = refused.value.smtp_error
    return refused.value.smtp_code, error.decode() if isinstance(error, bytes) else error


INFECTED = message("prices", EICAR.decode() + "\r\n")
SPAM = message("prices", GTUBE.decode() + "\r\n")


def test_a_virus_is_refused_and_spam_is_refused_held_or_marked(relay: StartRelay, scanners: Scanners) -> None:
    settings = filters(scanners, "clamd", "spamd", "rspamd")
    with Sink() as sink:
        daemon = relay(sink.port, settings)
        assert refusal(daemon, INFECTED) == (554, "5.7.1 The message carries what a virus scanner refuses")
        assert "Eicar-Test-Signature" in wait_logged(daemon, "filter.found", "clamd")
        send(daemon, SPAM)
        send(daemon, message("dinner", "see you at seven\r\n"))
        marked, clean = arrived(sink, 2)
        assert b"\r\nX-Scan-Result: spamd; spam; spam; score=" in b"\r\n" + marked.content
        assert b"\r\nX-Scan-Result: rspamd; spam; reject; score=15; required=15\r\n" in b"\r\n" + marked.content
        assert b"X-Scan-Result" not in clean.content
        daemon.data_of(
            "POST",
            "/api/settings",
            [{"type": "insert", "prefix": None, "values": [["filter.rspamd.action", "hold"]], "assert_empty": False}],
        )
        daemon.data_of("GET", "/api/reload")
        send(daemon, SPAM)
        (held,) = wait_until(daemon.queued, "a held message")
        assert held["hold"]["reason"] == "rspamd: reject"
        daemon.settings["filter.spamd.action"] = "reject"
        daemon.write_config()
        daemon.data_of("GET", "/api/reload")
        assert refusal(daemon, SPAM) == (554, "5.7.1 The message is taken for spam")
        assert daemon.audit()["difference"] == 0


def test_a_scanner_that_dies_in_the_middle_of_a_scan(relay: StartRelay, scanners: Scanners) -> None:
    """The client waits; once the scanner is dead it is told to come again, or the message is taken, as configured."""
    with Sink() as sink:
        daemon = relay(sink.port, filters(scanners, "clamd", "spamd", "rspamd"))
        for name in ("clamd", "spamd", "rspamd"):
            before = open_files(daemon)
            scanners[name].signal(signal.SIGSTOP)
            replies: list[tuple[int, str]] = []
            client = threading.Thread(target=lambda found=replies: found.append(refusal(daemon, message())))
            client.start()
            wait_until(lambda before=before: open_files(daemon) >= before + 2, "a client and a scan")  # type: ignore[misc]
            scanners[name].kill()
            client.join(60)
            assert replies == [(451, "4.7.1 The message cannot be scanned now, try again later")]
            assert "tempfail" in wait_logged(daemon, "filter.failed", name)
            scanners[name].start()
        send(daemon)
        arrived(sink)
        for key in ("clamd", "spamd", "rspamd"):
            daemon.settings[f"filter.{key}.on-failure"] = "accept"
            scanners[key].kill()
        daemon.write_config()
        daemon.data_of("GET", "/api/reload")
        send(daemon)
        arrived(sink, 2)
        for each in scanners.values():
            each.start()


def open_files(daemon: Daemon) -> int:
    """How many descriptors the daemon has."""
    return len(os.listdir(f"/proc/{daemon.pid}/fd"))


def test_opendkim_signs_and_then_dies(relay: StartRelay, tmp_path: Path) -> None:
    port = free_port()
    (milter,) = signing(tmp_path / "milters", DOMAIN, {"rsa": pem("rsa")}, "198.51.100.0/24")
    milter.start()
    content = message(From=f"Ann <ann@{DOMAIN}>", Date="Fri, 20 Nov 2026 10:00:00 +0000")
    with Sink() as sink:
        daemon = relay(sink.port, strangers(port) | {"milter.opendkim.address": milter.address})
        with Proxied(port) as client:
            client.ehlo()
            client.sendmail(f"ann@{DOMAIN}", ["b@receiver.test"], content)
            (first,) = arrived(sink)
            assert passed(first.content) == ["rsa"]
            client.mail(f"ann@{DOMAIN}")
            client.rcpt("b@receiver.test")
            os.kill(milter.pid, signal.SIGKILL)
            assert client.data(content)[0] == 451
        assert "opendkim" in wait_logged(daemon, "milter.disconnected")
        with Proxied(port) as client:
            client.ehlo()
            assert client.mail(f"ann@{DOMAIN}")[0] == 451
        milter.stop()
        (milter,) = signing(tmp_path / "again", DOMAIN, {"rsa": pem("rsa")}, "198.51.100.0/24")
        milter.start()
        daemon.settings["milter.opendkim.address"] = milter.address
        daemon.write_config()
        daemon.data_of("GET", "/api/reload")
        with Proxied(port) as client:
            client.ehlo()
            client.sendmail(f"ann@{DOMAIN}", ["b@receiver.test"], content)
        assert passed(arrived(sink, 2)[1].content) == ["rsa"]
        milter.stop()


@contextlib.contextmanager
def scripted(path: Path, **answers: Answer) -> Iterator[MilterPeer]:
    """A milter in a thread of its own."""
    milter = MilterPeer(path, {letter.encode(): answer for letter, answer in answers.items()})
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(milter.__aenter__(), loop).result(10)
    try:
        yield milter
    finally:
        asyncio.run_coroutine_threadsafe(milter.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@pytest.mark.parametrize("lines", [1, 60_000], ids=["in memory", "in a file"])
def test_what_a_milter_changes_is_what_is_signed_and_delivered(relay: StartRelay, tmp_path: Path, lines: int) -> None:
    number = b"\0\0\0\1"
    changes = [
        packet(b"h", b"X-Milter\0was here\0"), packet(b"m", number + b"Subject\0another\0"),
        packet(b"+", b"<new@receiver.test>\0"), packet(b"-", b"<gone@receiver.test>\0"),
        packet(b"e", f"<back@{DOMAIN}>\0".encode()),
    ]  # fmt: skip
    changes += [packet(b"b", b"another line of the body\r\n" * 1000)] * (lines // 1000 or 1)
    private = tmp_path / "rsa.pem"
    private.write_text(pem("rsa"))
    signature = {
        "signature.rsa.private-key": f"%{{file:{private}}}%", "signature.rsa.domain": DOMAIN,
        "signature.rsa.selector": "rsa",
    }  # fmt: skip
    content = message(
        body="a line of the body\r\n" * lines, From=f"Ann <ann@{DOMAIN}>", Date="Fri, 20 Nov 2026 10:00:00 +0000"
    )
    with Sink() as sink, scripted(tmp_path / "m", E=[*changes, GO_ON]) as milter:
        daemon = relay(
            sink.port, {"milter.it.address": milter.address, "session.data.limits.size": "100MB", **signature}
        )
        send(daemon, content, sender=f"ann@{DOMAIN}", to=["b@receiver.test", "gone@receiver.test"])
        (delivery,) = arrived(sink)
        assert delivery.return_path == f"back@{DOMAIN}"
        assert sorted(delivery.recipients) == ["b@receiver.test", "new@receiver.test"]
        head, _, body = delivery.content.partition(b"\r\n\r\n")
        assert b"\r\nSubject: another\r\n" in head
        assert head.endswith(b"\r\nX-Milter: was here")
        assert body == b"another line of the body\r\n" * max(1000, lines)
        assert passed(delivery.content) == ["rsa"]
        assert b"".join(milter.data(b"B")) == b"a line of the body\r\n" * lines
        daemon.wait_empty()
        assert daemon.audit()["difference"] == 0


def test_a_milter_refuses_one_recipient_discards_and_holds(relay: StartRelay, tmp_path: Path) -> None:
    async def rcpt(data: bytes) -> bytes:
        return packet(b"y", b"553 5.1.1 not this one\0") if b"bad@" in data else GO_ON

    async def end(data: bytes) -> bytes:
        return await verdicts.pop(0)()

    async def discard() -> bytes:
        return packet(b"d")

    async def hold() -> bytes:
        return packet(b"q", b"odd\0") + GO_ON

    async def empty() -> bytes:
        return packet(b"-", b"b@receiver.test\0") + GO_ON

    verdicts = [discard, hold, empty]
    with Sink() as sink, scripted(tmp_path / "m", R=rcpt, E=end) as milter:
        daemon = relay(sink.port, {"milter.it.address": milter.address})
        with smtplib.SMTP("127.0.0.1", daemon.smtp_port, "client.test", timeout=60) as client:
            client.ehlo()
            client.mail("a@sender.test")
            assert client.rcpt("bad@receiver.test") == (553, b"5.1.1 not this one")
            assert client.rcpt("b@receiver.test")[0] == 250
            assert client.data(message())[0] == 250
            client.sendmail("a@sender.test", ["b@receiver.test"], message())
            client.sendmail("a@sender.test", ["b@receiver.test"], message())
        (held,) = daemon.queued()
        assert held["hold"]["reason"] == "odd"
        assert daemon.audit()["difference"] == 0
        assert sink.deliveries == []
        assert "queue.discarded" in wait_logged(daemon, "queue.discarded", "took every recipient out")


def test_what_a_scanner_finds_counts_for_the_spam_score(relay: StartRelay, scanners: Scanners) -> None:
    port = free_port()
    with Sink() as sink:
        relay(sink.port, strangers(port) | filters(scanners, "clamd", action="tag") | {"spam-filter.enable": True})
        with Proxied(port) as client:
            client.ehlo()
            client.sendmail("a@sender.test", ["b@receiver.test"], INFECTED)
        (marked,) = arrived(sink)
        head = marked.content.partition(b"\r\n\r\n")[0].replace(b"\r\n\t", b" ")
        assert b"\r\nX-Scan-Result: clamd; infected; Eicar-Test-Signature" in b"\r\n" + head
        assert b"CLAM_VIRUS" in head
