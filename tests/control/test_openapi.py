"""The description of the API: valid, complete, typed, and shown by a page that needs nothing from elsewhere."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from relayd.control.openapi import document
from relayd.control.queries import FLAG, TEXT, parameter
from relayd.control.routes import EVENTS, OCTETS, Call, Route

Json = dict[str, Any]


async def nothing(call: Call) -> None:
    """Says what it does."""


def described(**given: Any) -> Json:
    """The description of one route."""
    route = Route(
        **{
            "method": "GET",
            "path": "/x",
            "permission": "x-get",
            "handler": nothing,
            "summary": "X",
            "area": "test",
            **given,
        }
    )
    found = document([route], "1")
    OpenAPIV31SpecValidator(found).validate()
    (path,) = (each for each in found["paths"] if each.startswith("/api/x"))
    operation: Json = found["paths"][path][route.method.lower()]
    return {"path": path, **operation}


async def fetched(session: aiohttp.ClientSession) -> Json:
    async with session.get("/api/openapi.json") as answer:
        assert answer.status == 200
        assert answer.content_type == "application/json"
        found: Json = await answer.json()
        return found


async def test_the_document_is_valid(admin: aiohttp.ClientSession) -> None:
    OpenAPIV31SpecValidator(await fetched(admin)).validate()


async def test_every_operation_says_what_it_needs_and_what_may_go_wrong(admin: aiohttp.ClientSession) -> None:
    found = await fetched(admin)
    names = set()
    for path, item in found["paths"].items():
        for operation in item.values():
            names.add(operation["operationId"])
            assert operation["summary"]
            assert operation["tags"]
            assert "200" in operation["responses"]
            if operation.get("security") != []:
                assert operation["x-permission"], path
                assert {"400", "401", "403", "429", "500"} <= operation["responses"].keys()
    assert len(names) == sum(len(item) for item in found["paths"].values())


async def test_the_document_needs_credentials_and_the_page_none(tcp: aiohttp.ClientSession) -> None:
    async with tcp.get("/api/openapi.json") as answer:
        assert answer.status == 401
    async with tcp.get("/docs") as answer:
        assert (answer.status, answer.content_type) == (200, "text/html")
        page = await answer.text()
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "unsafe" not in policy
    needed = re.findall(r'(?:src|href)="((?!#|data:)[^"]+)"', page)
    assert sorted(needed) == ["api/openapi.json", "docs/docs.css", "docs/docs.js"]
    for each in ("docs/docs.css", "docs/docs.js"):
        async with tcp.get(f"/{each}") as answer:
            assert answer.status == 200
            text = await answer.text()
        assert set(re.findall(r'by\("([a-z-]+)"\)', text)) <= set(re.findall(r'id="([a-z-]+)"', page))
        assert not re.search(r"https?:|innerHTML|eval\(|@import|[^a-zA-Z]url\(", text)
    async with tcp.get("/docs/other.js") as answer:
        assert answer.status == 401


def test_elements_of_the_path_are_parameters() -> None:
    found = described(path="/x/{id}/{rest:.*}")
    assert found["path"] == "/api/x/{id}/{rest}"
    one, rest = found["parameters"]
    assert (one["name"], one["in"], one["required"], one["schema"]) == (
        "id",
        "path",
        True,
        {"type": "string", "minLength": 1},
    )
    assert (rest["name"], rest["x-wildcard"]) == ("rest", True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    text: str | None = parameter(TEXT, "What to look for.", aliases=("filter",))
    dry_run: bool = parameter(FLAG, "Only look.")


def test_parameters_of_the_query_are_described_under_each_name() -> None:
    found = described(query=Words)
    assert [(each["name"], each["in"], each["description"]) for each in found["parameters"]] == [
        ("text", "query", "What to look for."),
        ("filter", "query", "The same as `text`."),
        ("dry-run", "query", "Only look."),
    ]


def success(operation: Json) -> Json:
    """The schema of what stands under `data`."""
    first, second = operation["responses"]["200"]["content"]["application/json"]["schema"]["oneOf"]
    assert second == {"$ref": "#/components/schemas/Failure"}
    assert first["required"] == ["data"]
    schema: Json = first["properties"]["data"]
    return schema


def test_an_answer_is_success_or_failure() -> None:
    assert success(described(answer=list[int])) == {"type": "array", "items": {"type": "integer"}}
    assert success(described(answer=None)) == {"type": "null"}


def test_a_body_is_required_unless_none_means_its_defaults() -> None:
    assert described(method="POST", body=list[int])["requestBody"]["required"] is True
    assert described(method="POST", body=dict[str, int])["requestBody"]["required"] is False
    octets = described(method="POST", body=bytes)["requestBody"]
    assert list(octets["content"]) == ["application/octet-stream"]


def test_what_is_not_there_yet_is_marked() -> None:
    found = described(available=False, operation=7)
    assert found["x-unavailable"] is True
    assert found["x-operation"] == 7
    assert found["responses"]["200"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/Unsupported"
    }


def test_either_permission_is_said() -> None:
    found = described(or_permission="y-get")
    assert (found["x-permission"], found["x-or-permission"]) == ("x-get", "y-get")


@pytest.mark.parametrize("media", [EVENTS, OCTETS])
def test_streams_and_octets_have_no_schema_and_may_fail_in_json(media: str) -> None:
    found = described(media=media)
    content = found["responses"]["200"]["content"]
    assert content == {media: {}, "application/json": {"schema": {"$ref": "#/components/schemas/Failure"}}}
    assert ("streamToken" in str(found.get("security", ""))) is (media == EVENTS)
    assert ("206" in found["responses"], "416" in found["responses"]) == (media == OCTETS, media == OCTETS)
