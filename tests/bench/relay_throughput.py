"""relayd beside Postfix: smtp-source -> MTA -> smtp-sink, interleaved in one run, durable on both sides.

    python -m tests.bench.relay_throughput [--messages 3000] [--rounds 3] [--queued 10000]

Both log to files, keep outbound connections, and take 20 sessions at once.  Postfix is tuned (`in_flow_delay = 0`,
connection cache).  Printed for each case: messages a second end to end (first byte in to last message at the sink) of
both, CPU seconds, peak memory, and the ratio of each round; quote the median ratio.
Needs root, Debian's `postfix`, and a quiet machine.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.rig.daemon import Daemon
from tests.rig.postfix import Postfix, free_port, wait_for_port
from tests.rig.usage import Peak, cpu_seconds

SINK = "/usr/sbin/smtp-sink"
SOURCE = "/usr/sbin/smtp-source"


@dataclass
class Case:
    """One shape of load."""

    name: str
    size: int
    reuse: bool
    messages: int


@dataclass
class Run:
    """What one MTA did in one round: messages a second, CPU seconds, peak octets."""

    rate: float
    cpu: float
    peak: int


class Mta(Protocol):
    """What is measured."""

    @property
    def smtp_port(self) -> int: ...

    @property
    def root_pid(self) -> int: ...


class PostfixMta:
    """Postfix as an Mta."""

    def __init__(self, directory: Path, sink: int) -> None:
        self.postfix = Postfix(
            directory,
            {
                "relayhost": f"[127.0.0.1]:{sink}",
                "in_flow_delay": "0",
                "smtp_connection_cache_destinations": f"[127.0.0.1]:{sink}",
                "smtpd_client_connection_count_limit": "0",
            },
        )
        self.postfix.start()

    @property
    def smtp_port(self) -> int:
        return self.postfix.port

    @property
    def root_pid(self) -> int:
        return self.postfix.master_pid


class RelaydMta:
    """relayd as an Mta."""

    def __init__(self, directory: Path, sink: int, settings: dict[str, object] | None = None) -> None:
        self.daemon = Daemon(
            directory,
            {
                "queue.outbound.next-hop": "sink",
                "queue.route.sink.address": "127.0.0.1",
                "queue.route.sink.port": sink,
                **(settings or {}),
            },
        )
        self.daemon.start()

    @property
    def smtp_port(self) -> int:
        return self.daemon.smtp_port

    @property
    def root_pid(self) -> int:
        return self.daemon.pid


def run_once(mta: Mta, sink: int, case: Case) -> Run:
    """Send `case` through `mta` and wait until the sink has all of it."""
    receiver = subprocess.Popen([SINK, "-u", "postfix", "-M", str(case.messages), f"127.0.0.1:{sink}", "500"])
    try:
        wait_for_port(sink)
        before = cpu_seconds(mta.root_pid)
        with Peak(mta.root_pid) as peak:
            started = time.monotonic()
            subprocess.run(
                [
                    SOURCE, "-s", "20", "-m", str(case.messages), "-l", str(case.size),
                    "-f", "bench@sender.test", "-t", "sink@receiver.test",
                    *(["-d"] if case.reuse else []), f"127.0.0.1:{mta.smtp_port}",
                ],
                check=True,
                timeout=600,
            )  # fmt: skip
            receiver.wait(600)
            elapsed = time.monotonic() - started
        return Run(case.messages / elapsed, cpu_seconds(mta.root_pid) - before, peak.octets)
    finally:
        receiver.kill()
        receiver.wait()


def measure(cases: list[Case], rounds: int, directory: Path) -> None:
    """Interleave the two over all cases and print the table."""
    sinks = free_port(), free_port()
    postfix = PostfixMta(directory / "postfix", sinks[0])
    relayd = RelaydMta(directory / "relayd", sinks[1])
    try:
        print(f"{'case':<28}{'Postfix/s':>10}{'relayd/s':>10}{'ratio':>8}   {'CPU s':>13}   {'peak MB':>13}")
        for case in cases:
            ratios = []
            for _ in range(rounds):
                theirs = run_once(postfix, sinks[0], case)
                ours = run_once(relayd, sinks[1], case)
                ratios.append(ours.rate / theirs.rate)
                print(
                    f"{case.name:<28}{theirs.rate:>10.0f}{ours.rate:>10.0f}{ratios[-1]:>8.2f}   "
                    f"{theirs.cpu:>6.2f}/{ours.cpu:<6.2f}   {theirs.peak >> 20:>6}/{ours.peak >> 20:<6}"
                )
            print(f"{case.name:<28}{'median ratio':>20}{statistics.median(ratios):>8.2f}")
    finally:
        postfix.postfix.stop()
        relayd.daemon.stop()


def measure_queued(count: int, directory: Path) -> None:
    """Peak memory of relayd with `count` messages queued while nothing can be delivered."""
    relayd = RelaydMta(directory / "queued", free_port())
    try:
        with Peak(relayd.root_pid) as peak:
            subprocess.run(
                [SOURCE, "-d", "-s", "20", "-m", str(count), "-l", "4096", "-f", "bench@sender.test",
                 "-t", "sink@receiver.test", f"127.0.0.1:{relayd.smtp_port}"],
                check=True, timeout=600,
            )  # fmt: skip
            total = relayd.daemon.data_of("GET", "/api/queue/messages?limit=1")["total"]
        print(f"{total} messages queued, next hop down: peak memory {peak.octets / 1e6:.0f} MB")
    finally:
        relayd.daemon.stop()


def main() -> None:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--queued", type=int, default=10000)
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("Postfix's master needs root")
    n = arguments.messages
    cases = [
        Case("4 KB, reused connections", 4096, True, n),
        Case("4 KB, one per message", 4096, False, n),
        Case("50 KB, reused connections", 51200, True, n // 2),
        Case("50 KB, one per message", 51200, False, n // 2),
    ]
    with tempfile.TemporaryDirectory(prefix="relayd-bench-") as name:
        measure(cases, arguments.rounds, Path(name))
        if arguments.queued:
            measure_queued(arguments.queued, Path(name))


if __name__ == "__main__":
    main()
