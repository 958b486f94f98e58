"""What scoring costs: CPU a message, and messages a second beside Debian's rspamd and SpamAssassin.

    python -m tests.bench.scan_cost [DIRECTORY] [--messages 300] [--slow 60] [--rounds 5]

The same messages of a labelled corpus go to each in the same run, on loopback, network rules off: relayd's scoring in
two processes (rules, the statistical model, the verdict; the model has learnt the other half), rspamd with its
delivered rules by `/checkv2` (two workers), `spamd -L` by the SPAMC protocol (two children; --slow messages of them, as
it takes its time).  relayd and rspamd are given every message once before anything is measured - rspamd compiles its
expressions after its start, and Lua its traces - and then by turns, in --rounds rounds, whose medians are compared.
Printed: relayd's median, 95th and 99th percentile of CPU milliseconds a message, messages a second of each, and the
ratios.  Needs Debian's `rspamd` and `spamd`, and a quiet machine.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from relayd.spam.bayes import Model
from relayd.spam.ruleset import Ruleset, read_ruleset
from relayd.spam.scan import Scanner
from relayd.spam.score import Score
from tests.bench.spam_corpus import (
    CONF,
    CORPUS,
    Labelled,
    facts_of,
    learn,
    offline_scores,
    scan_corpus,
    scanner_of,
    verdict_of,
)
from tests.rig.peers import require_program
from tests.rig.scanners import ScannerDaemon, Spamd

AT_ONCE = 2
IN_FLIGHT = 2 * AT_ONCE
"""Messages that a peer is given at a time: one waits at each worker, so that none is idle for the client's sake."""

_ASKING = (
    "rbl surbl spf dkim dmarc arc asn fuzzy_check hfilter mx_check phishing url_redirector emails once_received "
    "greylist ratelimit history_redis replies reputation whitelist neural dkim_signing bimi rspamd_update"
).split()
"""Modules of rspamd that ask somebody."""


class Spamd2(Spamd):
    """Two children."""

    def command(self) -> list[str]:
        command = super().command()
        command[command.index("-m") + 1] = str(AT_ONCE)
        return command


class FullRspamd(ScannerDaemon):
    """rspamd with the rules and modules that Debian delivers; its DNS and Redis answer nothing."""

    def command(self) -> list[str]:
        place = self.directory
        place.chmod(0o755)
        off = place / "off"
        off.write_text("".join(f"{module} {{ enabled = false; }}\n" for module in _ASKING))
        config = place / "conf"
        config.write_text(
            f'.include "$CONFDIR/common.conf"\n.include(priority=10; duplicate=merge) "{off}"\n'
            'options { .include "$CONFDIR/options.inc"\n filters = "chartable,regexp"; '
            f'pidfile = "{place}/pid"; tempdir = "{place}"; hs_cache_dir = "{place}"; '
            'dns { nameserver = ["127.0.0.1:1"]; timeout = 0.01s; retransmits = 0; } }\n'
            'logging { type = "console"; level = "error"; }\n'
            f'worker "normal" {{ bind_socket = "{self.address}"; count = {AT_ONCE}; }}\n'
        )
        return [require_program("rspamd"), "-f", "-i", "-c", str(config)]


_state: tuple[Scanner, Model, Ruleset, dict[str, Score]] | None = None


def _prepare(directory: Path) -> None:
    """In each process: rules, and a model of every second message."""
    global _state
    ruleset = read_ruleset(CONF.read_text("utf-8"))
    scanner = scanner_of(ruleset)
    _state = scanner, learn(scan_corpus(directory, scanner)[::2]), ruleset, offline_scores(ruleset)


def _score(content: bytes) -> float:
    """One message; CPU seconds."""
    assert _state is not None
    scanner, model, ruleset, scores = _state
    began = time.process_time()
    facts = facts_of(content)
    message = Labelled(Path(), False, False, scanner.scan(content, facts), facts)
    verdict_of(message, model, ruleset, scores)
    return time.process_time() - began


def _ready(number: int) -> None:
    time.sleep(0.1)  # so that each process gets one


@contextlib.contextmanager
def relayd(directory: Path) -> Iterator[Callable[[Sequence[bytes]], list[float]]]:
    """What scores messages in two processes, and gives the CPU seconds of each."""
    context = get_context("fork")
    with ProcessPoolExecutor(AT_ONCE, context, initializer=_prepare, initargs=(directory,)) as pool:
        list(pool.map(_ready, range(AT_ONCE * 2)))
        yield lambda contents: list(pool.map(_score, contents, chunksize=10))


def peer(contents: Sequence[bytes], ask: Callable[[bytes], None]) -> float:
    """Messages a second."""
    with ThreadPoolExecutor(IN_FLIGHT) as threads:
        began = time.monotonic()
        list(threads.map(ask, contents))
        return len(contents) / (time.monotonic() - began)


def ask_rspamd(port: int, content: bytes) -> None:
    """One message to `/checkv2`, with as little of Python as will do: the client runs on the same cores."""
    answer = _ask(port, b"POST /checkv2 HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(content) + content)
    assert answer.startswith(b"HTTP/1.1 200 "), answer[:200]
    assert b'"score"' in answer


def ask_spamd(port: int, content: bytes) -> None:
    """One message by SPAMC."""
    answer = _ask(port, b"SYMBOLS SPAMC/1.5\r\nContent-length: %d\r\n\r\n" % len(content) + content)
    assert b"EX_OK" in answer, answer[:200]


def _ask(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=120) as client:
        client.sendall(request)
        answer = b""
        while octets := client.recv(65536):
            answer += octets
    return answer


def fast(contents: Sequence[bytes], directory: Path, place: Path, rounds: int) -> float:
    """relayd and rspamd by turns; relayd's messages a second."""
    daemon = FullRspamd(place)
    daemon.start()
    costs: list[float] = []
    own, other = [], []
    try:
        with relayd(directory) as score:
            for number in range(rounds + 1):
                began = time.monotonic()
                spent = score(contents)
                rate = len(contents) / (time.monotonic() - began)
                theirs = peer(contents, lambda content: ask_rspamd(daemon.port, content))
                if number:  # the first one warms up
                    costs += spent
                    own.append(rate)
                    other.append(theirs)
    finally:
        daemon.kill()
    costs.sort()
    shown = [1e3 * x for x in (statistics.median(costs), costs[int(0.95 * len(costs))], costs[int(0.99 * len(costs))])]
    print("relayd        CPU a message: median {:.2f} ms, 95 % {:.2f} ms, 99 % {:.2f} ms".format(*shown))
    mine, his = statistics.median(own), statistics.median(other)
    print(f"relayd        {mine:8.1f} messages a second ({len(contents)} messages, {rounds} rounds)")
    ratios = sorted(a / b for a, b in zip(own, other, strict=True))
    print(
        f"rspamd        {his:8.1f} messages a second: relayd is {statistics.median(ratios):.2f} times as fast"
        f" ({ratios[0]:.2f} to {ratios[-1]:.2f})",
        flush=True,
    )
    return mine


def main() -> None:
    parser = argparse.ArgumentParser(description="What scoring costs, beside rspamd and SpamAssassin.")
    parser.add_argument("directory", nargs="?", type=Path, default=CORPUS)
    parser.add_argument("--messages", type=int, default=300)
    parser.add_argument("--slow", type=int, default=60, help="messages that SpamAssassin gets")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    folders = sorted(each for each in arguments.directory.iterdir() if each.is_dir())
    paths = [path for folder in folders for path in sorted(folder.iterdir())][1::2]
    step = max(1, len(paths) // arguments.messages)
    contents = [path.read_bytes() for path in paths[::step]][: arguments.messages]
    with tempfile.TemporaryDirectory() as place:
        own = fast(contents, arguments.directory, Path(place, "rspamd"), arguments.rounds)
        daemon = Spamd2(Path(place, "spamd"))
        daemon.start()
        try:
            some = contents[:: max(1, len(contents) // arguments.slow)][: arguments.slow]
            peer(some[:IN_FLIGHT], lambda content: ask_spamd(daemon.port, content))
            rate = peer(some, lambda content: ask_spamd(daemon.port, content))
        finally:
            daemon.kill()
    print(
        f"SpamAssassin  {rate:8.1f} messages a second ({len(some)} messages): relayd is {own / rate:.2f} times as fast"
    )


if __name__ == "__main__":
    main()
