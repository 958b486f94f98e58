"""Held mail over the API: shown safely, released, deleted, reported."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from relayd.control.api.quarantine import QuarantineOperations, ReportQuery, Verdict, _read
from relayd.queue.filter import Filter, Kind
from relayd.queue.message import Body, NewMessage
from tests.control.conftest import Control

HOSTILE = (
    b"From: =?utf-8?q?M=C3=BCller=1B[31m?= <a@b.test>\r\nSubject: <script>alert(1)</script>\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n"
    b"--x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nhello \xe2\x80\xae there\x07\r\n"
    b'--x\r\nContent-Type: application/zip; name="bad.zip"\r\nContent-Transfer-Encoding: base64\r\n'
    b"\r\nUEs=\r\n--x--\r\n"
)


async def hold(control: Control) -> NewMessage:
    body = Body(head=b"", content=HOSTILE, size=len(HOSTILE))
    message = control.rig.new(held="looks odd", body=body)
    await control.rig.o.queue.enqueue(message)
    return message


async def data(session: aiohttp.ClientSession, method: str, path: str) -> Any:
    async with session.request(method, "/api" + path) as answer:
        body = await answer.json()
        assert "data" in body, body
        return body["data"]


async def test_held_mail_is_listed_and_shown_safely(admin: aiohttp.ClientSession, control: Control) -> None:
    await control.rig.o.queue.enqueue(control.rig.new())
    message = await hold(control)
    found = await data(admin, "GET", "/quarantine")
    (item,) = found["items"]
    assert (found["total"], item["id"], item["reason"]) == (1, message.id, "looks odd")
    shown = await data(admin, "GET", f"/quarantine/{message.id}")
    header = {each["name"]: each["value"] for each in shown["header"]}
    assert header["From"] == "Müller\ufffd[31m <a@b.test>"
    assert header["Subject"] == "<script>alert(1)</script>"
    text, attached = shown["parts"]
    assert text["text"].startswith("hello \ufffd there\ufffd")
    assert (attached["type"], attached["name"], attached["text"]) == ("application/zip", "bad.zip", None)
    assert shown["is_cut"] is False
    (noted,) = control.named("manage.action")
    assert (noted.fields["type_"], noted.fields["account_name"]) == ("message.read", "admin")
    assert (noted.fields["details"], noted.fields["total"]) == (str(message.id), message.body.size)


async def test_it_is_released_or_deleted_once(admin: aiohttp.ClientSession, control: Control) -> None:
    first, second = await hold(control), await hold(control)
    assert await data(admin, "POST", f"/quarantine/{first.id}/release") is True
    assert await data(admin, "DELETE", f"/quarantine/{second.id}") is True
    for id in (first.id, second.id, 0, "x", 1 << 70):
        async with admin.get(f"/api/quarantine/{id}") as answer:
            assert (await answer.json())["error"] == "notFound", id
    ids, _ = await control.rig.o.queue.list(Filter(kind=Kind.HELD))
    assert ids == []
    types = [each.fields["type_"] for each in control.named("manage.action")]
    assert types == ["quarantine.release", "quarantine.delete"]


def call(control: Control, id: int, report: str | None) -> Any:
    """As the application makes one."""
    caller = SimpleNamespace(name="admin", tenant="")
    return SimpleNamespace(
        path={"id": str(id)}, query=ReportQuery(report=report), caller=caller, span=control.app._span
    )


async def test_what_is_decided_is_learnt_unless_told_otherwise(control: Control) -> None:
    learnt: list[tuple[bytes, Verdict, bool]] = []

    async def learn(message: bytes, verdict: Verdict, automatic: bool) -> bool:
        learnt.append((message, verdict, automatic))
        return True

    queue, actions = control.rig.o.queue, control.rig.o.actions
    operations = QuarantineOperations(queue, queue, actions, learn)
    routes = {(each.method, each.path): each.handler for each in operations.routes()}

    release, delete, report = (
        routes["POST", "/quarantine/{id}/release"],
        routes["DELETE", "/quarantine/{id}"],
        routes["POST", "/quarantine/{id}/report"],
    )
    for handler, given in ((release, None), (delete, None), (delete, "ham"), (release, "none")):
        message = await hold(control)
        await handler(call(control, message.id, given))
    message = await hold(control)
    assert await report(call(control, message.id, "spam")) is True
    assert [(verdict, automatic) for _, verdict, automatic in learnt] == [
        ("ham", True), ("spam", True), ("ham", False), ("spam", False),
    ]  # fmt: skip
    assert learnt[0][0] == HOSTILE


@pytest.mark.parametrize("report", ["", "?report=odd", "?report=none"])
async def test_a_report_says_what_it_is(admin: aiohttp.ClientSession, control: Control, report: str) -> None:
    message = await hold(control)
    async with admin.post(f"/api/quarantine/{message.id}/report{report}") as answer:
        assert answer.status == 400
        assert "expected spam or ham" in await answer.text()


async def test_a_decision_with_a_bad_report_decides_nothing(admin: aiohttp.ClientSession, control: Control) -> None:
    message = await hold(control)
    async with admin.delete(f"/api/quarantine/{message.id}?report=odd") as answer:
        assert answer.status == 400
    assert (await data(admin, "GET", "/quarantine"))["total"] == 1


@pytest.mark.parametrize("octets", [b"", b"\r\n", b"no colon", b"A: b", b"\xff\xfe" * 100, b"Content-Type: a/b; x"])
def test_whatever_it_is_it_can_be_looked_at(octets: bytes) -> None:
    _read(octets)
