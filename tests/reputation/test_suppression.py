"""The suppression list: whose mail an entry stops, how it ends, how it is undone, what it costs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from relayd.events.event import Event, EventStream, Span
from relayd.reputation.options import SuppressionOptions
from relayd.reputation.suppression import FILE, ListFull, SuppressionList, sentence
from relayd.reputation.suppression_rows import Entry, Evidence, Filter
from tests.queue.conftest import DAY, START, Clock

ON = SuppressionOptions(enable=True)
DEAD = Evidence(queue_id=7, host="mx.x.example", code=550, enhanced="5.1.1", reply="no such user", rule="unknown")


class Kept:
    """A list in a directory, opened again at will; the clock stands still."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = Clock()
        self.events: list[Event] = []
        self.list = self.new()

    def new(self) -> SuppressionList:
        """Another process's view of the same directory."""
        return SuppressionList(self.directory, self.clock, Span(EventStream(self.clock, [self.events.append])))

    async def reopen(self, options: SuppressionOptions = ON) -> None:
        await self.list.close()
        self.list = self.new()
        await self.list.reconfigure(options)

    async def stops(self, address: str, account: str | None = None, sender: str = "a@s.example") -> str | None:
        """The cause for which mail is stopped."""
        found = await self.list.find(address, account, sender)
        return found.cause if found is not None else None

    def entry(self, address: str, scope: str = "domain:s.example", **changes: object) -> Entry:
        made = Entry(
            scope=scope,
            address=address,
            cause="bad-mailbox",
            since=self.clock.now,
            until=self.clock.now + 30 * DAY,
            evidence=DEAD,
        )
        return replace(made, **changes)  # type: ignore[arg-type]


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Kept]:
    one = Kept(tmp_path)
    await one.list.reconfigure(ON)
    yield one
    await one.list.close()


@pytest.mark.parametrize(
    ("scope", "account", "sender", "is_stopped"),
    [
        ("global", None, "any@other.example", True),
        ("account:ann", "ann", "any@other.example", True),
        ("account:ann", "bob", "a@s.example", False),
        ("account:ann", None, "a@s.example", False),
        ("domain:s.example", "bob", "Z@S.Example", True),
        ("domain:s.example", None, "a@sub.s.example", False),
        ("domain:xn--bcher-kva.example", None, "a@bücher.example", True),
    ],
)
async def test_an_entry_stops_the_mail_of_its_scope(
    kept: Kept, scope: str, account: str | None, sender: str, is_stopped: bool
) -> None:
    await kept.list.add(kept.entry("dead@x.example", scope))
    assert (await kept.stops("dead@x.example", account, sender) is not None) == is_stopped


@pytest.mark.parametrize("address", ["Dead@X.Example", '"dead"@x.example', "dead@x.example"])
async def test_addresses_are_compared_folded(kept: Kept, address: str) -> None:
    await kept.list.add(kept.entry("dead@x.example"))
    assert await kept.stops(address) == "bad-mailbox"
    assert await kept.stops("dead+tag@x.example") is None


async def test_a_whole_domain(kept: Kept) -> None:
    await kept.list.add(kept.entry("@gone.example", by="ann", cause="operator"))
    assert await kept.stops("anybody@gone.example") == "operator"
    assert await kept.stops("anybody@sub.gone.example") is None


async def test_entries_end(kept: Kept) -> None:
    await kept.list.add(kept.entry("dead@x.example"))
    await kept.list.add(kept.entry("for-good@x.example", by="ann", until=None))
    kept.clock.now += 30 * DAY - 1
    assert await kept.stops("dead@x.example")
    kept.clock.now += 1
    assert await kept.stops("dead@x.example") is None
    assert await kept.stops("for-good@x.example")
    assert (await kept.list.list(Filter()))[1] == 1
    await kept.list.add(kept.entry("other@x.example"))
    assert len(kept.list) == 2, "what has ended takes no memory"


async def test_entries_survive_a_restart_with_their_evidence(kept: Kept) -> None:
    await kept.list.add(kept.entry("dead@x.example"))
    await kept.reopen()
    (found,), total = await kept.list.list(Filter())
    assert total == 1
    assert found == kept.entry("dead@x.example", id=found.id)
    assert sentence(found, "2027-01-15") == (
        "The recipient is suppressed since 2027-01-15: bad-mailbox (550 5.1.1 no such user)"
    )


async def test_off_it_stops_nothing_and_opens_nothing(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    await kept.list.reconfigure(SuppressionOptions())
    assert not (tmp_path / FILE).exists()
    await kept.list.add(kept.entry("dead@x.example"))
    assert await kept.stops("dead@x.example") is None
    await kept.list.reconfigure(ON)
    assert await kept.stops("dead@x.example")
    await kept.list.reconfigure(SuppressionOptions())
    assert await kept.stops("dead@x.example") is None
    await kept.list.close()


async def test_a_second_bounce_renews_and_counts(kept: Kept) -> None:
    first = await kept.list.add(kept.entry("dead@x.example"))
    kept.clock.now += DAY
    second = await kept.list.add(kept.entry("dead@x.example"))
    assert first is not None
    assert second is not None
    assert (second.times, second.until) == (2, kept.clock.now + 30 * DAY)
    assert (await kept.list.list(Filter()))[1] == 1


async def test_what_somebody_made_is_not_changed_by_a_bounce(kept: Kept) -> None:
    made = await kept.list.add(kept.entry("dead@x.example", by="ann", cause="complaint", until=None))
    assert await kept.list.add(kept.entry("dead@x.example")) is None
    (found,), _ = await kept.list.list(Filter())
    assert found == made


@pytest.mark.parametrize(
    ("filter", "left"),
    [
        (Filter(cause="bad-mailbox"), ["c@y.example"]),
        (Filter(rule="unknown"), []),
        (Filter(rule="other"), ["a@x.example", "b@x.example", "c@y.example"]),
        (Filter(host="X.example"), []),
        (Filter(host="%"), ["a@x.example", "b@x.example", "c@y.example"]),
        (Filter(host="ample"), ["a@x.example", "b@x.example", "c@y.example"]),
        (Filter(scope="account:ann"), ["a@x.example", "c@y.example"]),
        (Filter(since=START + 10), ["a@x.example"]),
        (Filter(until=START + 10), ["b@x.example", "c@y.example"]),
        (Filter(text="@Y."), ["a@x.example", "b@x.example"]),
        (Filter(address="A@X.example"), ["b@x.example", "c@y.example"]),
        (Filter(address="a@x.example", cause="bad-domain"), ["a@x.example", "b@x.example", "c@y.example"]),
    ],
)
async def test_entries_are_undone_by_what_they_rest_on(kept: Kept, filter: Filter, left: list[str]) -> None:
    await kept.list.add(kept.entry("a@x.example"))
    kept.clock.now += 10
    await kept.list.add(kept.entry("b@x.example", "account:ann"))
    await kept.list.add(kept.entry("c@y.example", cause="bad-domain"))
    removed = await kept.list.remove(filter, "ann", "")
    assert removed == 3 - len(left)
    assert sorted(each.address for each in (await kept.list.list(Filter()))[0]) == left
    for address in ("a@x.example", "b@x.example", "c@y.example"):
        assert (await kept.stops(address, "ann") is not None) == (address in left)


async def test_a_full_list_lets_the_first_to_end_go(kept: Kept) -> None:
    await kept.list.reconfigure(replace(ON, max_entries=2))
    await kept.list.add(kept.entry("long@x.example", until=START + 2 * DAY))
    await kept.list.add(kept.entry("short@x.example", until=START + DAY))
    await kept.list.add(kept.entry("new@x.example", until=START + 3 * DAY))
    assert await kept.stops("short@x.example") is None
    assert len(kept.list) == 2
    assert kept.events[-2].kind.id == "suppression.evicted"


async def test_a_list_full_of_what_does_not_end_says_so(kept: Kept) -> None:
    await kept.list.reconfigure(replace(ON, max_entries=1))
    await kept.list.add(kept.entry("a@x.example", by="ann", until=None))
    with pytest.raises(ListFull):
        await kept.list.add(kept.entry("b@x.example", by="ann", until=None))
    assert await kept.stops("b@x.example") is None
    assert (await kept.list.list(Filter()))[1] == 1


async def test_who_is_not_on_it_costs_no_read(kept: Kept) -> None:
    await kept.list.add(kept.entry("dead@x.example"))
    await kept.list._database.close()  # type: ignore[union-attr]  # a read would fail from now on
    assert await kept.stops("alive@x.example") is None


async def test_a_file_that_is_no_database_stops_no_mail(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"not a database" * 1000)
    kept = Kept(tmp_path)
    await kept.list.reconfigure(ON)
    assert not kept.list.is_active
    assert kept.events[-1].kind.id == "store.broken"
    assert await kept.stops("dead@x.example") is None


def test_a_sentence_is_fit_for_a_reply() -> None:
    why = Evidence(code=550, enhanced="5.1.1", reply="kein\r\nKonto für “dich”" + "x" * 500)
    entry = Entry(scope="global", address="a@x", cause="bad-mailbox", since=0, until=None, evidence=why)
    text = sentence(entry, "1970-01-01")
    assert text.isascii()
    assert text.isprintable()
    assert len(text) <= 300
