"""Held mail at a whole relay: looked at and decided about from the command line, and what the postmaster is told."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time

from tests.journeys.conftest import StartRelay, message, send, wait_until
from tests.rig.daemon import Daemon
from tests.rig.sink import Sink

HOLD = {"access.odd.sender": ["a@sender.test"], "access.odd.action": "hold", "access.odd.text": "looks odd"}


def relayd(daemon: Daemon, *arguments: str) -> str:
    """What a command prints."""
    command = [sys.executable, "-m", "relayd", *arguments, "--config", str(daemon.config)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


def test_shown_released_and_deleted(relay: StartRelay) -> None:
    with Sink() as sink:
        daemon = relay(sink.port, HOLD)
        assert relayd(daemon, "quarantine", "list") == "Nothing is held\n"
        first, second = send(daemon, message("one")), send(daemon, message("two", body="<b>bold</b>\r\n"))
        head, *rows, count = relayd(daemon, "quarantine", "list").splitlines()
        assert head.split() == ["ID", "SINCE", "FROM", "TO", "REASON"]
        assert [row.split()[0] for row in rows] == [first, second]
        assert count == "2 of 2"
        shown = relayd(daemon, "quarantine", "show", second)
        assert "looks odd" in shown
        assert "\nSubject: two\n" in shown
        assert "\n-- text/plain" in shown
        assert "<b>bold</b>" in shown
        assert relayd(daemon, "quarantine", "release", first) == f"{first} released\n"
        sink.wait_for(1)
        assert relayd(daemon, "quarantine", "delete", second, "--report", "none") == f"{second} deleted\n"
        daemon.wait_empty()
        assert len(sink.deliveries) == 1
        assert daemon.audit()["difference"] == 0


def test_what_expires_is_removed_and_the_postmaster_is_told_of_the_week(relay: StartRelay) -> None:
    with Sink() as sink:
        daemon = relay(sink.port, {**HOLD, "server.postmaster": "boss@receiver.test", "quarantine.keep": "1h"})
        send(daemon)
        kept = send(daemon)
        assert daemon.stop() == 0
        # the week before: as if the first was held two hours ago, and the last mail written eight days ago
        with sqlite3.connect(f"{daemon.data}/queue.db") as queue:
            queue.execute("UPDATE messages SET held_since = held_since - 7200 WHERE id <> ?", (int(kept),))
        queue.close()
        with sqlite3.connect(f"{daemon.data}/reputation.db") as notes:
            week_ago = str(time.time() - 8 * 86400)
            notes.execute("INSERT OR REPLACE INTO remembered VALUES ('quarantine', 'mailed', ?)", (week_ago,))
        notes.close()
        daemon.start()
        (told,) = sink.wait_for(1)
        assert told.recipients == ["boss@receiver.test"]
        assert b"\r\nSubject: [relay.test] 1 messages are held\r\n" in told.content
        assert b"- 1 of them: looks odd\r\n" in told.content
        assert b"- 1 were removed in the last week" in told.content
        wait_until(lambda: len(daemon.queued()) == 1, "only what is still held is left")
        assert daemon.audit()["removed"] >= 1
        assert daemon.audit()["difference"] == 0
