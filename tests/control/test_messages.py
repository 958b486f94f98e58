"""The texts of a queued message: whose reply it is stands in a domain's, the reply alone in a recipient's."""

from __future__ import annotations

import pytest
from msgspec import structs

from relayd.control.api.messages import message_value
from relayd.queue.message import Recipient, State
from relayd.queue.rows import CANCELED
from tests.queue.conftest import START, Rig

REPLY = "Code: 451, Enhanced code: 4.7.1, Message: Unexpected response from 'x': Code: 1"
FROM_HOST = f"Unexpected response from 'mx.one.example': {REPLY}"
UNREACHED = "Connection to 'mx.one.example' failed: refused"


def _recipient(state: State, status: str) -> Recipient:
    return Recipient(
        number=0,
        address="a@one.example",
        destination="one.example",
        state=state,
        attempts=1,
        next_attempt=START,
        next_notify=None,
        expires=START + 60,
        notify=None,
        orcpt=None,
        status=status,
    )


@pytest.mark.parametrize(
    ("outcomes", "domain", "recipient"),
    [
        ([(State.TEMP_FAIL, FROM_HOST)], {"temp_fail": FROM_HOST}, {"temp_fail": REPLY}),
        ([(State.PERM_FAIL, FROM_HOST)], {"perm_fail": FROM_HOST}, {"perm_fail": REPLY}),
        ([(State.COMPLETED, REPLY)], {"completed": ""}, {"completed": REPLY}),
        ([(State.TEMP_FAIL, UNREACHED)], {"temp_fail": UNREACHED}, {"temp_fail": UNREACHED}),
        ([(State.PERM_FAIL, FROM_HOST), (State.PERM_FAIL, CANCELED)], {"completed": ""}, {"perm_fail": REPLY}),
        (
            [(State.TEMP_FAIL, FROM_HOST), (State.PERM_FAIL, CANCELED)],
            {"temp_fail": FROM_HOST},
            {"temp_fail": REPLY},
        ),
    ],
)
async def test_texts(rig: Rig, outcomes: list[tuple[State, str]], domain: object, recipient: object) -> None:
    new = rig.new()
    await rig.o.queue.enqueue(new)
    message = await rig.o.queue.get(new.id)
    assert message is not None
    recipients = tuple(_recipient(state, status) for state, status in outcomes)
    (shown,) = message_value(structs.replace(message, recipients=recipients), START)["domains"]
    assert (shown["status"], shown["recipients"][0]["status"]) == (domain, recipient)
