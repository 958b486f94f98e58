"""Does other mail keep its rate while destinations hang?

    python -m tests.bench.stalled_destinations [--messages 2000] [--rounds 3] [--dead 1000] [--only TROUBLE]

Two daemons with the same settings: one is quiet, the other holds mail for a host that never greets, a tarpit (one octet
in ten seconds), domains whose DNS never answers, and a thousand domains whose hosts do not answer a SYN.  Mail for good
domains goes through each in turn, from the first octet in to the last message at the sink; printed is the rate of both
and the ratio of each round, for one good domain and for ten.  Quote the median ratio.  Goal: 0.8 or better.
Needs Debian's `postfix` for its smtp-source and smtp-sink.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import resource
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tests.rig.daemon import Daemon
from tests.rig.dns import TIMEOUT, serving_in_thread
from tests.rig.postfix import free_port, wait_for_port

SINK = "/usr/sbin/smtp-sink"
SOURCE = "/usr/sbin/smtp-source"
USER = ("-u", "postfix") if os.geteuid() == 0 else ()
GOOD, STALLED, TARPIT, DEAD = (f"127.0.0.{number}" for number in (2, 3, 4, 5))
DROP = 10.0
"""Seconds between two octets of the tarpit."""

KINDS = ("stalled", "tarpit", "slow", "dead")


def names(dead: int) -> dict[str, dict[str, list[str] | str]]:
    """The DNS of the bench: each domain has a mail host of its own, so that none share a site."""
    found: dict[str, dict[str, list[str] | str]] = {}

    def domain(name: str, address: str) -> None:
        found[name] = {"MX": [f"10 mx.{name}."]}
        found[f"mx.{name}"] = {"A": [address]}

    for number in range(10):
        domain(f"good{number}.test", GOOD)
    domain("stalled.test", STALLED)
    domain("tarpit.test", TARPIT)
    for number in range(100):
        found[f"slow{number}.test"] = {"*": TIMEOUT}
    for number in range(dead):
        domain(f"dead{number}.test", DEAD)
    return found


def trouble(kind: str, dead: int) -> list[str]:
    """The recipients of one batch of mail of a kind."""
    if kind == "slow":
        return [f"u{number}@slow{number % 100}.test" for number in range(200)]
    if kind == "dead":
        return [f"u{number}@dead{number % dead}.test" for number in range(2 * dead)]
    return [f"u{number}@{kind}.test" for number in range(200)]


class Sluggards(threading.Thread):
    """The hosts that hang: one never greets, one drips its greeting, one takes no connection."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._ready = threading.Event()
        self._full: list[socket.socket] = []

    def run(self) -> None:
        """Listen for ever."""
        asyncio.run(self._main())

    def listen(self) -> None:
        """Start, and return when all of them listen."""
        self._fill()
        self.start()
        self._ready.wait(10)

    def _fill(self) -> None:
        """A listener whose queue is full: further SYNs are dropped."""
        listener = socket.socket()
        listener.bind((DEAD, self._port))
        listener.listen(0)
        self._full.append(listener)
        for _ in range(4):
            client = socket.socket()
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                client.connect((DEAD, self._port))
            self._full.append(client)

    async def _main(self) -> None:
        await asyncio.start_server(self._stall, STALLED, self._port, backlog=4096)
        await asyncio.start_server(self._drip, TARPIT, self._port, backlog=4096)
        self._ready.set()
        await asyncio.Event().wait()

    async def _stall(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def _drip(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            for octet in b"220 tarpit.test ESMTP please wait a little longer\r\n":
                writer.write(bytes((octet,)))
                await asyncio.sleep(DROP)
        writer.close()


def start(directory: Path, dns: int, port: int) -> Daemon:
    """A daemon that delivers to the hosts above."""
    return Daemon(
        directory,
        {
            "resolver.custom": [f"udp://127.0.0.1:{dns}"],
            "queue.outbound.port": port,
            "queue.outbound.allow-private": True,
            "queue.outbound.tls.mta-sts": False,
            "session.data.limits.recipients": 10000,
            "tracer.log.type": "log",
            "tracer.log.level": "info",
            "tracer.log.path": str(directory / "logs"),
        },
    ).start()


def send(daemon: Daemon, count: int, *recipients: str) -> None:
    """`count` messages to each recipient, over ten sessions each way."""
    sessions = max(1, 20 // len(recipients))
    commands = [
        [SOURCE, "-d", "-s", str(sessions), "-m", str(count), "-l", "4096", "-f", "bench@sender.test", "-t", each,
         f"127.0.0.1:{daemon.smtp_port}"]
        for each in recipients
    ]  # fmt: skip
    sources = [subprocess.Popen(command) for command in commands]
    for each in sources:
        assert each.wait(600) == 0


def inject(daemon: Daemon, kinds: list[str], dead: int) -> None:
    """One batch of mail that will hang, each message for itself; returns when it is queued."""

    async def one(recipients: list[str]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", daemon.smtp_port)
        await reader.readline()
        writer.write(b"HELO bench.test\r\n")
        await reader.readline()
        for each in recipients:
            for line in (
                f"MAIL FROM:<trouble@sender.test>\r\nRCPT TO:<{each}>\r\nDATA\r\n",
                "Subject: x\r\n\r\nx\r\n.\r\n",
            ):
                writer.write(line.encode())
                for _ in range(line.count("\r\n") if line[0] == "M" else 1):
                    reply = await reader.readline()
                    assert reply[:1] in b"23", reply
        writer.close()

    async def all_of_them() -> None:
        wanted = [each for kind in kinds for each in trouble(kind, dead)]
        await asyncio.gather(*(one(wanted[number::20]) for number in range(20)))

    asyncio.run(all_of_them())


class Counted:
    """The good host: an smtp-sink that tells how many messages it has."""

    def __init__(self, port: int) -> None:
        command = [SINK, *USER, "-c", f"{GOOD}:{port}", "500"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        self.messages = 0
        wait_for_port(port, address=GOOD)
        threading.Thread(target=self._count, daemon=True).start()

    def _count(self) -> None:
        """Read its counters: "sess=1 quit=1 mesg=1" and a carriage return, each over the one before."""
        assert self._process.stdout is not None
        left = b""
        while piece := os.read(self._process.stdout.fileno(), 1 << 16):
            *whole, left = (left + piece).split(b"\r")
            if whole:
                self.messages = max(self.messages, int(whole[-1].rpartition(b"=")[2]))

    def wait(self, messages: int) -> None:
        """Return when it has so many."""
        until = time.monotonic() + 600
        while self.messages < messages:
            if time.monotonic() > until:
                raise TimeoutError(f"{messages - self.messages} messages did not arrive")
            time.sleep(0.005)

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


def rate(daemon: Daemon, sink: Counted, messages: int, domains: int) -> float:
    """Messages a second to good domains, end to end."""
    each = messages // domains
    wanted = sink.messages + each * domains
    began = time.monotonic()
    send(daemon, each, *(f"b@good{number}.test" for number in range(domains)))
    sink.wait(wanted)
    return each * domains / (time.monotonic() - began)


@contextlib.contextmanager
def running(directory: Path, dead: int) -> Iterator[tuple[Daemon, Daemon, Counted]]:
    """The quiet daemon, the troubled one, and the good host."""
    port = free_port()
    with serving_in_thread(names(dead)) as dns:
        Sluggards(port).listen()
        with contextlib.ExitStack() as stack:
            sink = Counted(port)
            stack.callback(sink.stop)
            daemons = []
            for each in ("quiet", "troubled"):
                daemons.append(start(directory / each, dns.port, port))
                stack.callback(daemons[-1].kill)
            yield daemons[0], daemons[1], sink


def main() -> None:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dead", type=int, default=1000)
    parser.add_argument("--only", choices=KINDS)
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(65536, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
    kinds = [arguments.only] if arguments.only else list(KINDS)
    with tempfile.TemporaryDirectory(prefix="relayd-bench-") as name, running(Path(name), arguments.dead) as found:
        quiet, troubled, sink = found
        for daemon in (quiet, troubled):
            rate(daemon, sink, arguments.messages // 4, 1)  # warm
        for domains in (1, 10):
            ratios = []
            for _ in range(arguments.rounds):
                inject(troubled, kinds, arguments.dead)
                without = rate(quiet, sink, arguments.messages, domains)
                with_trouble = rate(troubled, sink, arguments.messages, domains)
                ratios.append(with_trouble / without)
                queued = troubled.data_of("GET", "/api/queue/messages?limit=1")["total"]
                print(
                    f"{domains:>3} domains  quiet {without:>6.0f}/s  in trouble {with_trouble:>6.0f}/s"
                    f"  ratio {ratios[-1]:.2f}  ({queued} messages hang)",
                    flush=True,
                )
            print(f"{domains:>3} domains  median ratio {statistics.median(ratios):.2f}", flush=True)


if __name__ == "__main__":
    main()
