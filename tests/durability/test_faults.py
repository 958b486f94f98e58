"""The disk fills up or breaks: 4xx to the client, and nothing that was promised is lost."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.durability.load import Load, token_of
from tests.rig.daemon import Daemon
from tests.rig.peers import require_program
from tests.rig.sink import Sink


def check_promises(load: Load, sink: Sink) -> None:
    """Every promised message arrived for every recipient, and nothing that nobody sent."""
    arrived = Counter(token_of(each.content) for each in sink.deliveries for _ in each.recipients)
    assert [token for token in load.promised if arrived[token] < load.recipients] == []
    assert set(arrived) <= load.sent


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A directory on a disk of 24 MB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a tmpfs needs root")
    directory = tmp_path / "small"
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(directory)], check=True)
    yield directory
    subprocess.run(["umount", "-l", str(directory)], check=True)


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("sizes", [(40_000,), (200_000,)], ids=["in the database", "as files"])
def test_a_full_disk_defers_new_mail_and_keeps_the_promised(
    small_disk: Path, tmp_path: Path, sizes: tuple[int]
) -> None:
    with Sink() as sink:
        settings = {
            "server.data-dir": str(small_disk / "data"),
            "queue.outbound.next-hop": "sink",
            "queue.route.sink.address": "127.0.0.1",
            "queue.route.sink.port": sink.port,
            "queue.schedule.retry": ["500ms"],
            "queue.min-free": "0",
            "tracer.out.type": "stdout",
        }
        daemon = Daemon(tmp_path, settings)
        daemon.start()
        daemon.data_of("PATCH", "/api/queue/status/stop")
        load = Load(daemon.smtp_port, threads=4, sizes=sizes, most=2000)
        load.start()
        load.join()
        assert 0 < len(load.promised) < 2000, "the disk never filled up"
        daemon.kill()
        daemon.start(wait=False)
        daemon.wait_alive()
        daemon.data_of("PATCH", "/api/queue/status/start")
        daemon.wait_empty(120)
        assert daemon.audit()["difference"] == 0
        daemon.stop()
        check_promises(load, sink)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("call", ["fsync", "fdatasync", "pwrite64", "rename", "openat"])
def test_an_input_output_error_loses_nothing_promised(tmp_path: Path, call: str) -> None:
    require_program("strace")
    with Sink() as sink:
        settings = {
            "queue.outbound.next-hop": "sink",
            "queue.route.sink.address": "127.0.0.1",
            "queue.route.sink.port": sink.port,
            "queue.schedule.retry": ["500ms"],
        }
        daemon = Daemon(tmp_path, settings)
        daemon.start()
        daemon.stop()  # the schema is there: the faults hit mail, not the set-up
        path = ("-P", str(daemon.data)) if call == "openat" else ()
        prefix = ("strace", "-f", "-qq", "-o", "/dev/null", "--seccomp-bpf", *path,
                  "-e", f"trace={call}", "-e", f"inject={call}:error=EIO:when=60+37")  # fmt: skip
        daemon.start(prefix=prefix)
        load = Load(daemon.smtp_port, threads=4, sizes=(600, 100_000), most=300)
        load.start()
        load.join()
        daemon.kill_group()
        assert load.promised
        daemon.start()
        daemon.wait_empty(120)
        assert daemon.audit()["difference"] == 0
        assert daemon.stop() == 0
        check_promises(load, sink)
