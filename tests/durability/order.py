"""The order of a daemon's system calls: what was promised, and whether it had been synced by then."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

from tests.rig.recorder import Operation

QUEUED_AS = re.compile(rb"^250 2\.0\.0 queued as (\d+)\r\n", re.MULTILINE)


def promises(operations: list[Operation]) -> dict[int, Operation]:
    """Queue id -> the send that carried its 250."""
    found: dict[int, Operation] = {}
    for each in operations:
        if each.name == "send":
            for match in QUEUED_AS.finditer(each.data):
                found.setdefault(int(match[1]), each)
    return found


def unsynced(operations: list[Operation], *, whole: bool = True) -> list[str]:
    """What was promised before all of it was synced, or by a handle of which a sync had failed.

    whole: the daemon was recorded from before its first promise; else what was promised earlier is left out.
    """
    # the queue's alone: what others keep of a message, traces for one, is no part of the promise
    wals = [each for each in operations if each.name == "write" and each.path.endswith("/queue.db-wal")]
    # a frame is written as its header and its page
    commits = [page for header, page in pairwise(wals) if _is_commit(header)]
    syncs = [each for each in operations if each.name in ("sync", "failed") and each.end is not None]
    distrusted = _distrusted(operations)
    findings: list[str] = []
    for queue_id, reply in promises(operations).items():
        row = queue_id.to_bytes(8, "big")
        wrote = next((each for each in wals if row in each.data), None)
        if wrote is None and not whole:
            continue
        assert wrote is not None, f"{queue_id} is in no write of the database"
        commit = next(each for each in commits if each.start >= wrote.start)
        if not _synced(syncs, wrote.path, commit, reply):
            findings.append(f"{queue_id}: the database was not synced before the 250")
        if any(failed < commit.start < opened for failed, opened in distrusted):
            findings.append(f"{queue_id}: promised on a handle whose sync had failed")
        body = [each for each in operations if f"/{queue_id}" in each.path and each.name == "write"]
        if body:
            renames = [each for each in operations if each.name == "rename" and each.target.endswith(f"/{queue_id}")]
            if not _synced(syncs, body[-1].path, body[-1], reply):
                findings.append(f"{queue_id}: its file was not synced before the 250")
            if not _synced(syncs, str(Path(renames[0].target).parent), renames[0], reply):
                findings.append(f"{queue_id}: its directory was not synced before the 250")
    return findings


def _is_commit(write: Operation) -> bool:
    """Whether it is the header of the WAL frame that ends a transaction: it tells the size of the database."""
    return len(write.data) == 24 and write.offset != 0 and write.data[4:8] != bytes(4)


def _synced(syncs: list[Operation], path: str, change: Operation, reply: Operation) -> bool:
    """Whether the first sync after the change succeeded (a second one proves nothing), and before the reply."""
    if change.end is None:
        return False
    after = change.end
    first = next((each for each in syncs if each.path == path and each.start > after), None)
    return first is not None and first.name == "sync" and first.end is not None and first.end < reply.start


def _distrusted(operations: list[Operation]) -> list[tuple[int, int]]:
    """From where to where a handle of the database was not to be trusted: a failed sync, and the next opening.

    The WAL's: SQLite keeps the descriptor of the file itself, whose closing would let go of the readers' locks.
    """
    opened = [each.start for each in operations if each.name == "create" and each.path.endswith("/queue.db-wal")]
    return [
        (each.start, next((place for place in opened if place > each.start), operations[-1].start + 1))
        for each in operations
        if each.name == "failed" and "/queue.db" in each.path
    ]
