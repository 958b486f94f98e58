"""One daemon for one data directory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from relayd.queue.lock import DirectoryInUse, DirectoryLock
from tests.queue.conftest import Rig


async def test_a_second_daemon_is_refused_and_told_who_has_it(rig: Rig) -> None:
    with pytest.raises(DirectoryInUse, match=f"in use by another relayd, process {os.getpid()}"):
        await Rig(rig.directory).open()
    await rig.o.queue.enqueue(rig.new())  # the first is not disturbed


def test_a_lock_let_go_can_be_taken(tmp_path: Path) -> None:
    first = DirectoryLock(tmp_path)
    first.release()
    first.release()
    second = DirectoryLock(tmp_path)
    with pytest.raises(DirectoryInUse):
        DirectoryLock(tmp_path)
    second.release()
