"""The command line against a running daemon: sendmail, send, mailq, queue."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.journeys.conftest import StartRelay, message, send, wait_gone, wait_status
from tests.rig.daemon import Daemon
from tests.rig.sink import Delivery, Sink

_ROOT = Path(__file__).resolve().parents[2]

Done = subprocess.CompletedProcess[bytes]


@dataclass
class House:
    """A relay before a host that is busy for deferred.test."""

    relay: Daemon
    sink: Sink

    def run(self, *arguments: str, stdin: bytes = b"", name: str = "main") -> Done:
        """A command as relayd (`main`), `sendmail` or `mailq`, told by RELAYD_CONFIG where the daemon is."""
        program = f"import sys; from relayd.cli.program import {name}; sys.exit({name}())"
        return subprocess.run(
            [sys.executable, "-c", program, *arguments],
            input=stdin, cwd=_ROOT, capture_output=True, timeout=60, check=False,
            env={**os.environ, "RELAYD_CONFIG": str(self.relay.config)},
        )  # fmt: skip

    def says(self, *arguments: str) -> str:
        """What a command that must succeed prints."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()


@pytest.fixture(scope="module")
def house(module_relay: StartRelay) -> Iterator[House]:
    def busy(verb: str, argument: str, delivery: Delivery) -> str | None:
        return "450 4.2.1 busy" if verb == "RCPT" and "deferred.test" in argument else None

    with Sink(answer=busy) as sink:
        settings = {
            "queue.schedule.retry": ["10m"],
            "server.origin": "origin.test",
            "server.postmaster": "ops@sender.test",
            "server.aliases": ["root: ops@sender.test"],
        }
        daemon = module_relay(sink.port, settings)
        yield House(daemon, sink)


def deferred(house: House, name: str) -> str:
    """A message that waits; its id."""
    queue_id = send(house.relay, to=f"{name}@deferred.test", sender=f"{name}@sender.test")
    wait_status(house.relay, queue_id, "temp_fail")
    return queue_id


def test_sendmail_reads_the_recipients_from_the_header_and_completes_it(house: House) -> None:
    content = b"To: t@receiver.test\nBcc: hidden@receiver.test\nSubject: from cron\n\n.\nlast line\n"
    done = house.run("-t", "-i", "-f", "cron@sender.test", "-F", "Cron", stdin=content, name="sendmail")
    assert done.returncode == 0, done.stderr
    delivery = house.sink.wait_for_one(lambda each: each.return_path == "cron@sender.test")
    assert sorted(delivery.recipients) == ["hidden@receiver.test", "t@receiver.test"]
    assert b"hidden@" not in delivery.content
    for field in (b"From: Cron <cron@sender.test>", b"Date: ", b"Message-ID: <"):
        assert b"\r\n" + field in delivery.content
    assert delivery.content.endswith(b"\r\n\r\n.\r\nlast line\r\n")


def test_sendmail_qualifies_bare_names_and_local_names_go_where_they_are_sent(house: House) -> None:
    done = house.run("-f", "daemon", "root", stdin=b"Subject: report\n\nhi\n", name="sendmail")
    assert done.returncode == 0, done.stderr
    delivery = house.sink.wait_for_one(lambda each: each.return_path == "daemon@origin.test")
    assert delivery.recipients == ["ops@sender.test"]


def test_relayd_send_delivers(house: House) -> None:
    house.says("send", "--from", "cli@sender.test", "--to", "b@receiver.test", "--subject", "Hé", "--body", "Text")
    delivery = house.sink.wait_for_one(lambda each: each.return_path == "cli@sender.test")
    assert b"Text" in delivery.content


def test_sendmail_exits_75_when_no_daemon_answers(house: House, tmp_path: Path) -> None:
    config = tmp_path / "relayd.toml"
    config.write_text(f'server.data-dir = "{tmp_path}"\nserver.submit-socket = "{tmp_path}/submit.sock"\n'
                      'server.listener.smtp.bind = ["127.0.0.1:1"]\n')  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from relayd.cli.program import sendmail; sys.exit(sendmail())", "a@b.test"],
        input=message(), cwd=_ROOT, capture_output=True, timeout=60, check=False,
        env={**os.environ, "RELAYD_CONFIG": str(config)},
    )  # fmt: skip
    assert done.returncode == 75, done.stderr


def test_mailq_and_queue_list_show_what_waits(house: House) -> None:
    queue_id = deferred(house, "listed")
    done = house.run(name="mailq")
    assert done.returncode == 0
    assert b"listed@deferred.test" in done.stdout
    assert queue_id in house.says("queue", "list", "--to", "listed@")
    found = json.loads(house.says("queue", "list", "--json", "--to", "listed@"))
    assert [str(each["id"]) for each in found["items"]] == [queue_id]
    assert "Message: busy" in house.says("queue", "show", queue_id)


def test_queue_hold_release_and_delete_change_what_they_name(house: House) -> None:
    queue_id = deferred(house, "steered")
    house.says("queue", "hold", queue_id, "--reason", "wait for Jane")
    assert "wait for Jane" in house.says("queue", "show", queue_id)
    house.says("queue", "release", queue_id)
    assert "wait for Jane" not in house.says("queue", "show", queue_id)
    filters = ("--to", "steered@deferred.test")
    assert house.says("queue", "delete", *filters, "--dry-run").splitlines() == [
        "1 message would be deleted",
        f"  {queue_id}",
    ]
    house.says("queue", "delete", queue_id)
    assert "deleted" in house.says("queue", "show", queue_id)
    assert queue_id in house.says("queue", "list", "--deleted")
    assert house.says("queue", "undo", *filters) == "1 message restored\n"
    assert "deleted" not in house.says("queue", "show", queue_id)
    assert house.run("queue", "reroute", queue_id, "--next-hop", "nowhere").returncode == 65
    house.says("queue", "delete", "--purge", *filters)
    assert house.run("queue", "show", queue_id).returncode == 66


def test_queue_bounce_tells_the_sender_why(house: House) -> None:
    queue_id = deferred(house, "given-up")
    house.says("queue", "bounce", queue_id, "--reason", "the host is gone")
    report = house.sink.wait_for_one(lambda each: each.recipients == ["given-up@sender.test"])
    assert report.return_path == ""
    assert b"the host is gone" in report.content
    wait_gone(house.relay, queue_id)


def test_queue_audit_finds_every_recipient(house: House) -> None:
    assert "All accounted for." in house.says("queue", "audit")


def test_the_submit_socket_gives_no_other_right(house: House) -> None:
    socket = house.relay.data / "submit.sock"
    if not socket.exists():
        socket = Path("/run/relayd/submit.sock")
    done = subprocess.run(
        ["curl", "-s", "-m", "5", "--http0.9", "--unix-socket", str(socket), "http://x/api/queue/status"],
        capture_output=True, timeout=30, check=False,
    )  # fmt: skip
    assert b'"data"' not in done.stdout
    assert done.stdout.startswith((b"220 relay.test", b"554 "))
