"""The BrainyCP dialect over a real queue: every operation and code of its document, in both languages."""

from __future__ import annotations

import io
from ipaddress import ip_network
from typing import Any

import aiohttp
import pytest

from relayd.control.app import Setting
from relayd.control.compat import brainycp
from relayd.control.compat.brainycp_scanners import detail
from relayd.control.options import HttpOptions
from relayd.database.interface import DatabaseError
from relayd.directory.options import AccountOptions
from relayd.listener.options import Bind, ListenerOptions
from relayd.queue.filter import Filter, Kind
from relayd.queue.message import NewMessage
from relayd.reputation.options import BanOptions
from relayd.reputation.rate import Rate
from tests.control.conftest import Control
from tests.queue.conftest import DAY

URL = "/api/api.php"
ADMIN = {"username": "admin", "password": "s3:cret", "language": "en", "mailserver": "mailserver"}
DENIED = "Unfortunately, the module is not available to you."


class Panel:
    """Sends what the panel sends, and gives the answer."""

    def __init__(self, session: aiohttp.ClientSession, parameters: dict[str, str]) -> None:
        self.session = session
        self.parameters = parameters

    async def ask(self, operation: str, method: str = "POST", **more: str) -> dict[str, Any]:
        given = {**self.parameters, operation: operation, **more}
        where = {"params": given} if method == "GET" else {"data": given}
        async with self.session.request(method, URL, **where) as answer:  # type: ignore[arg-type]
            return await said(answer)


async def said(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    body: dict[str, Any] = await answer.json()
    assert body["mess"] == body["message"]
    return body


def text(body: dict[str, Any]) -> tuple[int, str]:
    return body["error"], body["mess"]


@pytest.fixture
async def panel(tcp: aiohttp.ClientSession) -> Panel:
    return Panel(tcp, ADMIN)


async def put(control: Control, *addresses: str, **fields: Any) -> NewMessage:
    message = control.rig.new(*addresses, **fields)
    await control.rig.o.queue.enqueue(message)
    return message


async def ids(control: Control, **filter: Any) -> list[int]:
    return (await control.rig.o.queue.list(Filter(**filter)))[0]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_list(panel: Panel, control: Control, method: str) -> None:
    assert text(await panel.ask("list_msg", method)) == (100, "The mail queue list is empty")
    first = await put(control, "a@one.example", "b@two.example")
    second = await put(control, sender="", held="looked at")
    control.rig.clock.now += 90.7
    await control.rig.o.actions.cancel(first.id, "b@two", "x")
    assert await panel.ask("list_msg", method) == {
        "error": 0,
        "mess": "Mail queue list",
        "message": "Mail queue list",
        "detail": [
            {
                "id": first.id,
                "size": first.body.size,
                "age": 90,
                "sender": "sender@example.org",
                "recipients": ["a@one.example"],
                "frozen": False,
            },
            {
                "id": second.id,
                "size": second.body.size,
                "age": 90,
                "sender": "",
                "recipients": ["one@a.example"],
                "frozen": True,
            },
        ],
    }


async def test_a_long_list_is_written_in_pieces(
    panel: Panel, control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in = [(await put(control)).id for _ in range(7)]
    whole = await panel.ask("list_msg")
    monkeypatch.setattr(brainycp, "_AT_ONCE", 3)
    assert await panel.ask("list_msg") == whole
    assert [each["id"] for each in whole["detail"]] == put_in


async def test_the_count(panel: Panel, control: Control) -> None:
    await put(control)
    await put(control)
    body = await panel.ask("count_msg")
    assert (text(body), body["detail"]) == ((0, "Number of messages"), 2)


@pytest.mark.parametrize("more", [{}, {"dellete_forse": "1"}, {"dellete_forse": ""}])
async def test_all_go(panel: Panel, control: Control, more: dict[str, str]) -> None:
    control.rig.o.actions.keep = DAY
    await put(control)
    await put(control, held="looked at")
    body = await panel.ask("delete_all_msg", **more)
    assert (text(body), body["detail"]) == ((0, "Request completed"), ["Messages deleted: 2"])
    assert await ids(control) == []
    # what was not forced can be brought back
    assert len(await ids(control, kind=Kind.DELETED)) == (0 if more else 2)
    (event,) = control.named("manage.action")
    assert (event.fields["account_name"], event.fields["total"]) == ("admin", 2)
    assert event.fields["type_"] == ("queue.purge" if more else "queue.remove")


async def test_frozen_ones_go(panel: Panel, control: Control) -> None:
    stays = await put(control)
    await put(control, held="looked at")
    body = await panel.ask("delete_frozen_msg", "GET")
    assert (text(body), body["detail"]) == ((0, "Request completed"), ["Messages deleted: 1"])
    assert await ids(control) == [stays.id]
    body = await panel.ask("delete_frozen_msg")
    assert (text(body), body["detail"]) == ((0, "Request completed"), ["Messages deleted: 0"])


async def test_one_goes(panel: Panel, control: Control) -> None:
    control.rig.o.actions.keep = DAY
    goes, stays = await put(control), await put(control)
    body = await panel.ask("controll_msg", id=str(goes.id), command="delete")
    assert (text(body), body["detail"]) == ((0, "Request completed"), ["Messages deleted: 1"])
    assert await ids(control) == [stays.id]
    # what is deleted is not there, though it is kept
    assert text(await panel.ask("controll_msg", id=str(goes.id), command="delete")) == (101, "Missing message id")


async def test_one_is_sent_again(panel: Panel, control: Control) -> None:
    later = await put(control, due=control.rig.clock.now + 5000)
    frozen = await put(control, held="looked at", due=control.rig.clock.now + 5000)
    for message in (later, frozen):
        body = await panel.ask("controll_msg", id=f" {message.id} ", command="reship")
        assert (text(body), body["detail"]) == ((0, "Request completed"), ["Messages to be sent again now: 1"])
    assert {job.message.id for job in await control.rig.lease()} == {later.id, frozen.id}
    assert [event.fields["type_"] for event in control.named("manage.action")] == [
        "queue.reschedule",
        "queue.release",
        "queue.reschedule",
    ]
    # one that is under way already
    body = await panel.ask("controll_msg", id=str(later.id), command="reship")
    assert (text(body), body["detail"]) == ((0, "Request completed"), ["Messages to be sent again now: 0"])


async def test_an_id_as_javascript_rounds_it(panel: Panel, control: Control) -> None:
    message = await put(control)
    printed = repr(float(message.id)).removesuffix("e+17").replace(".", "").ljust(18, "0")  # its shortest digits
    assert printed != str(message.id)
    assert text(await panel.ask("controll_msg", id=printed, command="delete")) == (0, "Request completed")


@pytest.mark.parametrize(
    ("more", "answer"),
    [
        ({}, (100, "Invalid value command")),
        ({"command": "DELETE", "id": "1"}, (100, "Invalid value command")),
        ({"command": "delete"}, (101, "Missing message id")),
        ({"command": "reship", "id": ""}, (101, "Missing message id")),
        ({"command": "reship", "id": "one"}, (101, "Missing message id")),
        ({"command": "delete", "id": "1"}, (101, "Missing message id")),
        ({"command": "delete", "id": "18446744073709551615"}, (101, "Missing message id")),
        ({"command": "delete", "id": "9" * 300}, (101, "Missing message id")),
    ],
)
async def test_what_cannot_be_done_to_one(panel: Panel, more: dict[str, str], answer: tuple[int, str]) -> None:
    assert text(await panel.ask("controll_msg", **more)) == answer


async def test_a_queue_that_cannot_be_written(panel: Panel, control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    message = await put(control)

    async def broken(work: object) -> None:
        raise DatabaseError("disk full: /secret")

    monkeypatch.setattr(control.rig.o.database, "write", broken)
    answer = (102, "The server for sending letters is missing or incorrectly specified")
    assert text(await panel.ask("controll_msg", id=str(message.id), command="delete")) == answer
    assert text(await panel.ask("delete_all_msg")) == answer


@pytest.mark.parametrize("operation", ["", "queue"])
async def test_what_is_no_operation(panel: Panel, operation: str) -> None:
    assert text(await panel.ask(operation, command="status")) == (100, "Invalid command")


@pytest.mark.parametrize("operation", ["clamav", "spamassassin"])
async def test_a_scanner_where_there_is_none(panel: Panel, operation: str) -> None:
    answer = await panel.ask(operation, command="status")
    assert (text(answer), answer["detail"]) == ((0, "Command completed"), ["off"])
    assert text(await panel.ask(operation, command="restart")) == (100, "Invalid command")
    assert text(await panel.ask(operation)) == (100, "Invalid command")
    assert text(await panel.ask(operation, command="on")) == (400, DENIED)


def test_what_the_panel_is_told_of_a_scanner() -> None:
    assert detail({"one": "off"}) == ["off"]
    assert detail({"one": "off", "two": ""}) == ["on"]
    assert detail({"one": "no answer in 5 s", "two": ""}) == ["on", "one: no answer in 5 s"]


async def test_several_operations_do_nothing(panel: Panel, control: Control) -> None:
    message = await put(control)
    assert text(await panel.ask("list_msg", delete_all_msg="1")) == (100, "Invalid command")
    assert await ids(control) == [message.id]


@pytest.mark.parametrize("language", ["ru", "de", "", None])
async def test_russian_is_spoken_unless_english_is_asked_for(
    tcp: aiohttp.ClientSession, control: Control, language: str | None
) -> None:
    spoken = {key: value for key, value in ADMIN.items() if key != "language"}
    panel = Panel(tcp, spoken if language is None else {**spoken, "language": language})
    assert text(await panel.ask("count_msg")) == (0, "Количество сообщений")
    assert (await panel.ask("delete_all_msg"))["detail"] == ["Удалено сообщений: 0"]
    assert text(await panel.ask("count_msg", password="wrong")) == (400, "К сожалению, модуль вам недоступен.")


def test_every_text_is_in_both_languages() -> None:
    for english, russian in brainycp._TEXTS.values():
        assert english.isascii()
        assert russian
        assert not russian.isascii()
        assert english.count("{}") == russian.count("{}")


@pytest.mark.parametrize(
    "changed",
    [
        {"password": "wrong"},
        {"password": ""},
        {"username": ""},
        {"username": "nobody-here"},
        {"username": "ad\0min"},
        {"password": "s3:cret\0"},
        {"username": "nobody", "password": "plain"},
        {"username": "robot", "password": "plain"},
        {"username": "careful", "password": "plain"},
        {"username": "busy", "password": "x"},
    ],
    ids=str,
)
async def test_who_may_not_sign_in(panel: Panel, control: Control, changed: dict[str, str]) -> None:
    message = await put(control)
    assert text(await panel.ask("delete_all_msg", **changed)) == (400, DENIED)
    assert await ids(control) == [message.id]


async def test_credentials_of_another_kind_do_not_count(admin: aiohttp.ClientSession) -> None:
    async with admin.get(URL, params={"mailserver": "1", "count_msg": "1", "language": "en"}) as answer:
        assert text(await said(answer)) == (400, DENIED)


async def test_another_module(tcp: aiohttp.ClientSession) -> None:
    panel = Panel(tcp, {key: value for key, value in ADMIN.items() if key != "mailserver"})
    assert text(await panel.ask("count_msg")) == (400, DENIED)


@pytest.mark.parametrize(
    ("permission", "allowed"),
    [
        ("message-queue-list", {"list_msg", "count_msg"}),
        ("message-queue-delete", {"delete_all_msg", "delete_frozen_msg", "delete"}),
        ("message-queue-update", {"reship"}),
        ("message-queue-get", set()),
    ],
)
async def test_permissions(control: Control, tcp: aiohttp.ClientSession, permission: str, allowed: set[str]) -> None:
    account = AccountOptions(secret="plain", roles=(), enabled_permissions=("authenticate", permission))
    control.accounts.reconfigure({"limited": account})
    panel = Panel(tcp, {**ADMIN, "username": "Limited", "password": "plain"})
    for operation in ("list_msg", "count_msg", "delete_all_msg", "delete_frozen_msg"):
        assert ((await panel.ask(operation))["error"] != 400) == (operation in allowed), operation
    for command in ("delete", "reship"):
        answer = text(await panel.ask("controll_msg", command=command, id="1"))
        assert answer == ((101, "Missing message id") if command in allowed else (400, DENIED))


@pytest.mark.parametrize("kind", ["multipart", "both", "latin"])
async def test_how_the_parameters_may_come(tcp: aiohttp.ClientSession, kind: str) -> None:
    if kind == "multipart":
        with aiohttp.MultipartWriter("form-data") as form:
            for name, value in {**ADMIN, "count_msg": ""}.items():
                form.append(value).set_content_disposition("form-data", name=name)
        request = tcp.post(URL, data=form)
    elif kind == "both":  # the form's count
        request = tcp.post(URL, params={**ADMIN, "username": "x", "language": "ru"}, data={**ADMIN, "count_msg": "1"})
    else:
        body = b"username=admin&password=s3:cret&language=en&mailserver&count_msg=\xff\xfe"
        request = tcp.post(URL, data=body, headers={"Content-Type": "application/x-www-form-urlencoded"})
    async with request as answer:
        assert text(await said(answer)) == (0, "Number of messages")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"--x\r\n"),
        ("multipart/form-data; boundary=x", b"\0" * 100),
        ("application/x-www-form-urlencoded", b"a&" * 1000),
        ("application/x-www-form-urlencoded", b"username=admin&password=s3%3Acret&x=" + b"y" * (1 << 20)),
        ("application/x-www-form-urlencoded", b"%%%=%%%&%zz=%00"),
        ("application/json", b'{"username": "admin"}'),
        ("\x80", b""),
    ],
    ids=["no boundary", "no parts", "too many", "too long", "bad escapes", "json", "bad type"],
)
async def test_what_cannot_be_read(
    tcp: aiohttp.ClientSession, control: Control, content_type: str, body: bytes
) -> None:
    async with tcp.post(URL, data=io.BytesIO(body), headers={"Content-Type": content_type}) as answer:
        assert (await said(answer))["error"] == 400
    assert control.named("http.handler-error") == []


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
async def test_other_methods_are_not_spoken(admin: aiohttp.ClientSession, method: str) -> None:
    async with admin.request(method, URL) as answer:
        assert answer.status == 404


async def test_neither_query_nor_secret_is_logged(panel: Panel, control: Control) -> None:
    await panel.ask("count_msg", "GET")
    await panel.ask("count_msg", "GET", password="my-own-secret")
    stated = [repr(event.fields) for event in control.events]
    assert not [each for each in stated if "s3:cret" in each or "my-own-secret" in each or "password" in each]
    assert [event.fields["account_name"] for event in control.named("http.request-url")] == ["admin", None]


class TestSwitchedOff:
    @pytest.fixture
    def options(self) -> HttpOptions:
        return HttpOptions(dialects=("native",))

    async def test_it_is_not_there(self, tcp: aiohttp.ClientSession, admin: aiohttp.ClientSession) -> None:
        async with tcp.post(URL, data={**ADMIN, "count_msg": "1"}) as answer:
            assert answer.status == 401
        async with admin.post(URL, data={**ADMIN, "count_msg": "1"}) as answer:
            assert answer.status == 404


class TestFromElsewhere:
    """Behind a proxy, where limits and bans count."""

    @pytest.fixture
    def options(self) -> HttpOptions:
        return HttpOptions(rate_limit_account=Rate(3, 60.0), rate_limit_anonymous=Rate(2, 60.0))

    @pytest.fixture
    def setting(self, options: HttpOptions) -> Setting:
        proxies = (ip_network("127.0.0.1"),)
        listener = ListenerOptions(bind=(Bind(host="127.0.0.1"),), protocol="http", trusted_proxies=proxies)
        return Setting(listeners={"http": listener}, hostname="relay.test", http=options)

    @staticmethod
    async def ask(control: Control, client: str, scheme: str = "https", **changed: str) -> tuple[int, str]:
        given = {**ADMIN, "username": "operator", "password": "plain", "count_msg": "1", **changed}
        async with control.session(**{"X-Forwarded-For": client, "X-Forwarded-Proto": scheme}) as session:
            async with session.post(URL, data=given) as answer:
                return text(await said(answer)) if answer.status == 200 else (answer.status, "")

    async def test_who_signs_in_is_counted_as_by_any_way(self, control: Control) -> None:
        answers = [await self.ask(control, f"192.0.2.{number}") for number in range(4)]
        assert answers == [(0, "Number of messages")] * 3 + [(400, DENIED)]
        control.rig.clock.now += 20
        assert (await self.ask(control, "192.0.2.9"))[0] == 0

    async def test_who_does_not_is_a_stranger(self, control: Control) -> None:
        for _ in range(3):
            assert await self.ask(control, "192.0.2.1", username="") == (400, DENIED)
        assert len(control.named("limit.too-many-requests")) == 1
        async with control.session(**{"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https"}) as session:
            async with session.get("/api/nonsense") as answer:
                assert answer.status == 429

    async def test_guessing_bans_the_address(self, control: Control) -> None:
        control.parts.bans.reconfigure(BanOptions(auth_rate=Rate(2, 86400.0)))
        answers = [(await self.ask(control, "192.0.2.1", password="guess"))[0] for _ in range(4)]
        assert answers == [400, 400, 429, 429]  # the ban itself is of the address, and of HTTP
        assert (await self.ask(control, "192.0.2.2"))[0] == 0

    async def test_no_credentials_in_clear(self, control: Control) -> None:
        assert await self.ask(control, "192.0.2.1", scheme="http") == (400, DENIED)
        assert control.named("auth.failed") == []
