"""Every example of the API's pages about principals and one's own ways to sign in, as it stands: 5, 6, 8-10, 38, 39."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.journeys.conftest import StartRelay
from tests.rig.client import Client
from tests.rig.shapes import check

JSON = {"Content-Type": "application/json", "Accept": "application/json"}
ACCEPT = {"Accept": "application/json"}
HASH = "$6$ONjGT6nQtmPNaxw0$NNF5DXtPfOay2mfVnPJ0uQ77C.L3LNxXO/QMyphP/DzpODqbDBBGd4/gCnckYPQj3st6pqwY8/KeBsCJ.oe1Y1"
DOMAIN = (
    '{ "type": "domain", "quota": 0, "name": "example.org", "description": "Example domain", "secrets": [],'
    ' "emails": [], "urls": [], "memberOf": [], "roles": [], "lists": [], "members": [], "enabledPermissions": [],'
    ' "disabledPermissions": [], "externalMembers": []}'
)
CHANGES = (
    '[ { "action": "set", "field": "name", "value": "jane.doe" },'
    ' { "action": "set", "field": "description", "value": "Jane Mary Doe" },'
    ' { "action": "addItem", "field": "emails", "value": "jane-doe@example.org" },'
    ' { "action": "removeItem", "field": "emails", "value": "jane@example.org" }]'
)
"""The addresses are lost in the page."""


@pytest.fixture(scope="module")
def client(module_relay: StartRelay) -> Client:
    return Client(module_relay().http_port)


def ask(client: Client, method: str, path: str, body: str | None = None, query: dict[str, Any] | None = None) -> Any:
    found = client.ask(method, "/api" + path, body=body, headers=JSON if body else ACCEPT, query=query)
    assert (found.status, found.headers["content-type"]) == (200, "application/json; charset=utf-8")
    return found.json


def test_from_the_empty_list_to_the_deletion(client: Client) -> None:
    page = {"page": 1, "limit": 10, "types": "individual"}
    assert ask(client, "GET", "/principal", query=page) == {"data": {"items": [], "total": 0}}
    check(ask(client, "POST", "/principal", DOMAIN), {"data": int})
    check(ask(client, "POST", "/principal", '{"type": "list", "name": "all"}'), {"data": int})
    jane = (
        f'{{"type": "individual", "name": "jane", "secrets": ["{HASH}"], "emails": ["jane@example.org"], "quota": 0,'
        ' "description": "Jane Doe", "roles": ["user"], "lists": ["all"]}'
    )
    id = ask(client, "POST", "/principal", jane)["data"]
    shown = {
        "id": id,
        "type": "individual",
        "secrets": HASH,
        "name": "jane",
        "quota": 0,
        "description": "Jane Doe",
        "emails": "jane@example.org",
        "roles": ["user"],
        "lists": ["all"],
    }
    assert ask(client, "GET", "/principal/jane") == {"data": shown}
    assert ask(client, "GET", "/principal", query=page) == {"data": {"items": [shown], "total": 1}}
    assert ask(client, "PATCH", "/principal/jane", CHANGES) == {"data": None}
    after = ask(client, "GET", "/principal/jane.doe")["data"]
    assert (after["id"], after["description"], after["emails"]) == (id, "Jane Mary Doe", "jane-doe@example.org")
    assert ask(client, "GET", "/principal/jane") == {"error": "notFound", "item": "jane"}
    assert ask(client, "DELETE", "/principal/jane.doe") == {"data": None}
    assert ask(client, "DELETE", "/principal/jane.doe") == {"error": "notFound", "item": "jane.doe"}


@pytest.mark.parametrize("path", ["", "/jane"])
def test_without_credentials(client: Client, path: str) -> None:
    found = Client(client.port, "").ask("GET", "/api/principal" + path, headers=ACCEPT)
    assert found.status == 401
    check(found.json, {"type": "about:blank", "status": 401, "title": "Unauthorized", "detail": re.compile(".+")})
