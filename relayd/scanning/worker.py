"""A worker: reads what to scan from its standard input, answers on its standard output, until that ends.

Run by `relayd.scanning.workers`; the kernel ends it when a scan takes more CPU time or memory than it may.
"""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import signal
import sys
import time
from typing import BinaryIO

import msgspec

from relayd.scanning.building import build_scanner
from relayd.scanning.frames import HEAD, MAX_FRAME, Answer, Request, Setup, facts_of, frame
from relayd.spam.message import MAX_OCTETS
from relayd.spam.scan import Scanner

_NICE = 5
"""Sessions go first."""


def main() -> None:
    """Serve one engine."""
    source, target = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a rule prints must not run into the answers
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the engine decides
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        os.nice(_NICE)
    octets = _read(source)
    if octets is None:
        return
    setup = msgspec.msgpack.decode(octets, type=Setup)
    sys.path.extend(place for place in setup.places if place not in sys.path)
    scanner = build_scanner(setup.ruleset, setup.plugins, setup.suffixes)
    gc.freeze()
    _limit_memory(setup.memory)
    _answer(target, Answer())
    decoder = msgspec.msgpack.Decoder(Request)
    while (octets := _read(source)) is not None:
        signal.setitimer(signal.ITIMER_PROF, setup.cpu)  # SIGPROF ends the process, wherever it is
        answer, is_spent = _scan(scanner, decoder.decode(octets))
        signal.setitimer(signal.ITIMER_PROF, 0)
        _answer(target, answer)
        if is_spent:
            return


def _scan(scanner: Scanner, asked: Request) -> tuple[Answer, bool]:
    """The answer, and whether the worker should end, as there may be no memory for another."""
    began = time.process_time()
    try:
        content = asked.content
        if asked.path:
            with open(asked.path, "rb") as file:
                content = file.read(MAX_OCTETS)
        scanned = scanner.scan(content, facts_of(asked), asked.size)
        return Answer(scanned=scanned, elapsed=time.process_time() - began), False
    except MemoryError:
        return Answer(problem="it needs more memory than a scan may take"), True
    except Exception as error:  # a bug in a rule: the message must not be lost for it, nor pass unscanned
        return Answer(problem=f"{type(error).__name__}: {error}"[:500]), False


def _limit_memory(most: int) -> None:
    """Let the resident memory grow to `most` octets: what is mapped now counts as it is resident now."""
    with open("/proc/self/statm", encoding="ascii") as file:
        mapped, resident = (int(pages) * resource.getpagesize() for pages in file.read().split()[:2])
    limit = mapped + max(most - resident, 16 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _read(source: BinaryIO) -> bytes | None:
    head = source.read(HEAD)
    if len(head) < HEAD:
        return None
    size = int.from_bytes(head, "big")
    octets = source.read(size) if size <= MAX_FRAME else b""
    return octets if len(octets) == size else None


def _answer(target: BinaryIO, answer: Answer) -> None:
    target.write(frame(answer))
    target.flush()


if __name__ == "__main__":
    main()
