"""Steering a long queue while mail flows: is it quick, and does the mail notice?

    python -m tests.bench.queue_steering [--queued 100000] [--delete 50000] [--seconds 8] [--sessions 20]

One daemon with `--queued` deferred messages of many destinations and senders, a sink as the next hop, and clients that
send without pause.  Measured in the same run: the rate of mail end to end before, during and after `DELETE
/api/queue/messages` of half the queue by a filter, and how long that takes; a page of the list, a filter over all, a
preview, and the undo.  Quote the ratio (during / mean of before and after).  Goals: delete under 10 s at a ratio of
0.8 or better, page under 100 ms, filter under 1 s; a page of the console under 100 ms with a million queued
(`--queued 1000000`, which takes some minutes to fill).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from relayd.queue import rows
from tests.rig.daemon import Daemon
from tests.rig.postfix import free_port

STEP = 128
FIRST = 1 << 50
HOUR = 3600.0


def fill(path: Path, count: int) -> None:
    """Deferred messages of one recipient each, as the queue would leave them; the daemon must not run."""
    now = time.time()
    body = os.urandom(2000)

    def key(number: int) -> tuple[str, str]:
        half = "old" if number % 2 else "new"
        return f"d{number % 997}.{half}.test", f"s{number % 101}@senders.test"

    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN")
    numbers = range(count)
    connection.executemany(
        f"INSERT INTO messages ({rows.NEW_MESSAGE_COLUMNS}) VALUES (?, 'relayed', ?, ?, 2000, ?, 0, NULL, NULL, NULL,"
        " 'smtp', '192.0.2.1', '', 'h', 0, NULL, NULL, NULL, NULL)",
        ((FIRST + n * STEP, key(n)[1], now - HOUR, key(n)[1]) for n in numbers),
    )
    connection.executemany("INSERT INTO bodies VALUES (?, NULL, ?)", ((FIRST + n * STEP, body) for n in numbers))
    connection.executemany(
        f"INSERT INTO recipients ({rows.NEW_RECIPIENT_COLUMNS})"
        " VALUES (?, 0, ?, ?, ?, 2, 3, ?, NULL, ?, NULL, NULL, 'later', 1, NULL, NULL)",
        ((FIRST + n * STEP, f"u{n}@{key(n)[0]}", *key(n), now + HOUR + n % 3600, now + 100 * HOUR) for n in numbers),
    )
    connection.execute(
        "INSERT INTO lines SELECT destination, sender_key, min(next_attempt), 0, 0 FROM recipients GROUP BY 1, 2"
    )
    connection.execute("INSERT INTO destinations SELECT destination, min(wake), 0, 0 FROM lines GROUP BY 1")
    connection.execute("UPDATE counters SET value = value + ? WHERE name = 'accepted'", (count,))
    connection.execute("COMMIT")
    connection.close()


class Traffic:
    """Clients that send all the time, and a sink that counts; in a loop and a thread of its own."""

    def __init__(self, sessions: int) -> None:
        self.sessions = sessions
        self.taken = 0
        self.sink_port = free_port()
        self._loop = asyncio.new_event_loop()
        self._tasks: list[asyncio.Task[None]] = []
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._do(self._listen())

    def start(self, smtp_port: int) -> None:
        """Begin to send."""

        async def begin() -> None:
            self._tasks = [asyncio.create_task(self._send(smtp_port)) for _ in range(self.sessions)]

        self._do(begin())

    def stop(self) -> None:
        """Stop sending; the sink goes on."""

        async def end() -> None:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

        self._do(end())

    def _do(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._receive, "127.0.0.1", self.sink_port)

    async def _receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 sink.test ESMTP\r\n")
        try:
            while line := await reader.readline():
                verb = line[:4].upper()
                if verb == b"EHLO":
                    writer.write(b"250-sink.test\r\n250-PIPELINING\r\n250 8BITMIME\r\n")
                elif verb == b"DATA":
                    writer.write(b"354 go\r\n")
                    await reader.readuntil(b"\r\n.\r\n")
                    self.taken += 1
                    writer.write(b"250 2.0.0 ok\r\n")
                elif verb == b"QUIT":
                    writer.write(b"221 2.0.0 bye\r\n")
                    break
                else:
                    writer.write(b"250 2.0.0 ok\r\n")
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        writer.close()

    async def _send(self, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        body = b"From: a@flow.test\r\nSubject: flow\r\n\r\n" + b"x" * 70 + b"\r\n.\r\n"
        try:
            await reader.readline()
            writer.write(b"EHLO client.test\r\n")
            while (await reader.readline())[3:4] == b"-":
                pass
            while True:
                writer.write(b"MAIL FROM:<a@flow.test>\r\nRCPT TO:<b@flow.test>\r\nDATA\r\n")
                for _ in range(3):
                    await reader.readline()
                writer.write(body)
                await reader.readline()
        finally:
            writer.close()


class Rates:
    """Rates of what the sink took."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic

    def during(self, work: Callable[[], Any]) -> tuple[float, float]:
        """Messages a second while `work` runs, and how long it ran."""
        before, started = self._traffic.taken, time.monotonic()
        work()
        elapsed = time.monotonic() - started
        return (self._traffic.taken - before) / elapsed, elapsed


def timed(work: Callable[[], Any], times: int = 5) -> float:
    """Milliseconds of the median of some runs."""
    found = []
    for _ in range(times):
        started = time.monotonic()
        work()
        found.append(time.monotonic() - started)
    return statistics.median(found) * 1000


def looks(daemon: Daemon, name: str) -> None:
    """Print how long it takes to look at the queue."""
    for what, path in (
        ("console: first page", "/api/queue/messages?values=1&limit=50&max-total=1000"),
        ("console: page 1000", "/api/queue/messages?values=1&limit=50&page=1000&max-total=50950"),
        ("console: deferred", "/api/queue/messages?values=1&limit=50&max-total=1000&state=deferred"),
        ("console: an address", "/api/queue/messages?values=1&limit=50&max-total=1000&text=u7777@d"),
        ("console: a domain", "/api/queue/messages?values=1&limit=50&max-total=1000&domain=d5.old"),
        ("page of 100, all counted", "/api/queue/messages?values=1&limit=100"),
        ("last page but one", "/api/queue/messages?values=1&limit=100&page=900"),
        ("text over all", "/api/queue/messages?text=old.test&limit=100"),
        ("domain over all", "/api/queue/messages?domain=old&limit=100"),
        ("next attempt over all", "/api/queue/messages?before=2099-01-01T00:00:00Z&limit=100"),
        ("all ids", "/api/queue/messages"),
    ):
        print(f"{name:<12}{what:<28}{timed(partial(daemon.data_of, 'GET', path)):>8.0f} ms", flush=True)


def steer(daemon: Daemon, traffic: Traffic, seconds: float, deleted: int) -> None:
    """Delete under load and print the ratio; then the rest."""
    query = f"domain=old.test&limit={deleted}"
    rates = Rates(traffic)
    traffic.start(daemon.smtp_port)
    time.sleep(seconds)  # warm
    before, _ = rates.during(lambda: time.sleep(seconds))
    looks(daemon, "under load")
    during, took = rates.during(lambda: daemon.data_of("DELETE", f"/api/queue/messages?{query}"))
    after, _ = rates.during(lambda: time.sleep(seconds))
    usual = (before + after) / 2
    total = daemon.data_of("GET", "/api/queue/messages?state=deleted&limit=1")["total"]
    print(f"mail a second: {before:.0f} before, {during:.0f} during, {after:.0f} after; ratio {during / usual:.2f}")
    print(f"{total} messages deleted in {took:.1f} s")
    traffic.stop()
    daemon.data_of("PATCH", "/api/queue/status/stop")  # what comes back is due at once: it would be tried meanwhile
    started = time.monotonic()
    daemon.data_of("POST", "/api/queue/undo?state=deleted")
    while daemon.data_of("GET", "/api/queue/messages?state=deleted&limit=1")["total"]:
        time.sleep(0.2)
    print(f"undone in {time.monotonic() - started:.1f} s")


def main() -> None:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queued", type=int, default=100_000)
    parser.add_argument("--delete", type=int, default=50_000)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--sessions", type=int, default=20)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="relayd-bench-") as name:
        traffic = Traffic(arguments.sessions)
        settings = {
            "queue.outbound.next-hop": "sink",
            "queue.route.sink.address": "127.0.0.1",
            "queue.route.sink.port": traffic.sink_port,
        }
        daemon = Daemon(Path(name), settings)
        daemon.start()
        daemon.stop()
        fill(daemon.data / "queue.db", arguments.queued)
        started = time.monotonic()
        daemon.start()
        took = time.monotonic() - started
        try:
            status = Path(f"/proc/{daemon.pid}/status").read_text("ascii")
            memory = int(status.partition("VmRSS:")[2].split()[0]) >> 10
            print(f"load {os.getloadavg()[0]:.1f}; {arguments.queued} queued; started in {took:.1f} s, {memory} MB")
            looks(daemon, "idle")
            steer(daemon, traffic, arguments.seconds, arguments.delete)
            audit = daemon.audit()
            print(f"audit: difference {audit['difference']}, queued {audit['queued']}")
        finally:
            daemon.stop()


if __name__ == "__main__":
    main()
