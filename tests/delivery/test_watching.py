"""Whose bounces count for holding an account."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from relayd.delivery.watching import Watching
from relayd.mail.reply import Reply
from tests.delivery.setting import job, smarthost
from tests.delivery.test_suppressing import Attempts, refused

HOP = smarthost(25)


@pytest.mark.parametrize(
    ("account", "return_path", "told"),
    [
        ("jane", "jane@ours.test", [("jane", 1, 1)]),
        ("jane", "", [("jane", 1, 1)]),
        ("jane", "dev-owner@ours.test", []),
        (None, "jane@ours.test", []),
    ],
)
async def test_an_account_answers_for_the_recipients_it_chose(
    account: str | None, return_path: str, told: list[tuple[str, int, int]]
) -> None:
    found: list[tuple[str, int, int]] = []
    watching = Watching(Attempts(refused(Reply(550, "5.1.1", "No such user"))), lambda *each: found.append(each))
    given = job()
    given = replace(given, message=replace(given.message, account=account, return_path=return_path))
    await watching.run(given, HOP)
    await watching.run(
        replace(
            given,
            message=replace(
                given.message, recipients=tuple(replace(each, attempts=2) for each in given.message.recipients)
            ),
        ),
        HOP,
    )
    assert found == told
