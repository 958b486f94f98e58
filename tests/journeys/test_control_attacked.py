"""The control socket under attack, from every side at once: documented answers, and mail that never notices."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.journeys.conftest import StartRelay, send
from tests.rig.daemon import Daemon
from tests.rig.postfix import free_port
from tests.rig.sink import Sink

MIB = 1 << 20
CROWD = 40


def basic(login: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{login}:{secret}".encode()).decode()


class Front:
    """The daemon's second listener, behind a proxy that speaks TLS and says where requests come from."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._clients = 0

    def ask(
        self,
        path: str,
        credentials: str = "",
        *,
        method: str = "GET",
        body: bytes = b"",
        client: str = "",
        **headers: str,
    ) -> tuple[int, Any]:
        """Status and body; each request from an address of its own unless `client` names one."""
        self._clients += 1
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        given = {"X-Forwarded-For": client or f"192.0.2.{self._clients % 250}", "X-Forwarded-Proto": "https", **headers}
        if credentials:
            given["Authorization"] = credentials
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body or None, given)
            response = connection.getresponse()
            streams = response.headers.get_content_type() == "text/event-stream"  # goes on until we leave
            raw = b"null" if streams else response.read()
        finally:
            connection.close()
        assert response.headers["X-Request-Id"]
        return response.status, json.loads(raw)

    def form(self, **fields: str) -> tuple[int, Any]:
        """One exchange at the token endpoint."""
        body = urlencode(fields).encode()
        return self.ask("/auth/token", method="POST", body=body, Content_Type="application/x-www-form-urlencoded")


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as sink:
        yield sink


@pytest.fixture
def daemon(relay: StartRelay, sink: Sink) -> Daemon:
    return relay(
        sink.port,
        {
            "server.listener.front.bind": [f"127.0.0.1:{free_port()}"],
            "server.listener.front.protocol": "http",
            "server.listener.front.trusted-proxies": ["127.0.0.1"],
            "server.http.idle-timeout": "2s",
            "server.http.max-connections": 30,
            "server.auto-ban.auth.rate": "5/1d",
            "oauth.expiry.token": "1s",
            "account.alice.secret": "alices",
            "account.alice.emails": ["alice@example.org"],
        },
    )


@pytest.fixture
def front(daemon: Daemon) -> Front:
    return Front(int(daemon.settings["server.listener.front.bind"][0].rpartition(":")[2]))


@pytest.fixture
def mail(daemon: Daemon) -> Iterator[list[str]]:
    """Mail that is handed in all the while, one message after the other; its queue ids."""
    sent: list[str] = []
    over = threading.Event()
    failures: list[Exception] = []

    def run() -> None:
        try:
            while not over.is_set():
                sent.append(send(daemon))
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    yield sent
    over.set()
    thread.join(30)
    assert not failures


def crowd(port: int) -> list[socket.socket]:
    """Connections that begin a request and do not end it."""
    opened = []
    for _ in range(CROWD):
        connection = socket.create_connection(("127.0.0.1", port), timeout=30)
        connection.sendall(b"POST /api/queue/hold HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        opened.append(connection)
    return opened


def test_the_walls_hold_and_mail_flows(daemon: Daemon, sink: Sink, front: Front, mail: list[str]) -> None:
    slow = crowd(front.port) + crowd(daemon.http_port)
    try:
        _without_credentials(front)
        _tokens(front)
        _bodies_and_paths(front)
        _elsewhere(front)
        _banned(front)
        for connection in slow:  # the dawdlers are cut off, one and all
            connection.settimeout(30)
            try:
                assert connection.recv(100) == b""
            except ConnectionResetError:
                pass
    finally:
        for connection in slow:
            connection.close()
    before = len(mail)
    until = time.monotonic() + 30
    while len(mail) < before + 5:
        assert time.monotonic() < until, "mail stands still"
        time.sleep(0.01)
    daemon.wait_empty()
    audit = daemon.audit()
    assert audit["difference"] == 0
    log = "".join(path.read_text() for path in (daemon.data / "logs").iterdir())
    for said in ("http.handler-error", "server.loop-stalled", "hunter2", "alices"):
        assert said not in log, said
    assert "security.authentication-ban" in log


def _without_credentials(front: Front) -> None:
    for path in ("/api/queue/messages", "/api/nonsense", "/api/settings/list?prefix=account", "/metrics"):
        status, answer = front.ask(path)
        assert (status, answer["title"]) == (401, "Unauthorized"), path


def _tokens(front: Front) -> None:
    body = json.dumps({"type": "code", "client_id": "walk", "redirect_uri": "walk://auth"}).encode()
    status, answer = front.ask("/api/oauth", basic("alice", "alices"), method="POST", body=body)
    assert status == 200
    grant = {"grant_type": "authorization_code", "client_id": "walk", "redirect_uri": "walk://auth"}
    code = answer["data"]["code"]
    assert front.form(**{**grant, "code": code, "client_id": "other"}) == (400, {"error": "invalid_client"})
    assert front.form(**grant, code="forged") == (400, {"error": "access_denied"})
    status, tokens = front.form(**grant, code=code)
    assert status == 200
    assert front.form(**grant, code=code) == (400, {"error": "access_denied"})
    access = f"Bearer {tokens['access_token']}"
    # her own account is what a token is good for: not what an administrator may, not another's data
    for path in ("/api/queue/messages", "/api/settings/list", "/api/logs", "/api/bans"):
        assert front.ask(path, access)[0] == 403
    assert front.ask("/api/queue/purge", access, method="POST")[0] in (403, 404)
    assert front.ask("/api/queue/messages", f"Bearer {tokens['refresh_token']}")[0] == 401
    forged = tokens["access_token"]
    forged = forged[:-8] + ("AAAA" if forged[-8:-4] != "AAAA" else "BBBB") + forged[-4:]
    assert front.ask("/api/queue/messages", f"Bearer {forged}")[0] == 401
    until = time.monotonic() + 20
    while (status := front.ask("/api/queue/messages", access)[0]) != 401:  # it is good for a second
        assert status == 403
        assert time.monotonic() < until
        time.sleep(0.05)
    assert front.form(grant_type="refresh_token", refresh_token=forged) == (400, {"error": "invalid_grant"})
    admin = basic("admin", "for-tests-only")
    _, answer = front.ask("/api/telemetry/live/metrics-token", admin)
    token = urlencode({"token": answer["data"]})
    assert front.ask(f"/api/telemetry/metrics/live?{token}")[0] == 200
    for path in ("/api/telemetry/traces/live", "/api/troubleshoot/delivery/a", "/api/queue/messages", "/api/logs"):
        assert front.ask(f"{path}?{token}")[0] == 401, path


def _bodies_and_paths(front: Front) -> None:
    admin = basic("admin", "for-tests-only")
    big = b" " * (MIB - 1) + b"{}"
    assert front.ask("/api/queue/hold", admin, method="POST", body=big)[0] == 413
    for path in (
        "/api/queue/messages/..%2f..%2ftoken.key",
        "/api/queue/messages/%00",
        "/healthz/../api/x",
        "/API/logs",
    ):
        assert front.ask(path, admin)[0] == 404, path
    assert front.ask("/healthz/../api/queue/messages")[0] == 401
    assert front.ask("/api/queue/messages?text=" + "x" * 9000, admin)[0] == 431
    assert front.ask("/api/queue/messages?limit=%27--&text=%27%20OR%201=1", admin)[0] == 200
    assert front.ask("/api/queue/hold?before=whenever", admin, method="POST")[0] == 400


def _elsewhere(front: Front) -> None:
    admin = basic("admin", "for-tests-only")
    assert front.ask("/api/queue/messages", admin, Host="evil.example")[0] == 421
    status, answer = front.ask("/api/queue/messages", admin, X_Forwarded_Proto="http")
    assert (status, "plain HTTP" in answer["detail"]) == (403, True)
    assert front.ask("/api/queue/messages", X_Forwarded_For="127.0.0.1")[0] == 401


def _banned(front: Front) -> None:
    for _ in range(5):
        assert front.ask("/api/queue/messages", basic("bob", "hunter2"), client="198.51.100.1")[0] == 401
    admin = basic("admin", "for-tests-only")
    status, answer = front.ask("/api/queue/messages", admin, client="198.51.100.1")
    assert (status, answer["title"]) == (429, "Too Many Authentication Attempts")
    assert front.ask("/api/queue/messages", admin, client="198.51.100.2")[0] == 200
    assert front.ask("/api/bans/198.51.100.1", admin, method="DELETE") == (200, {"data": True})
    assert front.ask("/api/queue/messages", admin, client="198.51.100.1")[0] == 200
