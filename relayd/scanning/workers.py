"""The engine's side of its workers: starts them, gives each one message at a time, kills what goes over its time."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from relayd.scanning.frames import HEAD, MAX_FRAME, Answer, Setup, frame, request
from relayd.spam.facts import Facts, Scanned

_START = 30.0
"""Seconds that a worker has to come up."""
_DYING = 1.0
"""Seconds until a worker that closed its output is killed."""
_SLOWER = 5.0
"""How much more time by the clock a scan has than CPU time."""


class Overrun(Exception):
    """The scan went over a limit, killed its worker, or failed; the text says which."""


class Busy(Exception):
    """No worker came free in time, or none can be started: a failure of ours, nothing the message did."""


class Workers:
    """Up to `count` worker processes, started when they are first wanted.

    on_ended: hears of a worker's end, with its process id and the reason.
    """

    def __init__(self, count: int, setup: Setup, patience: float, on_ended: Callable[[int, str], None]) -> None:
        self._patience = patience
        self._on_ended = on_ended
        self._setup = setup
        self._idle: asyncio.LifoQueue[_Worker] = asyncio.LifoQueue()
        self._workers = [_Worker() for _ in range(count)]
        for worker in self._workers:
            self._idle.put_nowait(worker)
        self._is_closed = False

    async def scan(self, content: bytes | Path, facts: Facts, size: int) -> Scanned:
        """What a worker finds.  Raises Overrun, Busy."""
        asked = frame(request(content, facts, size))
        try:
            async with asyncio.timeout(self._patience):
                worker = await self._idle.get()
        except TimeoutError:
            raise Busy("no scanning worker came free in time") from None
        try:
            if self._is_closed:
                raise Busy("the engine is stopping")
            await self._start(worker)
            return await self._ask(worker, asked)
        finally:
            self._idle.put_nowait(worker)

    async def _start(self, worker: _Worker) -> None:
        if worker.setup is self._setup and worker.is_alive:
            return
        await worker.end()
        try:
            await worker.start(self._setup)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, msgspec.DecodeError) as error:
            await worker.end()
            raise Busy(f"no scanning worker can be started: {type(error).__name__}: {error}") from error

    async def _ask(self, worker: _Worker, asked: bytes) -> Scanned:
        try:
            async with asyncio.timeout(max(self._patience, _SLOWER * self._setup.cpu)):
                answer = await worker.ask(asked)
        except asyncio.CancelledError:
            await worker.end()  # its answer would be taken for the next one's
            raise
        except (OSError, TimeoutError, asyncio.IncompleteReadError, msgspec.DecodeError) as error:
            reason = await worker.end(is_gone=not isinstance(error, TimeoutError))
            if isinstance(error, TimeoutError):
                reason = "it took too long"
            self._on_ended(worker.pid, reason)
            raise Overrun(f"the scan was ended: {reason}") from error
        if answer.scanned is None:
            await worker.end()
            raise Overrun(answer.problem or "nothing was found out")
        return answer.scanned

    def reconfigure(self, setup: Setup) -> None:
        """Scan by another setup from the next message on: workers are started anew as they come free."""
        self._setup = setup

    @property
    def pids(self) -> list[int]:
        """The processes that run now."""
        return [worker.pid for worker in self._workers if worker.is_alive]

    async def close(self) -> None:
        """End all workers."""
        self._is_closed = True
        for worker in self._workers:
            await worker.end()


class _Worker:
    """One process, or the place for one."""

    def __init__(self) -> None:
        self.setup: Setup | None = None
        self.pid = 0
        self._process: asyncio.subprocess.Process | None = None

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self, setup: Setup) -> None:
        """Raises OSError, TimeoutError, IncompleteReadError, DecodeError."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "relayd.scanning.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        self.pid = self._process.pid
        async with asyncio.timeout(_START):
            await self.ask(frame(setup))
        self.setup = setup

    async def ask(self, asked: bytes) -> Answer:
        """Give it a frame and read its answer."""
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(asked)
        await process.stdin.drain()
        size = int.from_bytes(await process.stdout.readexactly(HEAD), "big")
        if size > MAX_FRAME:
            raise OSError("the answer is too long")
        return msgspec.msgpack.decode(await process.stdout.readexactly(size), type=Answer)

    async def end(self, *, is_gone: bool = False) -> str:
        """Kill the process, and say how it ended.  is_gone: it ended by itself, or is about to."""
        process, self._process, self.setup = self._process, None, None
        if process is None:
            return ""
        if process.stdin is not None:
            process.stdin.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DYING if is_gone else 0):
                await process.wait()
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        code = await process.wait()
        return _ENDS.get(code, f"the worker ended with status {code}")


_ENDS = {
    -27: "it took more CPU time than a scan may take",
    -9: "the worker was killed",
    -11: "the worker crashed",
    -6: "the worker gave up",
}
