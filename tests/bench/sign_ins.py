"""Sign-ins a second, and for how long the event loop is held up meanwhile.

Accounts of the database sign in with their passwords, many at a time, as a session of SMTP asks for it: first each with
its argon2id hash to be checked, then all of them remembered, then wrong ones.  The loop's longest stall is the longest
time by which something that wanted to run every millisecond was late; first without any sign-in, for what the machine
itself adds.

    python -m tests.bench.sign_ins [accounts] [sessions]
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ipaddress
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from relayd.directory.directory import Directory
from relayd.directory.entry import Type
from relayd.directory.fields import draft
from relayd.directory.password import hash_secret
from relayd.directory.principals import Principals, open_principals
from relayd.events.event import EventStream, Span
from relayd.reception.client import Client
from relayd.reception.sign_in import SignIns

ADDRESS = ipaddress.ip_address("127.0.0.1")
SECRET = "correct horse battery staple"


class LoopWatch:
    """Notes the longest time for which the loop did not turn, and the longest that it computed itself in one turn."""

    def __init__(self) -> None:
        self.longest = self.computed = 0.0

    async def run(self) -> None:
        while True:
            before, computed = time.perf_counter(), time.thread_time()
            await asyncio.sleep(0.001)
            self.longest = max(self.longest, time.perf_counter() - before - 0.001)
            self.computed = max(self.computed, time.thread_time() - computed)

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        self.longest = self.computed = 0.0
        task = asyncio.create_task(self.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def __str__(self) -> str:
        own = f"{self.computed * 1000:5.1f} ms of them its own work"
        return f"longest stall of the loop {self.longest * 1000:6.1f} ms, {own}"


async def open_house(directory: Path, accounts: int) -> Principals:
    principals = await open_principals(directory, Span(EventStream(time.time)))
    stored = hash_secret(SECRET)
    for number in range(accounts):
        values = {"name": f"user{number}", "secrets": stored, "roles": "user"}
        await principals.create(Type.INDIVIDUAL, draft(Type.INDIVIDUAL, values))
    return principals


def client(span: Span) -> Client:
    return Client(span=span, session_id=1, listener="bench", role="submission", address=ADDRESS)


async def measure(accounts: int, sessions: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        principals = await open_house(Path(place), accounts)
        directory = Directory({}, time.time, [principals], rehash=principals.replace_password)
        sign_ins = SignIns(directory, time.time)
        watch = LoopWatch()
        span = Span(EventStream(time.time))

        async def session(numbers: Iterator[int], secret: str, expected: int) -> None:
            for number in numbers:
                reply = await sign_ins.by_password(client(span), f"user{number}", secret)
                assert reply.code == expected, reply
                await asyncio.sleep(0)

        async def phase(name: str, secret: str, expected: int, count: int) -> None:
            numbers = iter([each % accounts for each in range(count)])
            gc.collect()
            gc.freeze()  # as the daemon does
            began = time.perf_counter()
            async with watch.watching():
                await asyncio.gather(*(session(numbers, secret, expected) for _ in range(sessions)))
            elapsed = time.perf_counter() - began
            print(f"{name:<12} {count / elapsed:8.0f} sign-ins/s, {watch}")

        async with watch.watching():
            await asyncio.sleep(3)
        print(f"{'idle':<12} {'':21} {watch}")
        await phase("first", SECRET, 235, accounts)
        await phase("remembered", SECRET, 235, accounts * 100)
        await phase("wrong", "wrong", 535, accounts)
        directory.close()
        await principals.close()


if __name__ == "__main__":
    given = [int(each) for each in sys.argv[1:]]
    asyncio.run(measure(*(given + [200, 16][len(given) :])))
