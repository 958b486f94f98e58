"""Every transcript beside this file, against a live listener."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from relayd.listener.options import ErrorLimitOptions, ListenerOptions
from relayd.options import parse_network
from tests.dialogues.transcript import play, read_transcript
from tests.rig.listener import Live, listening, live
from tests.rig.reception import real_reception
from tests.rig.reception_stub import StubReception

HERE = Path(__file__).parent
Serve = Callable[[dict[str, str]], AbstractAsyncContextManager[Live]]


@contextlib.asynccontextmanager
async def serve_stub(settings: dict[str, str]) -> AsyncIterator[Live]:
    """A listener before the stub reception."""
    reception = StubReception(
        trusted="trusted" in settings,
        normalise="normalise" in settings,
        max_line=int(settings.get("max-line", 65536)),
    )
    async with live(reception, listener_options(settings), errors=error_limits(settings)) as server:
        yield server


def listener_options(settings: dict[str, str]) -> ListenerOptions:
    """The listener that a transcript asks for."""
    return listening(
        protocol=settings.get("protocol", "smtp"),
        role=settings.get("role", "mx"),
        xclient=(parse_network(settings["xclient"]),) if "xclient" in settings else (),
    )


def error_limits(settings: dict[str, str]) -> ErrorLimitOptions:
    """Its error budget."""
    return ErrorLimitOptions(errors=int(settings.get("errors", 20)))


@pytest.fixture(params=["stub", "real"])
def serve(request: pytest.FixtureRequest, tmp_path: Path) -> Serve:
    """What makes a server from a transcript's settings: before a stub, before the real reception."""

    @contextlib.asynccontextmanager
    async def serve_real(settings: dict[str, str]) -> AsyncIterator[Live]:
        reception, _queue = real_reception(
            tmp_path,
            trusted="trusted" in settings,
            normalise="normalise" in settings,
            max_line=int(settings.get("max-line", 65536)),
        )
        async with live(reception, listener_options(settings), errors=error_limits(settings)) as server:
            yield server
        await reception.close()

    return serve_real if request.param == "real" else serve_stub


@pytest.mark.parametrize("name", sorted(path.stem for path in HERE.glob("*.txt")))
async def test_dialogue(name: str, serve: Serve) -> None:
    transcript = read_transcript(HERE / f"{name}.txt")
    async with serve(transcript.settings) as server:
        client = await server.dial()
        try:
            await play(transcript, client)
        finally:
            await client.close()
        await server.until(lambda: not server.listeners.sessions)
        assert "smtp.handler-error" not in server.ids()


@pytest.mark.parametrize("steps", ["S: 220\nC: NOOP\nS: 251", "S: 220\nC: NOOP\nS: 250 2.1.0", "S: 220\nC: NOOP\nS: -"])
async def test_a_wrong_reply_is_noticed(steps: str, serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "wrong.txt"
    path.write_text(f"# Wrong on purpose.\n{steps}\nC: QUIT\n")
    async with serve({}) as server:
        with pytest.raises((AssertionError, TimeoutError)):
            await play(read_transcript(path), await server.dial())
