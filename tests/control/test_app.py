"""The control socket: credentials first, two forms of errors, health and metrics, nobody may dawdle."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from relayd.control.app import ControlApp, Setting
from relayd.control.options import HttpOptions
from relayd.control.routes import Call, Route, add
from relayd.control.signing_in import parse_pair
from relayd.events import smtp
from relayd.events.event import Span
from relayd.listener.options import Bind, ListenerOptions
from tests.control.conftest import Control

UNAUTHORIZED = {
    "type": "about:blank",
    "status": 401,
    "title": "Unauthorized",
    "detail": "You have to authenticate first.",
}
NOT_FOUND = {
    "type": "about:blank",
    "status": 404,
    "title": "Not Found",
    "detail": "The requested resource does not exist on this server.",
}


async def test_health_needs_no_credentials(tcp: aiohttp.ClientSession, control: Control) -> None:
    async with tcp.get("/healthz/live") as answer:
        assert answer.status == 200
    async with tcp.get("/healthz/ready") as answer:
        assert answer.status == 200
    control.problems.append("listener smtp is not bound")
    async with tcp.get("/healthz/ready") as answer:
        assert answer.status == 503
        assert (await answer.json())["problems"] == ["listener smtp is not bound"]
    async with tcp.get("/healthz/live") as answer:
        assert answer.status == 200


async def test_metrics_are_for_this_machine(tcp: aiohttp.ClientSession, control: Control) -> None:
    smtp.CONNECTION_START(Span(control.app._span.stream))
    async with tcp.get("/metrics") as answer:
        text = await answer.text()
    assert answer.status == 200
    assert 'relayd_events_total{event="smtp.connection-start"} 1.0' in text
    assert "relayd_smtp_active_connections 1.0" in text
    assert "relayd_queue_messages 0.0" in text
    assert "relayd_queue_audit_difference 0.0" in text
    assert "process_resident_memory_bytes" in text
    async with tcp.get("/metrics", headers={"X-Forwarded-For": "192.0.2.1"}) as answer:
        assert answer.status == 401


@pytest.mark.parametrize(
    ("method", "path"),
    [
        (method, path)
        for method in ("GET", "POST", "PATCH", "DELETE", "PUT")
        for path in ("/api/queue/messages", "/api/nonsense", "/", "/api", "/elsewhere")
        if (method, path) != ("GET", "/")  # the console
    ],
)
async def test_without_credentials_all_else_is_401(tcp: aiohttp.ClientSession, method: str, path: str) -> None:
    async with tcp.request(method, path) as answer:
        assert answer.status == 401
        assert answer.content_type == "application/problem+json"
        assert "WWW-Authenticate" not in answer.headers
        assert await answer.json(content_type=None) == UNAUTHORIZED


async def test_options_comes_before_credentials(tcp: aiohttp.ClientSession) -> None:
    async with tcp.options("/api/whatever") as answer:
        assert answer.status == 204


@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic %%%",
        "Basic bm9jb2xvbg==",
        "Bearer api_x",
        "basic YWRtaW46d3Jvbmc=",
        "Digest x",
        "Basic /////w==",
    ],
)
async def test_bad_credentials_are_401(tcp: aiohttp.ClientSession, control: Control, header: str) -> None:
    async with tcp.get("/api/nonsense", headers={"Authorization": header}) as answer:
        assert answer.status == 401
    assert control.named("auth.failed")


async def test_unknown_path_and_wrong_method_are_404_with_credentials(admin: aiohttp.ClientSession) -> None:
    for method, path in [("GET", "/api/nonsense"), ("POST", "/healthz/live"), ("GET", "/api/"), ("GET", "/nowhere")]:
        async with admin.request(method, path) as answer:
            assert answer.status == 404, path
            assert await answer.json(content_type=None) == NOT_FOUND


async def test_too_many_sign_ins_at_once_are_told_to_come_back(control: Control) -> None:
    headers = {"Authorization": aiohttp.encode_basic_auth("busy", "x")}
    async with aiohttp.ClientSession(f"http://127.0.0.1:{control.port}", headers=headers) as session:
        async with session.get("/api/nonsense") as answer:
            assert answer.status == 429
            assert answer.content_type == "application/problem+json"


async def test_an_account_that_may_not_authenticate_is_403(control: Control) -> None:
    async with control.session(Authorization=aiohttp.encode_basic_auth("nobody", "plain")) as session:
        async with session.get("/api/nonsense") as answer:
            assert answer.status == 403


async def test_own_uid_on_the_unix_socket_is_admin(local: aiohttp.ClientSession, control: Control) -> None:
    async with local.get("/api/nonsense") as answer:
        assert answer.status == 404
    assert control.named("http.request-url")[-1].fields["account_name"] in ("local", "root")
    assert control.path.stat().st_mode & 0o777 == 0o660


async def test_failure_of_ours_shows_an_id_and_no_more(control: Control) -> None:
    headers = {"Authorization": aiohttp.encode_basic_auth("broken", "x")}
    async with aiohttp.ClientSession(f"http://127.0.0.1:{control.port}", headers=headers) as session:
        async with session.get("/api/nonsense") as answer:
            text = await answer.text()
            assert answer.status == 500
            assert answer.content_type == "application/problem+json"
    [event] = control.named("http.handler-error")
    assert event.span is not None
    assert str(event.span.id) in text
    assert "hunter2" not in text
    assert "Traceback" not in text
    assert "hunter2" in event.fields["reason"]


async def test_query_strings_are_not_logged(tcp: aiohttp.ClientSession, control: Control) -> None:
    async with tcp.get("/healthz/live?token=secret"):
        pass
    [event] = control.named("http.request-url")
    assert event.fields["url"] == "/healthz/live"


async def test_requests_that_are_no_http_are_events(control: Control) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", control.port)
    writer.write(b"EHLO example.org\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    assert answer.startswith(b"HTTP/1.0 400")
    assert b"Traceback" not in answer


@pytest.mark.parametrize(
    "line",
    [
        b"GET /api?password=hunter2 HTTP/9.9",
        b"G@T /api?password=hunter2 HTTP/1.1",
        b"GET /api?password=hunter2\x01 HTTP/1.1",
        b"GET http://[::1/api?password=hunter2 HTTP/1.1",
        b"GET /api?password=hunter2" + b"x" * 20_000 + b" HTTP/1.1",
        b"GET /api?password=hunter2 HTTP/1.1\r\nno header",
    ],
)
async def test_a_query_string_that_cannot_be_read_is_not_logged_either(control: Control, line: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", control.port)
    writer.write(line + b"\r\n\r\n")
    writer.write_eof()
    await asyncio.wait_for(reader.read(), 5)
    writer.close()
    assert control.named("http.error")
    assert not [event for event in control.events if "hunter2" in repr(event.fields)]


class TestStop:
    @pytest.fixture
    async def asked(self, control: Control) -> AsyncIterator[tuple[ControlApp, asyncio.Event, asyncio.Task[bytes]]]:
        """An application that was asked for something that it answers once the event is set."""
        app = ControlApp(control.parts, Span(control.app._span.stream), control.app._setting)
        begun, may_end = asyncio.Event(), asyncio.Event()

        async def slow(call: Call) -> str:
            begun.set()
            await may_end.wait()
            return "done"

        add(app._app, [Route(method="GET", path="/slow", permission="backup", handler=slow, summary="", area="")])
        await app.start()
        reader, writer = await asyncio.open_connection(*app.addresses[0])
        credentials = aiohttp.encode_basic_auth("admin", "s3:cret")
        writer.write(f"GET /api/slow HTTP/1.1\r\nHost: localhost\r\nAuthorization: {credentials}\r\n\r\n".encode())
        await begun.wait()
        answer = asyncio.ensure_future(reader.read())
        yield app, may_end, answer
        writer.close()
        await app.stop()

    async def test_a_request_at_work_is_answered_and_no_other_is_taken(
        self, asked: tuple[ControlApp, asyncio.Event, asyncio.Task[bytes]]
    ) -> None:
        app, may_end, answer = asked
        address = app.addresses[0]
        stopping = asyncio.ensure_future(app.stop())
        async with asyncio.timeout(10):
            while app.addresses:
                await asyncio.sleep(0)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*address)
        may_end.set()
        await stopping
        assert (await answer).endswith(b'{"data":"done"}')

    async def test_one_that_takes_too_long_is_given_up(
        self, asked: tuple[ControlApp, asyncio.Event, asyncio.Task[bytes]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        app, _, answer = asked
        assert app._runner is not None
        monkeypatch.setattr(app._runner, "_shutdown_timeout", 0.05)
        async with asyncio.timeout(5):
            await app.stop(timeout=0.05)
            assert b"done" not in await answer


class TestDawdlers:
    @pytest.fixture
    def options(self) -> HttpOptions:
        return HttpOptions(idle_timeout=0.2, body_timeout=0.2)

    @pytest.mark.parametrize("sent", [b"", b"GET /healthz/live HTTP/1.1\r\nHost: x\r\n"])
    async def test_a_client_that_never_finishes_its_request_is_cut_off(self, control: Control, sent: bytes) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", control.port)
        writer.write(sent)
        try:
            assert await asyncio.wait_for(reader.read(), 5) == b""
        except ConnectionResetError:
            pass
        writer.close()

    async def test_a_body_that_never_comes_is_408_or_cut_off(self, control: Control) -> None:
        reader, writer = await asyncio.open_unix_connection(str(control.path))
        writer.write(b"POST /api/queue/hold HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        assert answer.startswith(b"HTTP/1.1 408 ")

    async def test_a_client_that_does_not_read_its_answer_is_cut_off(self, control: Control) -> None:
        app = ControlApp(control.parts, Span(control.app._span.stream), control.app._setting)

        async def large(call: Call) -> web.Response:
            return web.Response(body=b"x" * 50_000_000)

        add(app._app, [Route(method="GET", path="/large", permission="backup", handler=large, summary="", area="")])
        await app.start()
        reader, writer = await asyncio.open_connection(*app.addresses[0], limit=1)
        credentials = aiohttp.encode_basic_auth("admin", "s3:cret")
        writer.write(f"GET /api/large HTTP/1.1\r\nHost: localhost\r\nAuthorization: {credentials}\r\n\r\n".encode())
        assert await reader.readexactly(8) == b"HTTP/1.1"
        assert app._runner is not None
        assert app._runner.server is not None
        async with asyncio.timeout(10):
            while app._runner.server.connections:
                await asyncio.sleep(0.01)
        writer.transport.abort()
        await app.stop()

    async def test_a_crowd_of_idle_connections_is_closed(self, control: Control) -> None:
        sweep = control.app._sweep
        assert control.app._runner is not None
        server = control.app._runner.server
        assert server is not None
        sweep.options = HttpOptions(max_connections=1, idle_timeout=3600)
        opened = [await asyncio.open_connection("127.0.0.1", control.port) for _ in range(3)]
        async with asyncio.timeout(5):
            while len(server.connections) < 3:
                await asyncio.sleep(0)
        assert sweep.once(server) == 2
        for _, writer in opened:
            writer.close()


async def test_a_left_over_socket_is_replaced_and_removed_at_stop(control: Control, tmp_path: Path) -> None:
    path = tmp_path / "left.sock"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    app = control.app
    await app.stop()
    assert not control.path.exists()
    await app.reload(Setting())
    await app.start(path)
    async with aiohttp.ClientSession("http://x", connector=aiohttp.UnixConnector(str(path))) as session:
        async with session.get("/healthz/live") as answer:
            assert answer.status == 200
    await app.stop()
    assert not path.exists()


async def test_an_address_that_is_taken_leaves_nothing_open(control: Control, tmp_path: Path) -> None:
    second = ListenerOptions(
        bind=(Bind(path=str(tmp_path / "second.sock")), Bind(host="127.0.0.1", port=control.port)), protocol="http"
    )
    other = ControlApp(control.parts, Span(control.app._span.stream), Setting(listeners={"http": second}))
    with pytest.raises(OSError):
        await other.start()
    assert not (tmp_path / "second.sock").exists()


def test_login_is_trimmed_and_lower_cased_and_the_secret_may_hold_colons() -> None:
    assert parse_pair("IEFkbWluIDpzMzpjcmV0") == ("admin", "s3:cret")
