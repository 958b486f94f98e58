"""Keeping the data: backup of a running relay, the lock, a newer schema, an orderly stop."""

from __future__ import annotations

import contextlib
import signal
import smtplib
import socket
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.journeys.conftest import StartRelay, message, send, wait_gone, wait_logged, wait_status, wait_until
from tests.rig.daemon import Daemon
from tests.rig.postfix import free_port
from tests.rig.sink import Delivery, Sink

_ROOT = Path(__file__).resolve().parents[2]


def relayd(*arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """The command line, as an operator types it."""
    return subprocess.run(
        [sys.executable, "-m", "relayd", *arguments],
        cwd=_ROOT, capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip


def test_a_restored_backup_starts_paused_says_why_and_delivers_when_resumed(relay: StartRelay, tmp_path: Path) -> None:
    port = free_port()
    daemon = relay(port, {"queue.schedule.retry": ["10m"]})
    queue_id = send(daemon)
    large = send(daemon, message("large", "x" * 70 + "\r\n" + "0123456789\r\n" * 20_000))
    wait_status(daemon, queue_id, "temp_fail")
    done = relayd("backup", "--config", str(daemon.config), str(tmp_path / "copy"))
    assert done.returncode == 0, done.stderr
    daemon.kill()
    copy = relay(port, {"server.data-dir": str(tmp_path / "copy")})
    detail = copy.data_of("GET", "/api/queue/status?detail=1")
    assert detail["running"] is False
    assert "backup" in detail["reason"]
    assert {str(each["id"]) for each in copy.queued()} == {queue_id, large}
    listed = relayd("queue", "list", "--config", str(copy.config))
    assert "backup" in listed.stdout
    with Sink(port=port) as sink:
        assert relayd("queue", "resume", "--config", str(copy.config)).returncode == 0
        assert relayd("queue", "retry", "--config", str(copy.config), "--to", "b@receiver.test").returncode == 0
        assert sorted(len(each.content) > 100_000 for each in sink.wait_for(2)) == [False, True]
        copy.wait_empty()
        assert copy.audit()["difference"] == 0


def test_a_second_daemon_on_the_same_data_is_refused(relay: StartRelay, tmp_path: Path) -> None:
    first = relay()
    second = Daemon(tmp_path / "second", {"server.data-dir": str(first.data)})
    second.start(wait=False)
    assert second.process is not None
    assert second.process.wait(30) == 75
    assert "in use" in second.output.read_text()
    assert first.request("GET", "/healthz/ready")[0] == 200


def test_a_newer_schema_exits_78_and_is_not_touched(relay: StartRelay) -> None:
    daemon = relay()
    daemon.stop()
    with contextlib.closing(sqlite3.connect(daemon.data / "queue.db")) as database:
        database.execute("PRAGMA user_version = 999")
        database.commit()
    before = {each.name: each.read_bytes() for each in daemon.data.glob("queue.db*")}
    daemon.start(wait=False)
    assert daemon.process is not None
    assert daemon.process.wait(30) == 78
    assert "999" in daemon.output.read_text()
    assert {each.name: each.read_bytes() for each in daemon.data.glob("queue.db*")} == before


def test_a_stopping_daemon_finishes_what_is_past_data_and_turns_idle_sessions_away(relay: StartRelay) -> None:
    with Sink() as sink:
        daemon = relay(sink.port)
        with (
            smtplib.SMTP("127.0.0.1", daemon.smtp_port, "idle.test", timeout=30) as idle,
            smtplib.SMTP("127.0.0.1", daemon.smtp_port, "busy.test", timeout=30) as busy,
        ):
            idle.ehlo()
            busy.ehlo()
            busy.mail("a@sender.test")
            busy.rcpt("b@receiver.test")
            assert busy.docmd("DATA")[0] == 354
            busy.send(message()[:40])
            daemon.signal(signal.SIGTERM)
            assert idle.getreply()[0] == 421
            with pytest.raises(OSError):
                wait_until(lambda: socket.create_connection(("127.0.0.1", daemon.smtp_port), 1).close(), "refused", 5)
            busy.send(message()[40:] + b".\r\n")
            assert busy.getreply()[0] == 250
            with contextlib.suppress(smtplib.SMTPServerDisconnected):
                assert busy.docmd("MAIL", "FROM:<a@sender.test>")[0] == 421
        assert daemon.process is not None
        assert daemon.process.wait(30) == 0
        if not sink.deliveries:  # taken in while it stopped: delivered at the next start
            daemon.start()
        (delivery,) = sink.wait_for(1)
        assert delivery.recipients == ["b@receiver.test"]


def test_a_delivery_in_flight_is_finished_and_settled_before_the_stop(relay: StartRelay) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def slowly(verb: str, argument: str, delivery: Delivery) -> str | None:
        if verb == ".":
            reached.set()
            assert go_on.wait(30)
        return None

    with Sink(answer=slowly) as sink:
        daemon = relay(sink.port)
        send(daemon)
        assert reached.wait(30)
        daemon.signal(signal.SIGTERM)
        wait_logged(daemon, "server.shutdown")
        go_on.set()
        assert daemon.process is not None
        assert daemon.process.wait(30) == 0
        daemon.start()
        assert daemon.queued() == []
        assert daemon.audit()["delivered"] == 1
        assert len(sink.deliveries) == 1


def test_cancelled_recipients_are_not_delivered(relay: StartRelay) -> None:
    port = free_port()
    daemon = relay(port, {"queue.schedule.retry": ["10m"]})
    queue_id = send(daemon, to=["keep@receiver.test", "drop@receiver.test"])
    wait_status(daemon, queue_id, "temp_fail")
    done = relayd("queue", "delete", "--config", str(daemon.config), queue_id, "--recipient-filter", "drop@")
    assert done.returncode == 0, done.stderr
    with Sink(port=port) as sink:
        assert relayd("queue", "retry", "--config", str(daemon.config), queue_id).returncode == 0
        (delivery,) = sink.wait_for(1)
        assert delivery.recipients == ["keep@receiver.test"]
        wait_gone(daemon, queue_id)
        assert daemon.audit()["difference"] == 0
