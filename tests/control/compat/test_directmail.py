"""The DirectMail dialect on the control socket: who may speak it, its two forms of answers, its errors."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import xml.etree.ElementTree as ElementTree
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from relayd.control.app import ControlApp, Setting
from relayd.control.compat.directmail import DirectMail
from relayd.control.options import HttpOptions
from relayd.control.requests import trace
from relayd.directory.access_keys import KeyHolder, NewKey
from relayd.directory.entry import Entry, Type
from relayd.events.event import Span
from tests.control.compat.test_directmail_signature import RECORDED
from tests.control.conftest import ACCOUNTS, Control

USER = Entry(id=1, type=Type.INDIVIDUAL, name="user")


@dataclass
class Caller:
    """Signs requests with version 1.0 as a stranger would, and sends them."""

    control: Control
    key: NewKey
    number: int = 0
    changes: dict[str, str] = field(default_factory=dict)

    def signed(self, action: str, method: str = "GET", **parameters: str) -> dict[str, str]:
        """The parameters with a signature; of `changes`, "" takes one away."""
        self.number += 1
        now = datetime.fromtimestamp(self.control.rig.clock.now, UTC)
        given = {
            "Action": action,
            "AccessKeyId": self.key.id,
            "SignatureMethod": "HMAC-SHA1",
            "SignatureVersion": "1.0",
            "SignatureNonce": f"nonce-{self.number}",
            "Timestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            **parameters,
        }
        query = "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in sorted(given.items()))
        to_sign = f"{method}&%2F&{quote(query, safe='~')}"
        digest = hmac.new(f"{self.key.secret}&".encode(), to_sign.encode(), hashlib.sha1).digest()
        return {**given, "Signature": base64.b64encode(digest).decode()}

    async def call(self, action: str, **parameters: str) -> tuple[int, dict[str, Any]]:
        """Status and answer, as JSON."""
        return await self.send(self.signed(action, Format="JSON", **parameters))

    async def send(self, given: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """Send parameters as they are."""
        async with self.control.session() as session, session.get("/?" + urlencode(given)) as answer:
            return answer.status, json.loads(await answer.read())


@pytest.fixture
async def caller(control: Control) -> Caller:
    assert control.parts.sending is not None
    entry = await control.parts.sending.account("user")
    assert entry is not None
    return Caller(control, await control.parts.sending.keys.create(entry))


@pytest.fixture(autouse=True)
def _with_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """The account "user" has an address."""
    monkeypatch.setitem(ACCOUNTS, "user", replace(ACCOUNTS["user"], emails=("user@example.org",)))


async def test_answers_in_json(caller: Caller, control: Control) -> None:
    status, answer = await caller.call("CreateMailAddress", AccountName="News@Example.org", Sendtype="batch")
    assert status == 200
    assert set(answer) == {"RequestId", "MailAddressId"}
    span = int(answer["RequestId"].replace("-", ""), 16)
    assert control.named("manage.action")[-1].span is not None
    assert control.named("manage.action")[-1].span.id == span  # type: ignore[union-attr]
    status, answer = await caller.call("CreateMailAddress", AccountName="x", Sendtype="batch")
    assert status == 400
    assert set(answer) == {"RequestId", "HostId", "Code", "Message"}
    assert (answer["Code"], answer["HostId"]) == ("InvalidMailAddressName.Malformed", "relay.test")


async def test_answers_in_xml_unless_asked_for_json(caller: Caller) -> None:
    await caller.call("CreateMailAddress", AccountName="a@example.org", Sendtype="batch")
    await caller.call("CreateMailAddress", AccountName="b@example.org", Sendtype="trigger", ReplyAddress="r@x.example")
    async with caller.control.session() as session:
        given = caller.signed("QueryMailAddressByParam", "POST", KeyWord="example")
        async with session.post("/", data=given) as answer:
            assert answer.content_type == "text/xml"
            root = ElementTree.fromstring(await answer.text())
        assert root.tag == "QueryMailAddressByParamResponse"
        assert root.findtext("TotalCount") == "2"
        assert [each.findtext("AccountName") for each in root.findall("data/mailAddress")] == [
            "a@example.org",
            "b@example.org",
        ]
        given = caller.signed("DeleteMailAddress", MailAddressId="<&>")
        async with session.get("/?" + urlencode(given)) as answer:
            root = ElementTree.fromstring(await answer.text())
        assert (root.tag, root.findtext("Code")) == ("Error", "InvalidMailAddressId.Malformed")
        given = caller.signed("DeleteMailAddress", MailAddressId="77")
        async with session.get("/?" + urlencode(given), headers={"Accept": "application/json"}) as answer:
            assert answer.content_type == "application/json"


@pytest.mark.parametrize(
    ("action", "parameters", "status", "code"),
    [
        ("CreateMailAddress", {}, 400, "MissingAccountName"),
        ("CreateMailAddress", {"AccountName": "a@example.org"}, 400, "MissingSendtype"),
        ("CreateMailAddress", {"AccountName": "a@example.org", "Sendtype": "both"}, 400, "InvalidSendtype.Malformed"),
        ("CreateMailAddress", {"AccountName": "a@known.example", "Sendtype": "batch"}, 400, "Forbidden"),
        (
            "CreateMailAddress",
            {"AccountName": "a@unknown.example", "Sendtype": "batch"},
            400,
            "InvalidMailAddressDomain.Malformed",
        ),
        (
            "CreateMailAddress",
            {"AccountName": "taken@example.org", "Sendtype": "batch"},
            400,
            "InvalidMailAddressName.Duplicate",
        ),
        (
            "CreateMailAddress",
            {"AccountName": "a@example.org", "Sendtype": "batch", "ReplyAddress": "no"},
            400,
            "InvalidReplyAddress.Malformed",
        ),
        ("QueryMailAddressByParam", {}, 400, "MissingKeyWord"),
        ("QueryMailAddressByParam", {"KeyWord": "a b"}, 400, "InvalidKeyWord.Malformed"),
        ("QueryMailAddressByParam", {"KeyWord": "a", "PageNo": "0"}, 400, "InvalidPageNo.Malformed"),
        ("QueryMailAddressByParam", {"KeyWord": "a", "PageSize": "10000"}, 400, "InvalidPageSize.Malformed"),
        ("ModifyMailAddress", {}, 400, "MissingMailAddressId"),
        ("ModifyMailAddress", {"MailAddressId": "1"}, 400, "MissingPassword"),
        ("ModifyMailAddress", {"MailAddressId": "1", "Password": "short"}, 400, "InvalidPassword.Malformed"),
        ("ModifyMailAddress", {"MailAddressId": "1", "Password": "longenough"}, 400, "InvalidMailAddressId.Malformed"),
        ("DeleteMailAddress", {}, 400, "MissingMailAddressId"),
        ("CheckReplyToMailAddress", {}, 400, "MissingMailAddressId"),
        ("ApproveReplyMailAddress", {}, 400, "MissingTicket"),
        ("ApproveReplyMailAddress", {"Ticket": "x"}, 400, "InvalidTicket.Malformed"),
        ("UpdateMailAddressMsgCallBackUrl", {}, 400, "MissingMailFrom"),
        ("GetMailAddressMsgCallBackUrl", {"MailFrom": "x@example.org"}, 400, "InvalidMailAddressName.Malformed"),
        ("SingleSendMail", {}, 404, "InvalidAction.NotFound"),
    ],
)
async def test_what_cannot_be_done_has_its_code(
    caller: Caller, action: str, parameters: dict[str, str], status: int, code: str
) -> None:
    found, answer = await caller.call(action, **parameters)
    assert (found, answer["Code"]) == (status, code)


async def test_an_account_has_so_many_addresses_and_sees_no_other_accounts(caller: Caller, control: Control) -> None:
    ids = []
    for number in range(3):
        _, answer = await caller.call("CreateMailAddress", AccountName=f"{number}@example.org", Sendtype="batch")
        ids.append(answer["MailAddressId"])
    status, answer = await caller.call("CreateMailAddress", AccountName="4@example.org", Sendtype="batch")
    assert (status, answer["Code"]) == (400, "InvalidMailAddressNumber.Malformed")
    assert control.parts.sending is not None
    operator = await control.parts.sending.account("operator")
    assert operator is not None
    other = Caller(control, await control.parts.sending.keys.create(operator), number=100)
    assert (await other.call("QueryMailAddressByParam", KeyWord="example"))[1]["TotalCount"] == 0
    _, answer = await other.call("DeleteMailAddress", MailAddressId=ids[0])
    assert answer["Code"] == "InvalidMailAddressId.Malformed"
    _, answer = await other.call("GetMailAddressMsgCallBackUrl", MailFrom="0@example.org")
    assert answer["Code"] == "InvalidMailAddressName.Malformed"


async def test_a_request_is_taken_once(caller: Caller) -> None:
    given = caller.signed("QueryMailAddressByParam", KeyWord="a", Format="JSON")
    assert (await caller.send(given))[0] == 200
    status, answer = await caller.send(given)
    assert (status, answer["Code"]) == (400, "SignatureNonceUsed")
    caller.control.rig.clock.now += 1000
    status, answer = await caller.send(given)
    assert (status, answer["Code"]) == (400, "InvalidTimeStamp.Expired")


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"KeyWord": "b"}, 400, "SignatureDoesNotMatch"),
        ({"Signature": "AAAA"}, 400, "SignatureDoesNotMatch"),
        ({"AccessKeyId": "RKunknown"}, 404, "InvalidAccessKeyId.NotFound"),
        ({"Extra": "1"}, 400, "SignatureDoesNotMatch"),
        ({"SignatureMethod": "none"}, 400, "InvalidParameter"),
        ({"Timestamp": "then"}, 400, "InvalidTimeStamp.Format"),
    ],
)
async def test_a_request_that_is_not_signed_so_is_refused(
    caller: Caller, changes: dict[str, str], status: int, code: str
) -> None:
    given = {**caller.signed("QueryMailAddressByParam", KeyWord="a", Format="JSON"), **changes}
    found, answer = await caller.send(given)
    assert (found, answer["Code"]) == (status, code)
    if code in ("SignatureDoesNotMatch", "InvalidAccessKeyId.NotFound"):
        assert caller.control.named("auth.failed")


async def test_a_revoked_key_signs_nothing_and_a_suspended_account_may_nothing(
    caller: Caller, control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ACCOUNTS, "user", replace(ACCOUNTS["user"], disabled_permissions=("email-send",)))
    control.accounts.reconfigure(ACCOUNTS)
    status, answer = await caller.call("QueryMailAddressByParam", KeyWord="a")
    assert (status, answer["Code"]) == (400, "Forbidden")
    assert control.parts.sending is not None
    entry = await control.parts.sending.account("user")
    assert entry is not None
    assert await control.parts.sending.keys.revoke(entry, caller.key.id)
    status, answer = await caller.call("QueryMailAddressByParam", KeyWord="a")
    assert (status, answer["Code"]) == (404, "InvalidAccessKeyId.NotFound")


async def test_without_an_action_it_is_somebody_elses(tcp: aiohttp.ClientSession) -> None:
    async with tcp.get("/") as answer:
        assert (answer.status, answer.content_type) == (200, "text/html")
    async with tcp.post("/") as answer:
        assert answer.status == 401


async def test_what_is_in_front_has_the_rest(caller: Caller, control: Control, setting: Setting) -> None:
    """As the console's page will be: reached at `/`, whether or not the dialect is spoken."""

    async def page(request: web.Request) -> web.StreamResponse:
        return web.Response(text="a page")

    parts = control.app._parts
    assert parts.sending is not None
    app = control.app
    for dialects, with_action in ((("native", "directmail"), "RequestId"), (("native",), "a page")):
        options = HttpOptions(dialects=dialects)
        spoken = DirectMail(
            parts.sending.operations,
            parts.sending.keys,
            app.gate,
            app._limits,
            app._checks.admitted,
            lambda options=options: options,  # type: ignore[misc]
            lambda: "relay.test",
            control.rig.clock,
            page,
        )
        assert {(door.method, door.dialect) for door in spoken.doors()} == {("GET", ""), ("POST", "")}
        served = web.Application(middlewares=[trace(control.app._span, lambda: 128)])
        for door in spoken.doors():
            served.router.add_route(door.method, door.path, door.handler)
        async with TestServer(served) as server, aiohttp.ClientSession() as session:
            async with session.get(server.make_url("/")) as answer:
                assert await answer.text() == "a page"
            async with session.get(server.make_url("/?Action=QueryMailAddressByParam")) as answer:
                assert with_action in await answer.text()


class TestSwitchedOff:
    @pytest.fixture
    def options(self) -> HttpOptions:
        return HttpOptions(dialects=("native",))

    async def test_it_is_not_there(self, admin: aiohttp.ClientSession) -> None:
        async with admin.get("/?Action=QueryMailAddressByParam") as answer:
            assert (answer.status, answer.content_type) == (200, "text/html")
        async with admin.post("/?Action=QueryMailAddressByParam") as answer:
            assert answer.status == 401


# What real clients sent


class OneKey:
    """The key with which the suite was recorded; it is an account's that has no rights here."""

    async def find(self, id: str) -> KeyHolder | None:
        return KeyHolder(id, "testAccessKeySecret", USER) if id == "testAccessKeyId" else None


@pytest.fixture
async def recorder(control: Control, setting: Setting) -> AsyncIterator[ControlApp]:
    """A control socket at the time of the recording, which knows its key."""
    assert control.parts.sending is not None
    control.rig.clock.now = datetime(2026, 11, 21, 3, 8, 30, tzinfo=UTC).timestamp()
    sending = replace(control.parts.sending, keys=OneKey())  # type: ignore[arg-type]
    app = ControlApp(replace(control.parts, sending=sending), Span(control.app._span.stream), setting)
    await app.start()
    yield app
    await app.stop()


def raw(request: dict[str, Any]) -> bytes:
    """A recorded request as it was on the wire."""
    head = [f"{request['method']} {request['target']} HTTP/1.1"]
    head += [f"{name}: {value}" for name, value in request["headers"] if name.lower() != "connection"]
    body: str = request["body"]
    return "\r\n".join([*head, "Connection: close", "", body]).encode()


async def sent(app: ControlApp, octets: bytes) -> str:
    """The code of the answer, "" without one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", app.addresses[0][1])
    writer.write(octets)
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    assert head.startswith(b"HTTP/1.1 ")
    return str(json.loads(body).get("Code", "")) if body.startswith(b"{") else body.decode()


AS_SIGNED = ("InvalidAction.NotFound", "InvalidMailAddressDomain.Malformed")
"""What is said to whose signature is good: the operation is none of ours, or the domain is none of the account's."""


@RECORDED
async def test_recorded_requests_are_taken_once_and_not_changed(
    recorder: ControlApp, recording: dict[str, Any]
) -> None:
    (request,) = recording["requests"]
    octets = raw(request)
    target = request["target"].encode()
    changed = octets.replace(target, target + (b"&" if b"?" in target else b"?") + b"x=1", 1)
    assert await sent(recorder, changed) == "SignatureDoesNotMatch"
    assert await sent(recorder, octets) in AS_SIGNED
    assert await sent(recorder, octets) == "SignatureNonceUsed"
