"""What 100,000 principals cost: start-up, memory, pages of the list, and the look-up of a recipient.

python -m tests.bench.directory_scale [principals]
"""

from __future__ import annotations

import asyncio
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from relayd.database.interface import Connection
from relayd.directory.editing import EVERYTHING, Editing
from relayd.directory.entry import Type
from relayd.directory.fields import draft
from relayd.directory.principals import Principals, open_principals
from relayd.directory.rows import Place, Selection
from relayd.directory.secrets import Secrets
from relayd.events.event import EventStream, Span

HASH = "$argon2id$v=19$m=19456,t=2,p=1$Td1xjnUCpnYaeUMRc2naqw$qf7ermvJdy30iC2ywc9tCRFPVScAad5lFwEdSc8yrjA"
DOMAINS = 100
BATCH = 2_000
SPAN = Span(EventStream(time.time))


def fill(connection: Connection, principals: Principals, numbers: range) -> None:
    editing = Editing(connection, EVERYTHING, principals.reserved)
    for number in numbers:
        address = f"user{number}@d{number % DOMAINS}.example"
        values: dict[str, Any] = {"name": f"user{number:06}", "emails": [address], "roles": "user"}
        if number % 10 == 0:
            values["description"] = f"Number {number}"
        editing.create(Type.INDIVIDUAL, draft(Type.INDIVIDUAL, values), Secrets((HASH,)))


async def prepare(directory: Path, count: int) -> None:
    principals = await open_principals(directory, SPAN)
    for number in range(DOMAINS):
        await principals.create(Type.DOMAIN, draft(Type.DOMAIN, {"name": f"d{number}.example"}))
    for first in range(0, count, BATCH):
        work = partial(fill, principals=principals, numbers=range(first, min(first + BATCH, count)))
        await principals.database.write(work)
    await principals.close()


async def timed(name: str, times: int, work: Callable[[int], Awaitable[object]]) -> None:
    taken = []
    for number in range(times):
        began = time.perf_counter()
        await work(number)
        taken.append(time.perf_counter() - began)
    print(f"{name:<44} {statistics.median(taken) * 1000:8.2f} ms median, {max(taken) * 1000:8.2f} ms longest")


def memory() -> float:
    """Mebibytes at the most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def measure(count: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        began = time.perf_counter()
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", __spec__.name, "--fill", place, str(count))
        assert await process.wait() == 0
        print(f"{count} principals made in {time.perf_counter() - began:.1f} s")
        before = memory()
        began = time.perf_counter()
        principals = await open_principals(directory, SPAN)
        print(f"{'start-up':<44} {(time.perf_counter() - began) * 1000:8.2f} ms")
        chosen = random.Random(7)

        def address(number: int) -> str:
            some = chosen.randrange(count)
            return f"user{some}@d{some % DOMAINS}.example"

        everybody = Selection(types=frozenset({Type.INDIVIDUAL}))
        page = partial(principals.page, everybody, members=10, secrets=True)
        await timed("first page of 50", 20, lambda number: page(Place(), 50))
        await timed("page of 50 in the middle (by number)", 20, lambda number: page(Place(offset=count // 2), 50))
        await timed("last page of 50 (by number)", 20, lambda number: page(Place(offset=count - 50), 50))
        await timed("how many there are", 20, lambda number: principals.count(everybody))
        await timed("page of a search", 5, lambda number: page_of(principals, f"number {number + 1}0"))
        await timed(
            "recipient at RCPT, asked for the first time", 500, lambda number: principals.whose(address(number))
        )
        await principals.whose("user7@d7.example")
        await timed("recipient at RCPT, remembered", 500, lambda number: principals.whose("user7@d7.example"))
        await timed("recipient that nobody is", 500, lambda number: principals.whose(f"nobody{number}@d7.example"))
        await timed("who signs in", 500, lambda number: principals.find(f"user{chosen.randrange(count):06}"))
        print(f"{'memory above that of an empty process':<44} {memory() - before:8.1f} MiB")
        await principals.close()


async def page_of(principals: Principals, text: str) -> None:
    selection = Selection(words=tuple(text.split()))
    await principals.count(selection)
    await principals.page(selection, Place(), 50)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--fill"]:
        asyncio.run(prepare(Path(sys.argv[2]), int(sys.argv[3])))
    else:
        asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000))
