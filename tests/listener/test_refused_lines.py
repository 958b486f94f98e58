"""What is said of refused command lines: what is wrong with them, never a secret or a piece of a message."""

from __future__ import annotations

import base64

import pytest

from relayd.listener.refused_lines import shown
from tests.rig.listener import live
from tests.rig.reception_stub import StubReception

SECRET = base64.b64encode(b"\0jane\0s3cret-pass").decode()


@pytest.mark.parametrize(
    ("line", "id", "fields"),
    [
        ("MAIL FROM:<jane@_odd.test>", "smtp.invalid-sender-address", {"from_": "jane@_odd.test"}),
        ("RCPT TO:<jane doe@x.test>", "smtp.invalid-recipient-address", {"to": "jane doe@x.test"}),
        ("MAIL FROM:<a@x.test> SIZE=many", "smtp.invalid-parameter", {"key": "SIZE"}),
        ("MAIL FROM:<a@x.test> HOLDFOR=never", "smtp.future-release-disabled", {}),
        ("MAIL FROM:<a@x.test> X-ODD=1", "smtp.unsupported-parameter", {"key": "X-ODD"}),
        ("MAIL FROM:<a@x.test> RET=HDRS", "smtp.dsn-disabled", {}),
        ("MAIL a@x.test", "smtp.syntax-error", {"contents": "MAIL a@x.test"}),
        ("MA1L FROM:<a@x.test>", "smtp.syntax-error", {"contents": "MA1L ***"}),
        ("Dear Jane, you owe me", "smtp.invalid-command", {"contents": "Dear ***"}),
    ],
)
async def test_each_refusal_has_its_own_event(line: str, id: str, fields: dict[str, str]) -> None:
    async with live(StubReception()) as server:
        client = await server.dial()
        await client.greet()
        if line.startswith("RCPT"):
            await client.ask("MAIL FROM:<a@x.test>")
        before = len(server.events)
        assert (await client.ask(line))[0] == "5"
        (event,) = server.events[before:]
        assert event.kind.id == id
        assert {name: value for name, value in event.fields.items() if name != "reason"} == fields
        await client.close()


async def test_no_secret_is_said_after_a_refused_auth() -> None:
    async with live(StubReception()) as server:
        client = await server.dial()
        await client.greet()
        for line in (f"auth\tplain {SECRET}", f" AUTH PLAIN {SECRET}", f"AUTH PLAIN {SECRET}", SECRET, "czNjcmV0"):
            assert (await client.ask(line))[0] == "5"
        said = " ".join(str(event.fields) for event in server.events)
        assert "AUTH ***" in said
        for word in (SECRET, SECRET.upper(), "czNjcmV0", "CZNJCMV0"):
            assert word not in said
        await client.close()


def test_of_other_lines_a_word_is_shown() -> None:
    assert shown(b"EHLO \x1b[1mx\r\n", after_auth=True) == "EHLO \x1b[1mx"
    assert shown(b"DATA of the quarter\r\n", after_auth=False) == "DATA ***"
    assert shown(b"x" * 500, after_auth=False) == "x" * 40 + " ***"
    assert shown(b"\xff\r\n", after_auth=False) == "\ufffd"
