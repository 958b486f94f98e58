"""Which events were stated in a whole run of the tests, in this process and in the daemons that tests start.

While RELAYD_EVENTS_STATED names a directory, each process appends the id of every event that it makes for the first
time to a file of its own there.  `python -m tests.rig.stated` is `python -m relayd` that does so.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from relayd.events.event import Event, EventKind

VARIABLE = "RELAYD_EVENTS_STATED"


def note() -> None:
    """Note events from now on, when the variable is set."""
    directory = os.environ.get(VARIABLE)
    if not directory:
        return
    seen: set[str] = set()
    make = Event.__init__

    def making(self: Event, kind: EventKind, *rest: Any, **named: Any) -> None:
        make(self, kind, *rest, **named)
        if kind.id not in seen:
            seen.add(kind.id)
            with suppress(OSError), open(Path(directory, str(os.getpid())), "a", encoding="ascii") as file:
                file.write(kind.id + "\n")  # where disks fail on purpose, what notes must not be what fails

    Event.__init__ = making  # type: ignore[method-assign]


def noted(directory: Path) -> set[str]:
    """The ids that any process noted."""
    return {line for path in directory.iterdir() for line in path.read_text(encoding="ascii").splitlines()}


def run() -> int:
    """relayd's command line, noting."""
    note()
    from relayd.cli.program import main

    return main(name="relayd")


if __name__ == "__main__":
    sys.exit(run())
