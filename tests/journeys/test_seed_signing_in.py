"""Every example of the API's pages about signing in, as it stands: operation 1, and the tokens of 3, 25 and 47."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest

from tests.journeys.conftest import StartRelay
from tests.rig.client import Client, basic
from tests.rig.shapes import BASE64, check

JSON = {"Content-Type": "application/json", "Accept": "application/json"}
ACCEPT = {"Accept": "application/json"}
BODY = '{ "type": "code", "client_id": "webadmin", "redirect_uri": "stalwart://auth", "nonce": "ttsaXca3qx"}'
UNAUTHORIZED = {
    "type": "about:blank",
    "status": 401,
    "title": "Unauthorized",
    "detail": "You have to authenticate first.",
}


@pytest.fixture(scope="module")
def client(module_relay: StartRelay) -> Client:
    daemon = module_relay(
        settings={
            "account.jane.type": "individual",
            "account.jane.secret": "jane's secret",
            "account.jane.roles": ["user"],
        }
    )
    return Client(daemon.http_port)


def code(client: Client, body: str = BODY) -> Any:
    found = client.ask("POST", "/api/oauth", body=body, headers=JSON)
    assert (found.status, found.headers["content-type"]) == (200, "application/json; charset=utf-8")
    assert found.headers["cache-control"] == "no-store"
    return found.json


def test_1_a_code(client: Client) -> None:
    found = code(client)
    check(
        found,
        {
            "data": {
                "code": re.compile("[A-Za-z0-9]{40}"),
                "permissions": [re.compile("[a-z0-9-]+")],
                "version": "0.11.0",
                "isEnterprise": bool,
            }
        },
    )
    seen = (
        "webadmin-update spam-filter-update dkim-signature-get dkim-signature-create undelete fts-reindex purge-account"
    )
    assert set(seen.split()) <= set(found["data"]["permissions"])
    assert code(client)["data"]["code"] != found["data"]["code"]


def test_1_of_an_account_says_what_it_may(client: Client) -> None:
    permissions = code(Client(client.port, basic("jane", "jane's secret")))["data"]["permissions"]
    assert {"authenticate", "authenticate-oauth", "manage-passwords"} <= set(permissions)
    assert "message-queue-list" not in permissions


@pytest.mark.parametrize("authorization", ["", basic("admin", "wrong"), basic("nobody", "x"), "Bearer nothing"])
def test_1_without_credentials(client: Client, authorization: str) -> None:
    found = Client(client.port, authorization).ask("POST", "/api/oauth", body=BODY, headers=JSON)
    assert (found.status, found.json) == (401, UNAUTHORIZED)
    assert found.headers["content-type"] == "application/problem+json"
    assert "www-authenticate" not in found.headers


def test_1_what_is_refused(client: Client) -> None:
    def refused(body: str) -> Any:
        return client.ask("POST", "/api/oauth", body=body, headers=JSON).json

    assert refused(BODY.replace("webadmin", "w" * 21)) == {
        "error": "other",
        "details": "Client ID is invalid.",
        "reason": None,
    }
    assert refused(BODY.replace("stalwart://auth", "http://x.test")) == {
        "error": "other",
        "details": "Redirect URI must be HTTPS.",
        "reason": None,
    }
    assert refused('{"type": "device", "code": "ABCD-EFGH"}') == {"data": False}
    for body in ('{"type": "paint"}', '{"client_id": "webadmin"}', "[]", "", BODY[:-1]):
        problem = refused(body)
        assert (problem["status"], problem["detail"]) == (400, "JSON deserialization failed"), body


@pytest.mark.parametrize(
    "path",
    ["/telemetry/live/metrics-token", "/troubleshoot/token", "/telemetry/live/tracing-token"],
    ids=["3", "25", "47"],
)
def test_3_25_47_stream_tokens(client: Client, path: str) -> None:
    found = client.ask("GET", "/api" + path, headers=ACCEPT)
    check(found.json, {"data": BASE64})
    assert len(base64.b64decode(found.data)) >= 48
    denied = Client(client.port, basic("jane", "jane's secret")).ask("GET", "/api" + path, headers=ACCEPT)
    assert denied.json == {
        "type": "about:blank",
        "status": 403,
        "title": "Forbidden",
        "detail": "You do not have enough permissions to access this resource.",
    }
