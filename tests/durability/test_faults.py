"""The disk fills up or breaks: 4xx to the client, and nothing that was promised is lost."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.durability.load import Load, check_promises
from tests.durability.order import unsynced
from tests.rig.daemon import Daemon
from tests.rig.peers import absent, require_program
from tests.rig.recorder import CALLS, OPTIONS, read
from tests.rig.sink import Delivery, Sink

EX_OSERR = 71
MESSAGES = 300
TEMPORARY = {421, 451, 452}


def _settings(sink: Sink, **more: object) -> dict[str, object]:
    return {
        "queue.outbound.next-hop": "sink",
        "queue.route.sink.address": "127.0.0.1",
        "queue.route.sink.port": sink.port,
        "queue.schedule.retry": ["500ms"],
        **more,
    }


def _until(condition: Callable[[], bool], what: str, timeout: float = 60.0) -> None:
    until = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(what)
        time.sleep(0.02)


# A full disk


@pytest.fixture
def daemons() -> Iterator[list[Daemon]]:
    """Daemons that must not outlive the test."""
    started: list[Daemon] = []
    yield started
    for each in started:
        if each.process is not None:
            each.kill()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A directory on a disk of 48 MB."""
    if os.geteuid() != 0:
        absent("mounting a tmpfs needs root")
    directory = tmp_path / "small"
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(directory)], check=True)
    yield directory
    subprocess.run(["umount", "-l", str(directory)], check=True)


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("sizes", [(40_000,), (200_000,)], ids=["in the database", "as files"])
def test_a_full_disk_defers_new_mail_and_keeps_the_promised(
    small_disk: Path, tmp_path: Path, daemons: list[Daemon], sizes: tuple[int]
) -> None:
    with Sink() as sink:
        settings = _settings(sink, **{"server.data-dir": str(small_disk / "data"), "queue.min-free": "0"})
        daemon = Daemon(tmp_path, settings)
        daemons.append(daemon)
        daemon.start()
        daemon.data_of("PATCH", "/api/queue/status/stop")
        load = Load(daemon.smtp_port, threads=4, sizes=sizes, most=1000)
        load.start()
        load.join()
        assert 0 < len(load.promised) < 1000, "the disk never filled up"
        assert set(load.answers) <= TEMPORARY
        assert load.answers[452] > 0
        if sizes[0] > 100_000:
            daemon.stop()  # the next start must also find room for the index of the WAL
        else:
            daemon.kill()
        _fill(small_disk / "filler")
        daemon.start(wait=False)
        daemon.wait_alive()
        daemon.data_of("PATCH", "/api/queue/status/start")
        daemon.wait_empty(60)
        assert daemon.audit()["difference"] == 0
        assert daemon.stop() == 0
        check_promises(load, sink.deliveries)
        print(f"{len(load.promised)} promised until the disk was full, {dict(load.answers)}")


@pytest.mark.long
@pytest.mark.timeout(120)
def test_below_the_floor_nothing_starts_and_what_is_in_flight_is_settled(
    small_disk: Path, tmp_path: Path, daemons: list[Daemon]
) -> None:
    dots: list[str] = []
    go_on = threading.Event()

    def wait(verb: str, argument: str, delivery: Delivery) -> str | None:
        if verb == ".":
            dots.append(delivery.return_path)
            go_on.wait(60)
        return None

    with Sink(answer=wait) as sink:
        settings = _settings(
            sink,
            **{
                "server.data-dir": str(small_disk / "data"),
                "queue.min-free": "4MB",
                "queue.hard-floor": "2MB",
                "queue.reserve": "1MB",
                "queue.outbound.concurrency.per-destination": 5,
            },
        )
        daemon = Daemon(tmp_path, settings)
        daemons.append(daemon)
        daemon.start()
        load = Load(daemon.smtp_port, threads=4, sizes=(4000,), recipients=1, most=40)
        load.start()
        load.join()
        assert len(load.promised) == 40
        _until(lambda: bool(dots), "nothing was on its way")
        filler = _fill(small_disk / "filler")
        _until(lambda: daemon.request("GET", "/healthz/ready")[0] == 503, "the full disk was not noticed")
        more = Load(daemon.smtp_port, threads=1, sizes=(4000,), most=3)
        more.start()
        more.join()
        assert more.answers == {452: 3}
        go_on.set()
        _until(lambda: len(daemon.queued()) <= 35, "what was in flight was not settled")
        settled = len(daemon.queued())
        assert settled == 35
        assert len(sink.deliveries) == 5
        filler.unlink()
        daemon.wait_empty()
        assert daemon.audit()["difference"] == 0
        assert daemon.stop() == 0
        arrived = check_promises(load, sink.deliveries)
        assert set(arrived.values()) == {1}


def _fill(path: Path) -> Path:
    """A file that takes all the room there is."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        while os.write(handle, bytes(1 << 16)):
            pass
    except OSError:
        return path
    finally:
        os.close(handle)
    raise AssertionError("the disk has no end")


# A broken disk


class Broken:
    """A daemon whose calls fail now and then while a load runs; one that gives up with 71 is started again.

    log: what strace wrote, one for each life.
    """

    def __init__(self, daemon: Daemon, load: Load, fault: str) -> None:
        self.daemon = daemon
        self.load = load
        self.fault = fault
        self.logs: list[Path] = []
        self.exits = 0
        self._tracer: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Broken:
        return self

    def __exit__(self, *_: object) -> None:
        self._detach()
        if self.daemon.process is not None:
            self.daemon.kill()

    def run(self) -> None:
        """Until the load is done and the disk is whole again."""
        self.daemon.start()
        self._attach()
        self.load.start()
        while not self.load.is_done:
            if self._has_given_up():
                self.daemon.start()
                self._attach()
            time.sleep(0.05)
        self._detach()
        if self._has_given_up():
            self.daemon.start()

    def _has_given_up(self) -> bool:
        assert self.daemon.process is not None
        code = self.daemon.process.poll()
        if code is None:
            return False
        said = [line for line in self.daemon.output.read_text(errors="replace").splitlines() if "(server." in line]
        assert code == EX_OSERR, said[-3:]
        self.exits += 1
        self._detach()
        return True

    def _attach(self) -> None:
        log = self.daemon.directory / f"strace{len(self.logs)}.log"
        self.logs.append(log)
        command = ["strace", *OPTIONS, "-e", f"trace={CALLS}", "-e", f"inject={self.fault}", "-o", str(log)]
        self._tracer = subprocess.Popen([*command, "-p", str(self.daemon.pid)])
        status = Path(f"/proc/{self.daemon.pid}/status")
        _until(lambda: "TracerPid:\t0\n" not in status.read_text(), "strace did not attach")

    def _detach(self) -> None:
        if self._tracer is not None:
            self._tracer.terminate()
            self._tracer.wait(30)
            self._tracer = None

    @property
    def injected(self) -> int:
        """Calls that failed."""
        return sum(log.read_bytes().count(b"(INJECTED)") for log in self.logs)


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "fault",
    [
        "fsync:error=EIO:when=3+4",
        "fdatasync:error=EIO:when=10+15",
        "pwrite64:error=EIO:when=40+151",
        "pwrite64:error=ENOSPC:when=40+151",
        "rename:error=EIO:when=2+3",
        "openat:error=EIO:when=4+5",
        "write:error=EIO:when=3+5",
        "write:error=ENOSPC:when=3+5",
        "unlink:error=EIO:when=1+2",
        "ftruncate:error=EIO:when=1+2",
    ],
)
def test_a_failing_call_loses_nothing_promised(tmp_path: Path, fault: str) -> None:
    require_program("strace")
    with Sink() as sink:
        # asyncio's own loop writes to sockets by other calls than to files
        # every call counts: not even the tests note anything beside it
        daemon = Daemon(tmp_path, _settings(sink, **{"server.loop": "asyncio"}), program=("-m", "relayd"))
        load = Load(daemon.smtp_port, threads=4, sizes=(600, 100_000, 4000), most=MESSAGES)
        with Broken(daemon, load, fault) as broken:
            broken.run()
            daemon.wait_empty(60)
            assert daemon.audit()["difference"] == 0
            assert daemon.stop() == 0
        deliveries = list(sink.deliveries)
    assert broken.injected > 0
    assert load.promised
    assert set(load.answers) <= TEMPORARY
    arrived = check_promises(load, deliveries)
    for number, log in enumerate(broken.logs):
        assert unsynced(read(log), whole=number == 0) == []
    copies = sum(number - 1 for number in arrived.values())
    print(
        f"{fault}: {broken.injected} failed, {len(load.promised)} promised, {dict(load.answers)} answered,"
        f" {copies} copies, {broken.exits} exits"
    )
