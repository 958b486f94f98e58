"""A stranger's client and the control socket: signing in by code, token and key; request ids; a stop amid a request."""

from __future__ import annotations

import base64
import json
import re
import signal
import socket
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.journeys.conftest import StartRelay, send, wait_logged, wait_until
from tests.rig.client import Answer, Client, basic
from tests.rig.daemon import Daemon
from tests.rig.shapes import check

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
UNAUTHORIZED = {
    "type": "about:blank",
    "status": 401,
    "title": "Unauthorized",
    "detail": "You have to authenticate first.",
}
TOKENS = {"access_token": str, "token_type": "bearer", "expires_in": int, "refresh_token": str}
KEY = base64.b64encode(b"robot:key's secret").decode()


@pytest.fixture(scope="module")
def daemon(module_relay: StartRelay) -> Daemon:
    """With an account that may see the queue, and an API key that may list it."""
    return module_relay(
        settings={
            "account.jane.type": "individual",
            "account.jane.secret": "jane's secret",
            "account.jane.roles": ["user"],
            "account.jane.enabled-permissions": ["message-queue-list"],
            "account.robot.type": "apiKey",
            "account.robot.secret": "key's secret",
            "account.robot.enabled-permissions": ["authenticate", "message-queue-list"],
        }
    )


def code(client: Client) -> str:
    asked = {"type": "code", "client_id": "webadmin", "redirect_uri": "stalwart://auth", "nonce": "ttsaXca3qx"}
    found: str = client.ask("POST", "/api/oauth", body=json.dumps(asked)).data["code"]
    return found


def exchanged(client: Client, code: str, **changed: str) -> Answer:
    form = {
        "grant_type": "authorization_code",
        "client_id": "webadmin",
        "code": code,
        "redirect_uri": "stalwart://auth",
        **changed,
    }
    return Client(client.port, "").ask("POST", "/auth/token", body=urlencode(form), headers=FORM)


def refreshed(client: Client, token: str) -> Answer:
    form = {"grant_type": "refresh_token", "refresh_token": token}
    return Client(client.port, "").ask("POST", "/auth/token", body=urlencode(form), headers=FORM)


def listing(port: int, authorization: str) -> Answer:
    return Client(port, authorization).ask("GET", "/api/queue/messages")


@pytest.mark.parametrize("who", [basic("admin", "for-tests-only"), basic(" Jane ", "jane's secret")])
def test_code_token_list_refresh(daemon: Daemon, who: str) -> None:
    client = Client(daemon.http_port, who)
    answer = exchanged(client, code(client))
    assert answer.headers["cache-control"] == "no-store"
    tokens = answer.json
    check(tokens, TOKENS)
    assert tokens["expires_in"] == 3600
    assert type(listing(client.port, f"Bearer {tokens['access_token']}").data["total"]) is int
    assert type(listing(client.port, f"bearer {tokens['access_token']}").data["total"]) is int

    again = refreshed(client, tokens["refresh_token"]).json
    check(again, {"access_token": str, "token_type": "bearer", "expires_in": 3600})
    assert listing(client.port, f"Bearer {again['access_token']}").status == 200


def test_a_code_is_good_once_and_for_its_client(daemon: Daemon) -> None:
    client = Client(daemon.http_port)
    used = code(client)
    assert exchanged(client, used).status == 200
    for answer, error in (
        (exchanged(client, used), "access_denied"),
        (exchanged(client, "x" * 40), "access_denied"),
        (exchanged(client, code(client), client_id="other"), "invalid_client"),
        (exchanged(client, code(client), redirect_uri="other://auth"), "invalid_client"),
        (refreshed(client, "nothing"), "invalid_grant"),
        (refreshed(client, ""), "invalid_request"),
        (exchanged(client, used, grant_type="password"), "invalid_grant"),
    ):
        assert (answer.status, answer.json) == (400, {"error": error})


def test_tokens_of_another_kind_and_forged_ones_are_401(daemon: Daemon) -> None:
    client = Client(daemon.http_port)
    tokens = exchanged(client, code(client)).json
    access = tokens["access_token"]
    stream = client.ask("GET", "/api/telemetry/live/tracing-token").data
    forged = ("A" if access[10] != "A" else "B").join((access[:10], access[11:]))
    for bearer in (tokens["refresh_token"], stream, forged, access[:-4], "x", f"api_{access}", "api_%%%"):
        found = listing(client.port, f"Bearer {bearer}")
        assert (found.status, found.json) == (401, UNAUTHORIZED), bearer
    for header in ("", "Bearer", "Basic", f"Token {access}", access):
        found = listing(client.port, header)
        assert (found.status, found.json) == (401, UNAUTHORIZED), header
    assert listing(client.port, f"Bearer {access}").status == 200


def test_a_token_ends(module_relay: StartRelay) -> None:
    daemon = module_relay(settings={"oauth.expiry.token": "1s"})
    client = Client(daemon.http_port)
    tokens = exchanged(client, code(client)).json
    bearer = f"Bearer {tokens['access_token']}"
    assert listing(client.port, bearer).status == 200
    ended = wait_until(lambda: (found := listing(client.port, bearer)).status != 200 and found, "the token ends")
    assert (ended.status, ended.json) == (401, UNAUTHORIZED)
    fresh = refreshed(client, tokens["refresh_token"]).json["access_token"]
    assert listing(client.port, f"Bearer {fresh}").status == 200


def test_an_api_key_may_what_it_was_given(daemon: Daemon) -> None:
    key = Client(daemon.http_port, f"Bearer api_{KEY}")
    assert key.ask("GET", "/api/queue/messages").status == 200
    denied = key.ask("DELETE", "/api/queue/messages")
    assert (denied.status, denied.json["title"]) == (403, "Forbidden")
    wrong = base64.b64encode(b"robot:wrong").decode()
    person = base64.b64encode(b"jane:jane's secret").decode()
    for bearer in (wrong, person):
        assert listing(daemon.http_port, f"Bearer api_{bearer}").json == UNAUTHORIZED
    assert listing(daemon.http_port, basic("robot", "key's secret")).status == 401


def test_every_answer_has_an_id_of_its_own(daemon: Daemon) -> None:
    stranger, admin = Client(daemon.http_port, ""), Client(daemon.http_port)
    admin.ask("PATCH", "/api/queue/status/stop")
    send(daemon)
    blob = daemon.queued()[0]["blob_hash"]
    asked: list[tuple[Client, str, str, dict[str, Any]]] = [
        (stranger, "GET", "/healthz/live", {}),
        (stranger, "GET", "/metrics", {}),
        (stranger, "GET", "/docs", {}),
        (stranger, "GET", "/nowhere", {}),
        (stranger, "OPTIONS", "/api/queue/messages", {}),
        (stranger, "POST", "/auth/token", {}),
        (admin, "GET", "/api/nowhere", {}),
        (admin, "GET", "/api/queue/messages", {}),
        (admin, "GET", "/api/queue/messages", {"query": {"values": 1}}),
        (admin, "GET", f"/api/store/blobs/{blob}", {}),
        (admin, "GET", "/api/openapi.json", {}),
        (admin, "GET", "/api/principal", {}),
        (admin, "POST", "/api/settings", {"body": "["}),
        (admin, "POST", "/api/settings", {"body": b" " * ((1 << 20) + 1)}),
        (admin, "GET", "/api/queue/messages/1", {}),
    ]
    answers = [client.ask(method, path, **rest) for client, method, path, rest in asked]
    assert [each.status for each in answers] == [
        200,
        200,
        200,
        401,
        204,
        400,
        404,
        200,
        200,
        200,
        200,
        200,
        400,
        413,
        404,
    ]
    ids = [each.headers.get("x-request-id", "") for each in answers]
    assert all(re.fullmatch("[0-9]+", each) for each in ids), ids
    assert len(set(ids)) == len(ids)


def test_a_request_at_work_is_answered_before_the_stop(module_relay: StartRelay) -> None:
    daemon = module_relay()
    body = b'{"reason": "look first"}'
    with socket.create_connection(("127.0.0.1", daemon.http_port), 30) as connection:
        head = (
            f"POST /api/queue/hold HTTP/1.1\r\nHost: localhost\r\nAuthorization: {basic('admin', 'for-tests-only')}\r\n"
            f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
        )
        connection.sendall(head.encode())
        answer = connection.makefile("rb")
        assert answer.readline().startswith(b"HTTP/1.1 100 ")  # the request is at work
        assert answer.readline() == b"\r\n"
        daemon.signal(signal.SIGTERM)
        wait_logged(daemon, "(server.shutdown)")
        connection.sendall(body)
        assert answer.readline() == b"HTTP/1.1 200 OK\r\n"
        assert answer.read().endswith(b'\r\n\r\n{"data":{"matched":0}}')
    assert daemon.process is not None
    assert daemon.process.wait(30) == 0
