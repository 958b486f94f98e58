"""For the whole run: every event that is stated must be in the table; at the end, those that never were are listed."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from relayd.events.vocabulary import kinds
from tests.rig import stated

_DIRECTORY = pytest.StashKey[Path]()
_OURS = "test."
"""What tests declare themselves begins so."""

_MOST = 0.5
"""Which part of the table a run must have stated to say which it did not: less is no run of everything."""


def pytest_configure(config: pytest.Config) -> None:
    """Workers (of pytest-xdist) and daemons find the directory in their environment."""
    if not hasattr(config, "workerinput"):
        directory = Path(tempfile.mkdtemp(prefix="relayd-events-"))
        config.stash[_DIRECTORY] = directory
        os.environ[stated.VARIABLE] = str(directory)
    stated.note()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """An id that is not in the table fails the run."""
    directory = session.config.stash.get(_DIRECTORY, None)
    if directory is not None and _unknown(directory):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was stated."""
    directory = config.stash.get(_DIRECTORY, None)
    if directory is None:
        return
    for id in sorted(_unknown(directory)):
        terminalreporter.write_line(f"ERROR the event {id} was stated and is not in conf/events.md", red=True)
    known = {kind.id for kind in kinds()}
    seen = stated.noted(directory) & known
    if len(seen) > _MOST * len(known):
        never = ", ".join(sorted(known - seen))
        terminalreporter.write_line(f"{len(seen)} of {len(known)} events were stated; never: {never or 'none'}")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave nothing behind."""
    directory = config.stash.get(_DIRECTORY, None)
    if directory is not None:
        shutil.rmtree(directory, ignore_errors=True)
        os.environ.pop(stated.VARIABLE, None)


def _unknown(directory: Path) -> set[str]:
    """Ids that were stated and are not in the table that is shipped."""
    table = (Path(__file__).resolve().parents[1] / "conf" / "events.md").read_text(encoding="utf-8")
    return {id for id in stated.noted(directory) if not id.startswith(_OURS) and f"| `{id}` |" not in table}
