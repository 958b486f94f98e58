"""Whatever a web server does, and whenever relayd is killed: every logged event arrives, none before an older one."""

from __future__ import annotations

import asyncio
import gc
import tempfile
from pathlib import Path

import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.rig.receiver import Receiver, Request
from tests.webhooks.conftest import Rig, to

FATES = ("take", "refuse", "take and forget to say so", "redirect")
MOVES = st.one_of(
    st.tuples(st.just("events"), st.integers(1, 150)),
    st.tuples(st.just("kill"), st.just(0)),
    st.tuples(st.just("away"), st.just(0)),
    st.tuples(st.just("wait"), st.integers(1, 3)),
)


class Fickle(Receiver):
    """Answers posts by a list of fates, over and over; what it took counts, whatever it said."""

    def __init__(self, fates: list[str]) -> None:
        super().__init__(answer=self._fate)
        self.fates = fates
        self.seen: list[int] = []

    def _fate(self, request: Request) -> web.StreamResponse | None:
        fate = self.fates[len(self.requests) % len(self.fates)]
        if fate in ("take", "take and forget to say so"):
            self.seen += [each["id"] for each in request.events]
        if fate == "take":
            return None
        return web.Response(status=302 if fate == "redirect" else 503, headers={"Location": "/elsewhere"})


async def play(directory: Path, moves: list[tuple[str, int]], fates: list[list[str]]) -> None:
    rig = Rig(directory)
    servers = [Fickle(each) for each in fates]
    options = {f"hook{n}": to(each, backoff=0.001) for n, each in enumerate(servers)}
    for each in servers:
        await each.start()
    await rig.start(None, **options)
    stated = 0
    for move, count in moves:
        if move == "events":
            rig.state(*(f"{stated + n}@x.example" for n in range(count)))
            stated += count
            await rig.logged(stated)
        elif move == "kill":
            await rig.kill()
            await rig.start(None, **options)
        elif move == "away":
            await servers[0].stop()
            await servers[0].start()
        else:
            await asyncio.sleep(0.002 * count)
    for each in servers:
        each.fates = ["take"]
    for n in range(len(servers)):
        await rig.until(lambda n=n: _is_done(rig, f"hook{n}"))
    await rig.stop()
    for each in servers:
        await each.stop()
        firsts = list(dict.fromkeys(each.seen))
        assert len(firsts) == stated, "every event arrived"
        assert firsts == sorted(firsts), "none before an older one"


def _is_done(rig: Rig, id: str) -> bool:
    log = rig.hooks._log
    return log is not None and log.positions[id].position == log.newest


# a connection that a server lets in while it goes away is closed with the loop alone, which then warns of it
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(MOVES, min_size=1, max_size=8),
    st.lists(st.lists(st.sampled_from(FATES), min_size=1, max_size=5), min_size=1, max_size=2),
)
def test_every_event_arrives_in_order(moves: list[tuple[str, int]], fates: list[list[str]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(play(Path(directory), moves, fates))
    gc.collect()  # here, not in the test after this one
