"""Reception with the real queue: what was promised can be read back, and the count of recipients is true."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relayd.events.event import Span
from relayd.mail.reply import Reply
from relayd.queue.opening import OpenQueue, QueueOptions, Surroundings, open_queue
from relayd.queue.options import LimitOptions, SpaceOptions
from relayd.reception.receive import Parts, Reception
from relayd.smtp.command import MailCommand
from tests.reception.house import NOW, House, outcome

SMALL = b"From: a@b.example\r\nBcc: x@y.example\r\n\r\nbody\r\n"
BIG = SMALL + b"x" * 98 + b"\r\n" + (b"y" * 98 + b"\r\n") * 30_000


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[tuple[House, OpenQueue]]:
    """Reception in front of an open queue."""
    rig = House(tmp_path, server={"aliases": ["root: a@x.example, b@y.example"]})
    around = Surroundings(
        clock=lambda: rig.now, span=Span(rig.stream), on_broken=lambda text: None, measure=lambda path: 1 << 40
    )
    queue = await open_queue(tmp_path / "data", QueueOptions(space=SpaceOptions(reserve=1 << 16)), 1, around)
    old = rig.reception._parts
    rig.reception = Reception(
        rig.reception.policy,
        Parts(
            queue=queue.queue,
            blobs=queue.blobs,
            space=queue.space,
            admission=rig.delivery,
            prober=rig.prober,
            directory=old.directory,
            resolver=old.resolver,
            clock=old.clock,
            snowflakes=old.snowflakes,
            signing=old.signing,
        ),
    )
    yield rig, queue
    await queue.close()


async def send(rig: House, content: bytes, *to: str) -> int:
    tx = await rig.begin(await rig.trusted())
    for address in to:
        assert (await rig.rcpt(tx, address)).is_positive
    assert (await rig.send(tx, content)).code == 250
    rig.reception.abort(tx)
    return tx.id


@pytest.mark.parametrize("content", [SMALL, BIG])
async def test_what_was_promised_can_be_read_back(opened: tuple[House, OpenQueue], content: bytes) -> None:
    rig, queue = opened
    id = await send(rig, content, "c@far.example")
    message = await queue.queue.get(id)
    assert message is not None
    source = await queue.queue.open_body(id)
    octets = b""
    while chunk := await source.read(1 << 20):
        octets += chunk
    source.close()
    assert len(octets) == message.size
    assert octets.startswith(b"Received: from client.example ")
    assert octets.endswith(content.replace(b"Bcc: x@y.example\r\n", b""))
    assert list((queue.blobs.directory / "incoming").iterdir()) == []


async def test_the_job_that_was_handed_over_is_the_one_that_the_queue_has(opened: tuple[House, OpenQueue]) -> None:
    rig, queue = opened
    id = await send(rig, SMALL, "c@far.example", "d@x.example")
    stored = await queue.queue.get(id)
    assert stored is not None
    handed = {each.number: each for job in rig.delivery.jobs for each in job.message.recipients}
    assert [handed[each.number] for each in stored.recipients] == list(stored.recipients)
    for name in ("id", "origin", "return_path", "size", "sender_key", "trusted", "client", "message_id", "signed"):
        assert getattr(rig.delivery.jobs[0].message, name) == getattr(stored, name), name


async def test_the_count_of_recipients_is_true_with_aliases_and_repetitions(opened: tuple[House, OpenQueue]) -> None:
    rig, queue = opened
    await send(rig, SMALL, "root", "a@x.example", "c@far.example", "c@far.example", "ROOT")
    rig.delivery.admits = False
    await send(rig, SMALL, "a@x.example", "root", "root@mx.relay.example")
    audit = await queue.queue.audit()
    assert audit.difference == 0
    assert audit.queued == 5


async def test_too_little_space_is_told_at_mail(opened: tuple[House, OpenQueue]) -> None:
    rig, queue = opened
    queue.space.configure(SpaceOptions(reserve=1 << 16, min_free=1 << 50), LimitOptions())
    rig.now = NOW + 3600
    refused = await rig.reception.mail(await rig.trusted(), MailCommand(return_path="a@b.example"))
    assert isinstance(refused, Reply)
    assert outcome(refused) == (452, "4.3.1")
