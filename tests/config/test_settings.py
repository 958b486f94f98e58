"""The owner of the settings: what is listed after what was changed and loaded, and how problems are answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relayd.config.configuration import Config, Problem, Written
from relayd.config.load import load
from relayd.config.settings import Settings, findings
from relayd.config.store import open_store
from relayd.control.api.settings import Clear, Delete, Insert, Operation, Setting, SettingsRefused
from relayd.events.event import EventStream, Span


@pytest.fixture
async def owner(tmp_path: Path) -> AsyncIterator[Settings]:
    file = tmp_path / "relayd.toml"
    file.write_text(f'server.data-dir = "{tmp_path}"\nsession.rcpt.relay-networks = []\n', encoding="utf-8")
    settings = Settings(
        await open_store(tmp_path, Span(EventStream(lambda: 0.0))), load(file, environ={}), lambda config: None
    )
    yield settings
    await settings.store.close()


def insert(*values: tuple[str, str]) -> Operation:
    return Insert(values=list(values), assert_empty=False)


async def test_a_change_is_in_what_is_loaded_next(owner: Settings) -> None:
    assert await owner.change([insert(("server.node", "5"), ("account.a.secret", "x"))]) == [
        "account.a.secret",
        "server.node",
    ]
    assert await owner.change([insert(("server.node", "5"))]) == []
    config = await owner.load()
    assert config.flat()["server.node"] == "5"
    assert owner.config.flat().get("server.node") is None  # until the daemon takes it


async def test_defaults_are_of_the_records_that_there_are(owner: Settings) -> None:
    await owner.change([insert(("queue.route.a.address", "a.example"), ("queue.route.b.address", "b.example"))])
    owner.config = await owner.load()
    listed = await owner.listed(defaults=True)
    assert listed["queue.route.a.protocol"] == Setting("smtp", "default")
    assert listed["queue.route.a.address"] == Setting("a.example", "database")
    assert listed["session.rcpt.relay-networks"] == Setting("", "file")  # an empty list
    assert listed["server.listener.smtp.bind.0000"] == Setting("127.0.0.1:2525", "default")
    assert "queue.route.a.auth.secret" not in listed  # not set, and no default
    await owner.change([Clear(prefix="queue.route.a.")])
    listed = await owner.listed(defaults=True)
    assert not [key for key in listed if key.startswith("queue.route.a.")]
    assert "queue.route.b.protocol" in listed
    assert "queue.route.b.protocol" not in await owner.listed(defaults=False)


async def test_the_file_is_judged_as_it_stands_now(owner: Settings) -> None:
    assert owner.config.path is not None
    good = owner.config.path.read_text(encoding="utf-8")
    owner.config.path.write_text(good + "server.hostnam = 'x'\n", encoding="utf-8")
    with pytest.raises(SettingsRefused, match=r"relayd.toml:3: server.hostnam: unknown key"):
        await owner.change([insert(("server.node", "5"))])
    assert not owner.store.values


async def test_a_change_that_nobody_waits_for_any_more_is_ended(owner: Settings) -> None:
    waiting = asyncio.create_task(owner.change([insert(("server.node", "5"))]))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await owner.change([Delete(keys=["server.loop"])])  # comes after it
    assert owner.store.values == {"server.node": "5"}


def test_findings_are_by_key() -> None:
    config = Config(Path("F"), {}, {}, Written())
    problems = [
        Problem("a.b", "is bad", 3),
        Problem("a.b", "is worse", kind="build", stored=True),
        Problem("", "is not TOML", 1),
    ]
    assert findings(problems, config) == {
        "a.b": {"type": "build", "error": "F:3: is bad; database: is worse"},
        "F": {"type": "parse", "error": "F:1: is not TOML"},
    }
