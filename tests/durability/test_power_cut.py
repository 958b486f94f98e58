"""The power goes at a random moment: what had been promised by then is on the disk that is left.

The daemon runs under strace while it takes and delivers mail.  First the order of calls is read: before the first
octet of each 250 the last sync of the database, of the body's file and of its directory had returned.  Then the data
directory is rebuilt as of many random moments - later writes lost or torn, unsynced names gone - and opened again.
"""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from tests.durability.load import Load, token_of
from tests.durability.reopened import drain
from tests.rig.daemon import Daemon
from tests.rig.peers import require_program
from tests.rig.recorder import Disk, Operation, read, strace_prefix
from tests.rig.sink import Sink

POINTS = 1000
MESSAGES = 240
QUEUED_AS = re.compile(rb"^250 2\.0\.0 queued as (\d+)\r\n", re.MULTILINE)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Operation], Path, Load]:
    """Operations of a daemon that took MESSAGES and delivered about half of them, its data directory, the load."""
    require_program("strace")
    directory = tmp_path_factory.mktemp("power")
    log = directory / "strace.log"

    def half(verb: str, argument: str, delivery: object) -> str | None:
        return "451 4.2.0 later" if verb == "RCPT" and "r1@" in argument else None

    with Sink(answer=half) as sink:
        daemon = Daemon(
            directory,
            {
                "queue.outbound.next-hop": "sink",
                "queue.route.sink.address": "127.0.0.1",
                "queue.route.sink.port": sink.port,
                "queue.schedule.retry": ["1h"],
            },
        )
        daemon.start(prefix=strace_prefix(log))
        load = Load(daemon.smtp_port, threads=6, sizes=(600, 5000, 90_000), most=MESSAGES)
        load.start()
        load.join()
        daemon.stop()
    assert len(load.promised) >= MESSAGES * 0.9
    return read(log), daemon.data, load


def promises(operations: list[Operation]) -> dict[int, Operation]:
    """Queue id -> the send that carried its 250."""
    found: dict[int, Operation] = {}
    for each in operations:
        if each.name == "send":
            for match in QUEUED_AS.finditer(each.data):
                found.setdefault(int(match[1]), each)
    return found


@pytest.mark.long
@pytest.mark.timeout(600)
def test_everything_is_synced_before_the_first_octet_of_the_250(
    recording: tuple[list[Operation], Path, Load],
) -> None:
    operations, _, load = recording
    sent = promises(operations)
    assert len(sent) >= len(load.promised)
    wals = [each for each in operations if each.name == "write" and each.path.endswith("-wal")]
    syncs = [each for each in operations if each.name == "sync" and each.end is not None]
    files = 0
    for queue_id, reply in sent.items():
        row = queue_id.to_bytes(8, "big")
        wrote = next((each for each in wals if row in each.data), None)
        assert wrote is not None, f"{queue_id} is in no write of the database"
        assert _synced(syncs, wrote.path, wrote, reply), f"{queue_id}: the database was not synced before the 250"
        body = [each for each in operations if str(queue_id) in each.path and each.name == "write"]
        if body:
            files += 1
            renames = [each for each in operations if each.name == "rename" and str(queue_id) in each.target]
            assert _synced(syncs, body[-1].path, body[-1], reply)
            assert _synced(syncs, str(Path(renames[-1].target).parent), renames[-1], reply)
    assert files > 0


def _synced(syncs: list[Operation], path: str, change: Operation, reply: Operation) -> bool:
    return any(
        each.path == path and change.end is not None and each.start > change.end
        and each.end is not None and each.end < reply.start
        for each in syncs
    )  # fmt: skip


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_nothing_promised_is_missing_after_a_power_cut(
    recording: tuple[list[Operation], Path, Load], tmp_path: Path
) -> None:
    operations, root, _ = recording
    sent = promises(operations)
    tokens = _tokens(operations)
    dots = _final_dots(operations)
    disk = Disk(operations, root)
    first = min(each.start for each in sent.values())
    chance = random.Random(20261121)
    for point in range(POINTS):
        cut = chance.randint(first, disk.last)
        target = tmp_path / str(point)
        target.mkdir()
        disk.rebuild(cut, target, chance)
        found = await drain(target)
        for queue_id, reply in sent.items():
            if reply.start >= cut:
                continue
            token = tokens.get(queue_id)
            for recipient in ("r0@receiver.test", "r1@receiver.test"):
                gone = recipient == "r0@receiver.test" and dots.get(token or "", disk.last + 1) < cut
                assert gone or (queue_id, recipient) in found, (
                    f"point {point}, cut {cut}: {queue_id} {recipient} is missing"
                )
        _remove(target)


def _tokens(operations: list[Operation]) -> dict[int, str]:
    """Queue id -> token, from the bodies as they were sent on."""
    found: dict[int, str] = {}
    for each in operations:
        if each.name == "send" and b"X-Token: " in each.data:
            match = re.search(rb"\bid (\d{15,20})", each.data)
            if match:
                found[int(match[1])] = token_of(each.data)
    return found


def _final_dots(operations: list[Operation]) -> dict[str, int]:
    """Token -> where its message was last sent to the next hop."""
    found: dict[str, int] = {}
    for each in operations:
        if each.name == "send" and b"X-Token: " in each.data:
            token = token_of(each.data)
            found[token] = min(found.get(token, each.start), each.start)
    return found


def _remove(directory: Path) -> None:
    for each in sorted(directory.rglob("*"), reverse=True):
        each.rmdir() if each.is_dir() else each.unlink()
    directory.rmdir()
