"""What a process and its descendants use: CPU seconds and resident memory, read from /proc."""

from __future__ import annotations

import os
import threading
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def descendants(root: int) -> set[int]:
    """`root` and every process below it that lives now."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(fields[1])
    family = {root}
    grown = True
    while grown:
        grown = False
        for child, parent in parents.items():
            if parent in family and child not in family:
                family.add(child)
                grown = True
    return family


def cpu_seconds(root: int) -> float:
    """CPU of `root`, of its living descendants, and of the dead ones that were waited for."""
    total = 0
    for pid in descendants(root):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(int(fields[n]) for n in (11, 12, 13, 14))
    return total / _TICK


def resident(root: int) -> int:
    """Octets of memory now: the sum of proportional set sizes of `root` and its descendants."""
    total = 0
    for pid in descendants(root):
        try:
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
        except OSError:
            continue
    return total


class Peak:
    """Samples `resident` of a process tree while a block runs; `.octets` is the largest seen."""

    def __init__(self, root: int, interval: float = 0.5) -> None:
        self.octets = 0
        self._root = root
        self._interval = interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def _sample(self) -> None:
        while True:
            self.octets = max(self.octets, resident(self._root))
            if self._stop.wait(self._interval):
                return

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
