"""Does other mail keep its rate, and the loop its turn, while hostile mail and a message of 100 MB come in?

    python -m tests.bench.hostile_mail [--seconds 6] [--rounds 3] [--only NAME]

One relay that scores everything; smtp-source brings ordinary mail (4 KB, ten sessions), smtp-sink takes it.  In each
round ordinary mail comes alone for a time, and then as long as another process goes through the hostile set of
`tests.spam.hostile` and a message of 100 MB, again and again; one process more asks NOOP every few milliseconds.
Printed for both: ordinary messages a second, the slowest NOOP, the latest a tick of one millisecond inside the daemon
came, and how much of that the loop itself was computing (its thread's CPU time: the rest is the machine's doing); then
the ratio of the rates, and what became of the hostile mail.  Goal: a ratio of 0.8, no stall over 50 ms, nothing lost.
Needs Debian's `postfix` for smtp-source and smtp-sink, and a quiet machine.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench.relay_throughput import SINK, SOURCE
from tests.rig.daemon import Daemon
from tests.rig.postfix import free_port, wait_for_port
from tests.spam.hostile import HOSTILE, large, on_the_wire

TICK = 0.001
SHOWN = 0.010
"""Ticks that come later than this are written down."""
VARIABLE = "RELAYD_BENCH_TICKS"
LARGE = "100 MB"


def tick() -> int:
    """relayd's command line, with the watch of the loop replaced by one that looks every millisecond."""
    from relayd import daemon
    from relayd.cli.program import main

    with open(os.environ[VARIABLE], "a", buffering=1, encoding="ascii") as file:

        async def watch(_: daemon.Daemon) -> None:
            loop = asyncio.get_running_loop()
            while True:
                before, spent = loop.time(), time.thread_time()
                await asyncio.sleep(TICK)
                late = loop.time() - before - TICK
                if late > SHOWN:
                    file.write(f"{time.time():.3f} {late:.4f} {time.thread_time() - spent:.4f}\n")

        daemon.Daemon._watch_loop = watch  # type: ignore[method-assign, assignment]
        return main(name="relayd")


def hurt(port: int, only: str) -> None:
    """Send the hostile set until killed; a line of JSON for each reply."""
    names = [only] if only else [*HOSTILE, LARGE]
    contents = {name: _content(name) for name in names}
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        for name, content in contents.items():
            began = time.time()
            try:
                reply = _send(port, content)
            except OSError as error:
                reply = type(error).__name__
            print(json.dumps([name, reply, began, time.time()]), flush=True)


def _content(name: str) -> bytes:
    return on_the_wire(large() if name == LARGE else HOSTILE[name]())


def _send(port: int, content: bytes) -> str:
    """One message; the last reply."""
    with socket.create_connection(("127.0.0.1", port), timeout=120) as client, client.makefile("rb") as replies:
        replies.readline()
        for line in (b"HELO h.test", b"MAIL FROM:<h@outside.test>", b"RCPT TO:<h@any.test>", b"DATA"):
            client.sendall(line + b"\r\n")
            reply = replies.readline()
            if reply[:1] not in b"23":
                return reply.decode().strip()
        client.sendall(content)
        return replies.readline().decode().strip()


def probe(port: int) -> None:
    """Ask NOOP until killed; a line with the time and the seconds of each that took long."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client, client.makefile("rb") as replies:
        replies.readline()
        client.sendall(b"HELO probe.test\r\n")
        replies.readline()
        while True:
            began = time.monotonic()
            client.sendall(b"NOOP\r\n")
            if not replies.readline().startswith(b"250"):
                return
            took = time.monotonic() - began
            if took > SHOWN:
                print(f"{time.time():.3f} {took:.4f}", flush=True)
            time.sleep(0.005)


@dataclass(frozen=True, slots=True)
class Measured:
    """Messages a second, and the worst of three kinds in seconds."""

    rate: float
    noop: float
    late: float
    computing: float

    def __str__(self) -> str:
        return (
            f"{self.rate:6.0f}/s  NOOP {1e3 * self.noop:6.1f} ms  tick {1e3 * self.late:6.1f} ms"
            f"  computing {1e3 * self.computing:6.1f} ms"
        )


class Bench:
    """The relay with its sink below a directory, and what is written down of it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._sink = free_port()
        self._ticks, self._noops = directory / "ticks", directory / "noops"
        self._ticks.touch()
        self.daemon = Daemon(
            directory / "relay",
            {
                "queue.outbound.next-hop": "sink",
                "queue.route.sink.address": "127.0.0.1",
                "queue.route.sink.port": self._sink,
                "session.rcpt.relay-networks": [],
                "session.rcpt.relay-domains": ["any.test"],
                "session.rcpt.known.c.domains": ["any.test"],
                "session.rcpt.known.c.check": "any",
                "session.data.limits.line": 60_000_000,
                "session.data.limits.size": 200_000_000,
                "spam-filter.enable": True,
                "spam-filter.hosts.enable": False,
            },
            environment={VARIABLE: str(self._ticks)},
            program=("-m", "tests.bench.hostile_mail", "tick"),
        )

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """The sink, the relay and the probe."""
        with contextlib.ExitStack() as stack:
            sink = subprocess.Popen([SINK, "-u", "postfix", f"127.0.0.1:{self._sink}", "500"])
            stack.callback(sink.kill)
            wait_for_port(self._sink)
            self.daemon.start()
            stack.callback(self.daemon.stop)
            with self._noops.open("wb") as file:
                prober = subprocess.Popen([*_part("probe"), str(self.daemon.smtp_port)], stdout=file)
            stack.callback(prober.kill)
            yield

    def ordinary(self, seconds: float) -> Measured:
        """Ordinary mail for so long."""
        began, mono, sent = time.time(), time.monotonic(), 0
        while time.monotonic() - mono < seconds:
            subprocess.run(
                [SOURCE, "-d", "-s", "10", "-m", "200", "-l", "4096", "-f", "o@outside.test", "-t", "o@any.test",
                 f"127.0.0.1:{self.daemon.smtp_port}"],
                check=True, timeout=120,
            )  # fmt: skip
            sent += 200
        rate, end = sent / (time.monotonic() - mono), time.time()
        ticks, noops = _between(self._ticks, began, end), _between(self._noops, began, end)
        return Measured(
            rate,
            max((each[1] for each in noops), default=0.0),
            max((each[1] for each in ticks), default=0.0),
            max((each[2] for each in ticks), default=0.0),
        )

    def worst(self, began: float, end: float) -> float:
        """The most that the loop computed at a stretch in a time."""
        return max((each[2] for each in _between(self._ticks, began, end)), default=0.0)


def _between(path: Path, began: float, end: float) -> list[list[float]]:
    rows = [[float(word) for word in line.split()] for line in path.read_text("ascii").splitlines()]
    return [row for row in rows if began <= row[0] <= end]


def _part(name: str) -> list[str]:
    return [sys.executable, "-m", "tests.bench.hostile_mail", name]


def run(bench: Bench, seconds: float, rounds: int, only: str) -> None:
    """Measure and print."""
    bench.ordinary(1)
    ratios = []
    replies: Counter[str] = Counter()
    costs: Counter[str] = Counter()
    for _ in range(rounds):
        alone = bench.ordinary(seconds)
        hurting = subprocess.Popen(
            [*_part("hurt"), str(bench.daemon.smtp_port), only], stdout=subprocess.PIPE, text=True
        )
        assert hurting.stdout is not None
        hurting.stdout.readline()
        beside = bench.ordinary(seconds)
        hurting.kill()
        for line in hurting.stdout.read().splitlines():
            name, reply, began, end = json.loads(line)
            replies[f"{reply[:9]} {'' if reply[:3] == '250' else name}"] += 1
            costs[name] = max(costs[name], int(1e3 * bench.worst(began, end)))
        hurting.wait()
        ratios.append(beside.rate / alone.rate)
        print(f"alone  {alone}\nbeside {beside}  ratio {ratios[-1]:.2f}", flush=True)
    print(f"median ratio {statistics.median(ratios):.2f}")
    print("hostile mail:", ", ".join(f"{number} x {reply.strip()}" for reply, number in replies.most_common()))
    print("the loop at its longest beside:", ", ".join(f"{name} {cost} ms" for name, cost in costs.most_common(8)))


def main() -> int:
    """From the command line; the parts run themselves as processes of their own."""
    if len(sys.argv) > 1 and sys.argv[1] in ("tick",):
        del sys.argv[1]
        return tick()
    if len(sys.argv) > 2 and sys.argv[1] == "hurt":
        hurt(int(sys.argv[2]), "".join(sys.argv[3:]))
    if len(sys.argv) > 2 and sys.argv[1] == "probe":
        probe(int(sys.argv[2]))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=[*HOSTILE, LARGE], default="")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="relayd-bench-") as name:
        bench = Bench(Path(name))
        with bench.running():
            run(bench, arguments.seconds, arguments.rounds, arguments.only)
    return 0


if __name__ == "__main__":
    sys.exit(main())
