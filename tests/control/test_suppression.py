"""`/api/suppression`: looked at, added to, undone by cause."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from tests.control.conftest import Control


async def ask(client: aiohttp.ClientSession, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    async with client.request(method, "/api/suppression" + path, json=body) as answer:
        return answer.status, await answer.json()


async def add(client: aiohttp.ClientSession, address: str, **fields: Any) -> dict[str, Any]:
    status, answer = await ask(client, "POST", "", {"address": address, **fields})
    assert status == 200, answer
    data: dict[str, Any] = answer["data"]
    return data


async def test_an_entry_is_made_shown_and_undone(admin: aiohttp.ClientSession, control: Control) -> None:
    made = await add(admin, "Dead@x.example", note="asked to be left alone", until="2999-01-01T00:00:00Z")
    assert {key: made[key] for key in ("scope", "address", "cause", "by", "note", "until")} == {
        "scope": "global",
        "address": "Dead@x.example",
        "cause": "operator",
        "by": "admin",
        "note": "asked to be left alone",
        "until": "2999-01-01T00:00:00Z",
    }
    assert (await ask(admin, "GET", f"/{made['id']}"))[1] == {"data": made}
    listed = {"data": {"items": [made], "total": 1, "enabled": True}}
    assert (await ask(admin, "GET", "?address=dead@X.example"))[1] == listed
    assert (await ask(admin, "DELETE", f"/{made['id']}"))[1] == {"data": True}
    assert (await ask(admin, "DELETE", f"/{made['id']}"))[0] == 404
    assert (await ask(admin, "GET", f"/{made['id']}"))[0] == 404
    assert control.named("suppression.removed")[-1].fields["account_name"] == "admin"


async def test_entries_are_paged_and_filtered(admin: aiohttp.ClientSession) -> None:
    for number in range(5):
        await add(admin, f"{number}@x.example", cause="complaint" if number % 2 else "operator", scope="domain:S.Test")
    _, answer = await ask(admin, "GET", "?cause=operator&limit=2&page=2")
    assert (answer["data"]["total"], len(answer["data"]["items"])) == (3, 1)
    _, answer = await ask(admin, "GET", "?scope=domain:s.test&text=3@")
    assert [each["address"] for each in answer["data"]["items"]] == ["3@x.example"]


async def test_entries_are_undone_by_cause_after_a_look(admin: aiohttp.ClientSession) -> None:
    for address in ("a@x.example", "b@x.example"):
        await add(admin, address, cause="complaint")
    await add(admin, "c@x.example")
    _, answer = await ask(admin, "DELETE", "?cause=complaint&dry-run=1")
    assert answer["data"]["matched"] == 2
    assert {each["address"] for each in answer["data"]["sample"]} == {"a@x.example", "b@x.example"}
    assert (await ask(admin, "DELETE", "?cause=complaint"))[1] == {"data": {"matched": 2, "sample": []}}
    assert (await ask(admin, "GET", ""))[1]["data"]["total"] == 1
    assert (await ask(admin, "DELETE", "?all=1"))[1]["data"]["matched"] == 1


@pytest.mark.parametrize("query", ["", "?dry-run=1", "?since=yesterday", "?cause="])
async def test_a_forgotten_condition_undoes_nothing(admin: aiohttp.ClientSession, query: str) -> None:
    await add(admin, "a@x.example")
    status, _ = await ask(admin, "DELETE", query)
    assert status == 400
    assert (await ask(admin, "GET", ""))[1]["data"]["total"] == 1


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({}, "address"),
        ({"address": "nodomain"}, "address"),
        ({"address": "a@x.example\r\n"}, None),
        ({"address": "a b@x.example"}, "address"),
        ({"address": "@not a domain"}, "address"),
        ({"address": "a@x.example", "scope": "everybody"}, "scope"),
        ({"address": "a@x.example", "scope": "account:"}, "scope"),
        ({"address": "a@x.example", "scope": "domain:a b"}, "scope"),
        ({"address": "a@x.example", "cause": "Not A Word"}, "cause"),
        ({"address": "a@x.example", "until": "soon"}, "until"),
        ({"address": "a@x.example", "until": "2001-01-01T00:00:00Z"}, "until"),
        ({"address": "a@x.example", "colour": "red"}, "colour"),
        ([], "object"),
    ],
)
async def test_a_bad_entry_is_refused_with_the_reason(
    admin: aiohttp.ClientSession, body: Any, word: str | None
) -> None:
    status, answer = await ask(admin, "POST", "", body)
    if word is None:
        assert status == 200  # blanks around are taken off
        return
    assert status == 400
    assert word in answer["detail"]


@pytest.mark.parametrize("id", ["x", "-1", "9" * 30, "%00"])
async def test_no_such_entry(admin: aiohttp.ClientSession, id: str) -> None:
    assert (await ask(admin, "GET", f"/{id}"))[0] == 404
