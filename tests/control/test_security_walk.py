"""A walk along the control socket's walls, octet by octet: each attempt gets its answer, and the engine never notices.

What concerns credentials, limits, bans, hosts and plain HTTP is in test_gate, test_origin and test_permissions; here is
what a client can do to the protocol, the path, the query and the body.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest

from relayd.control.options import HttpOptions
from tests.control.conftest import Control

ADMIN = "Authorization: " + aiohttp.encode_basic_auth("admin", "s3:cret")
HOST = "Host: localhost"
FORM = "Content-Type: application/x-www-form-urlencoded"
MIB = 1 << 20


def request(line: str, *headers: str, body: bytes = b"") -> bytes:
    """A request as it is written."""
    return "\r\n".join([line, *headers, "", ""]).encode("latin-1") + body


def get(path: str, *headers: str) -> bytes:
    return request(f"GET {path} HTTP/1.1", HOST, *headers)


def post(*headers: str, body: bytes = b"") -> bytes:
    return request("POST /api/queue/hold HTTP/1.1", HOST, ADMIN, *headers, body=body)


async def ask(port: int, sent: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers (lower case) and body of the answer to what is sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    try:
        async with asyncio.timeout(20):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])}
            body = (
                await reader.readexactly(int(headers["content-length"]))
                if "HEAD " not in sent.decode("latin-1")
                else b""
            )
    finally:
        writer.close()
    return int(head[0].split(" ")[1]), headers, body


@pytest.fixture(autouse=True)
async def unharmed(control: Control) -> AsyncIterator[None]:
    """After each attempt the control socket answers as before, and nothing of ours failed or told a secret."""
    yield
    status, _, body = await ask(control.port, get("/api/queue/status", ADMIN))
    assert (status, json.loads(body)) == (200, {"data": True})
    assert not control.named("http.handler-error")
    assert "hunter2" not in repr([event.data() for event in control.events])


PATHS = {
    "/healthz/../api/queue/status": (401, 404),
    "/healthz/live/%2e%2e/%2e%2e/api/queue/status": (401, 404),
    "/healthz%2Flive": (401, 404),
    "/healthz/live/": (401, 404),
    "/docs/../api/queue/status": (401, 404),
    "/metrics/../api/queue/status": (401, 404),
    "//api/queue/status": (401, 404),
    "/api//queue/status": (401, 404),
    "/api/queue//status": (401, 404),
    "/api/queue/status/": (401, 404),
    "/API/queue/status": (401, 404),
    "/api/queue/messages/": (401, 404),
    "/api/queue/messages/%00": (401, 404),
    "/api/queue/messages/1%00": (401, 404),
    "/api/queue/messages/..%2f..%2fetc%2fpasswd": (401, 404),
    "/api/queue/messages/%zz": (401, 404),
    "/api/queue/messages/%ff%fe": (401, 404),
    "/api/queue/messages/-1": (401, 404),
    "/api/queue/messages/nan": (401, 404),
    "/api/queue/messages/" + "9" * 400: (401, 404),
    "/%61pi/queue/messages/7": (401, 404),
    "/%61pi/queue/status": (401, 200),  # the same path, written otherwise
    "/api/queue/status#/healthz/live": (401, 200),
    "/api/queue/status?#/healthz/live": (401, 200),
    "/api/queue/messages?text=%00": (401, 400),
    "/api/queue/messages?text=%zz&%=%ff&&=&limit=x": (401, 200),
    "/api/queue/messages?" + "a&" * 3_000: (401, 200),
    "/api/queue/messages?limit=1&limit=999999999999999999999": (401, 200),
    "/api/queue/messages?text=%27%3B%20DROP%20TABLE%20messages--": (401, 200),
}


@pytest.mark.parametrize("path", PATHS, ids=range(len(PATHS)))
async def test_paths_and_queries_that_are_tampered_with(control: Control, path: str) -> None:
    without, as_admin = PATHS[path]
    assert (await ask(control.port, get(path)))[0] == without
    assert (await ask(control.port, get(path, ADMIN)))[0] == as_admin


UNREADABLE = {
    "no HTTP": b"EHLO relay.example.org\r\n\r\n",
    "the beginning of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a version to come": request("GET / HTTP/3.0", HOST),
    "a method that is none": request("G(T / HTTP/1.1", HOST),
    "line ends of another system": b"GET / HTTP/1.1\nHost: localhost\n\n",
    "a NUL in the path": get("/api/\0"),
    "octets over 127 in the path": get("/api/\xff"),
    "a NUL in a header": get("/", "X: a\0b"),
    "a bare CR in a header": get("/", "X: hunter2\rb"),
    "a header that is continued": get("/", "Authorization:", " Basic hunter2"),
    "a header without a name": get("/", ": hunter2"),
    "no Host": request("GET / HTTP/1.1"),
    "two Hosts": get("/", HOST),
    "two lengths": post("Content-Length: 5", "Content-Length: 6", body=b"hunter2"),
    "a negative length": post("Content-Length: -5", body=b"hunter2"),
    "a length of many digits": post("Content-Length: " + "9" * 30, body=b"hunter2"),
    "a length and chunks": post(
        "Content-Length: 5", "Transfer-Encoding: chunked", body=b"0\r\n\r\nGET /hunter2 HTTP/1.1\r\n\r\n"
    ),
    "chunks that are none": post("Transfer-Encoding: chunked", body=b"zz\r\nhunter2\r\n"),
    "a URL that is none": request("GET http://[hunter2/api HTTP/1.1", HOST),
    "too many headers": get("/", *(f"X{number}: y" for number in range(200))),
}


@pytest.mark.parametrize("what", UNREADABLE)
async def test_what_is_no_http_is_400(control: Control, what: str) -> None:
    status, headers, body = await ask(control.port, UNREADABLE[what])
    assert status == 400
    assert headers["content-type"] == "application/problem+json"
    assert headers["x-request-id"].isdigit()
    assert json.loads(body)["status"] == 400
    assert control.named("http.error")


@pytest.mark.parametrize(
    "sent",
    [
        get("/api/" + "x" * 9000),
        get("/api/queue/messages?token=hunter2" + "x" * 9000),
        get("/", "X: hunter2" + "y" * 9000),
    ],
    ids=["path", "query", "header"],
)
async def test_what_is_too_long_is_431(control: Control, sent: bytes) -> None:
    status, headers, _ = await ask(control.port, sent)
    assert (status, headers["content-type"]) == (431, "application/problem+json")


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (post("Content-Length: 2", body=b"{}"), 200),
        (post("Transfer-Encoding: chunked", body=b"2\r\n{}\r\n0\r\n\r\n"), 200),
        (post(f"Content-Length: {MIB}", body=b" " * (MIB - 2) + b"{}"), 200),
        (post(f"Content-Length: {MIB + 1}", body=b" " * (MIB - 1) + b"{}"), 413),
        (post(f"Content-Length: {1 << 60}"), 413),
        (post("Transfer-Encoding: chunked", body=b"100000\r\n" + b" " * MIB + b"\r\n1\r\n \r\n0\r\n\r\n"), 413),
        (post("Content-Length: 500000", body=b"[" * 500_000), 400),
        (post("Content-Length: 2", "Content-Encoding: gzip", body=b"\x1f\x8b"), 400),
        (post("Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"), 501),
        (post("Expect: miracles"), 417),
        (request("HEAD /api/queue/status HTTP/1.1", HOST, ADMIN), 404),
        (request("TRACE /api/queue/status HTTP/1.1", HOST, ADMIN), 404),
        (request("CONNECT localhost:25 HTTP/1.1", HOST, ADMIN), 404),
        (request("PUT /api/queue/status HTTP/1.1", HOST, ADMIN), 404),
        (request("GET http://evil.example/api/queue/status HTTP/1.1", HOST, ADMIN), 421),
        (request("GET http://localhost/api/queue/status HTTP/1.1", "Host: evil.example", ADMIN), 200),
        (get("/api/queue/status", ADMIN, "Connection: Upgrade", "Upgrade: websocket"), 200),
        (get("/api/queue/status", ADMIN, "X-HTTP-Method-Override: DELETE", "X-Original-URL: /healthz/live"), 200),
    ],
)
async def test_methods_and_bodies(control: Control, sent: bytes, expected: int) -> None:
    status, headers, _ = await ask(control.port, sent)
    assert status == expected
    if expected != 200:
        assert headers["content-type"] == "application/problem+json"


async def test_the_client_does_not_choose_the_request_id(control: Control) -> None:
    _, headers, _ = await ask(control.port, get("/healthz/live", "X-Request-Id: 7"))
    assert headers["x-request-id"] != "7"


class TestSlowloris:
    @pytest.fixture
    def options(self) -> HttpOptions:
        return HttpOptions(idle_timeout=0.3, body_timeout=0.3, max_connections=20)

    async def test_a_crowd_that_dawdles_keeps_nobody_out(self, control: Control) -> None:
        crowd = [await asyncio.open_connection("127.0.0.1", control.port) for _ in range(45)]
        dripping = asyncio.ensure_future(drip(crowd))
        try:
            for _ in range(5):
                status, _, _ = await ask(control.port, get("/api/queue/status", ADMIN))
                assert status == 200
            async with asyncio.timeout(20):
                for reader, _ in crowd:
                    with_reset = await asyncio.gather(reader.read(), return_exceptions=True)
                    assert not isinstance(with_reset[0], TimeoutError)
        finally:
            dripping.cancel()
            await asyncio.gather(dripping, return_exceptions=True)
            for _, writer in crowd:
                writer.close()


async def drip(crowd: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]) -> None:
    """Send a header that never ends, an octet of it at a time, on every connection."""
    for octet in b"GET /api/queue/status HTTP/1.1\r\n" + b"X: y\r\n" * 1000:
        for _, writer in crowd:
            if not writer.is_closing():
                writer.write(bytes([octet]))
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "sent",
    [
        post("Content-Length: 10", body=b"ab"),
        request("POST /auth/token HTTP/1.1", HOST, FORM, "Content-Length: 10", body=b"ab"),
        request("POST /api/api.php HTTP/1.1", HOST, FORM, "Content-Length: 10", body=b"ab"),
    ],
    ids=["operation", "token", "brainycp"],
)
async def test_a_client_that_leaves_in_the_middle_of_its_body(control: Control, sent: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", control.port)
    writer.write(sent)
    writer.write_eof()
    async with asyncio.timeout(20):
        await reader.read()
        writer.close()
        while not control.named("http.request-url"):
            await asyncio.sleep(0.01)
