"""What telemetry costs: the same relay without stores, with them, and with two viewers who want everything.

    python -m tests.bench.telemetry_cost [--messages 3000] [--rounds 5] [--without-logs]

smtp-source -> relayd -> smtp-sink, 4 KB messages, 20 sessions of many messages each, durable, logs as they are by
default in all three (--without-logs: the first has none but of errors).  The cases take turns within each round;
printed are messages a second, and for each round the rate of both cases against that without stores.  Quote the
medians: 0.85 and 0.75 are the least that is allowed.  Needs root, Debian's `postfix` (its smtp-source and smtp-sink),
and a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
from pathlib import Path

from tests.bench.relay_throughput import Case, RelaydMta, run_once
from tests.rig.client import Client
from tests.rig.postfix import free_port
from tests.rig.sse import EventSource

WITHOUT: dict[str, object] = {
    "tracing.history.enable": False,
    "telemetry.history.enable": False,
    "metrics.history.enable": False,
}
_VIEWERS = 2


class Viewers:
    """Who watches everything, and reads it; `seen` events and `missed` ones."""

    def __init__(self, port: int) -> None:
        token = Client(port).ask("GET", "/api/telemetry/live/tracing-token").data
        path = "/api/telemetry/traces/live"
        self.sources = [EventSource(port, path, {"token": token}, timeout=600) for _ in range(_VIEWERS)]
        self.seen = self.missed = 0
        self.threads = [threading.Thread(target=self._read, args=(each,), daemon=True) for each in self.sources]
        for thread in self.threads:
            thread.start()

    def _read(self, source: EventSource) -> None:
        for name, value in source.octets():
            if name == b"trace":
                self.seen += value.count(b'"createdAt"')
            elif name == b"missed":
                self.missed += int(json.loads(value)["events"])


def measure(case: Case, rounds: int, directory: Path, without: dict[str, object]) -> None:
    """Take turns and print the table."""
    sinks = [free_port() for _ in range(3)]
    bare = RelaydMta(directory / "bare", sinks[0], without)
    stored = RelaydMta(directory / "stored", sinks[1])
    watched = RelaydMta(directory / "watched", sinks[2])
    viewers = Viewers(watched.daemon.http_port)
    try:
        print(f"{'without/s':>10}{'stores/s':>10}{'viewers/s':>10}{'stores':>8}{'viewers':>8}   CPU s")
        ratios: list[tuple[float, float]] = []
        for number in range(rounds + 1):
            runs = [run_once(mta, sink, case) for mta, sink in zip((bare, stored, watched), sinks, strict=True)]
            rates = [run.rate for run in runs]
            cpu = "/".join(f"{run.cpu:.2f}" for run in runs)
            if number == 0:
                continue  # files are made, code is warm
            ratios.append((rates[1] / rates[0], rates[2] / rates[0]))
            print(
                f"{rates[0]:>10.0f}{rates[1]:>10.0f}{rates[2]:>10.0f}{ratios[-1][0]:>8.2f}{ratios[-1][1]:>8.2f}   {cpu}"
            )
        medians = [statistics.median(each) for each in zip(*ratios, strict=True)]
        print(f"median: stores {medians[0]:.2f}, viewers {medians[1]:.2f}")
        print(f"the viewers were sent {viewers.seen} events and told of {viewers.missed} that they missed")
    finally:
        for mta in (bare, stored, watched):
            mta.daemon.stop()


def main() -> None:
    """From the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--without-logs", action="store_true")
    arguments = parser.parse_args()
    without: dict[str, object] = dict(WITHOUT)
    if arguments.without_logs:
        without |= {"tracer.none.type": "log", "tracer.none.level": "error"}
    with tempfile.TemporaryDirectory() as directory:
        measure(Case("4 KB", 4096, True, arguments.messages), arguments.rounds, Path(directory), without)


if __name__ == "__main__":
    main()
