"""The description of the API leaves nothing out: every path, and every answer and body typed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import aiohttp

from tests.control.conftest import Control
from tests.control.test_openapi import fetched


async def test_every_path_of_the_application_is_described(admin: aiohttp.ClientSession, control: Control) -> None:
    served = set()
    for each in control.app._app.router.routes():
        assert each.resource is not None
        if each.method != "*":
            served.add((each.method.lower(), re.sub(r"\{(\w+)[^}]*\}", r"{\1}", each.resource.canonical)))
    paths = (await fetched(admin))["paths"]
    described = {(method, path) for path, item in paths.items() for method in item}
    assert served - described - {("head", path) for _, path in described} == set()  # aiohttp adds HEAD to a GET
    assert described - served == set()


async def test_every_parameter_is_explained(admin: aiohttp.ClientSession) -> None:
    for path, item in (await fetched(admin))["paths"].items():
        for operation in item.values():
            for each in operation.get("parameters", ()):
                assert each["description"] != each["name"], path


async def test_all_58_operations_are_there_and_those_to_come_are_marked(admin: aiohttp.ClientSession) -> None:
    here: set[int] = set()
    to_come: set[int] = set()
    for item in (await fetched(admin))["paths"].values():
        for operation in item.values():
            (to_come if operation.get("x-unavailable") else here).add(operation.get("x-operation", 0))
    assert here | to_come == set(range(59))
    assert here >= {1, 3, 11, 12, 13, 19, 25, 28, 32, 33, 34, 35, 40, 41, 42, 43, 44, 45, 47, 53}
    assert here & to_come <= {0}


def _untyped(schema: Any, at: str) -> Iterator[str]:
    """Where a schema says nothing of what it stands for."""
    if schema in ({}, True):
        yield at
    elif isinstance(schema, dict):
        if schema.get("type") == "object" and not {"properties", "additionalProperties"} & schema.keys():
            yield at
        for key in ("items", "additionalProperties"):
            if key in schema and schema[key] is not False:
                yield from _untyped(schema[key], f"{at}/{key}")
        for key in ("anyOf", "oneOf", "allOf"):
            for number, each in enumerate(schema.get(key, ())):
                yield from _untyped(each, f"{at}/{key}/{number}")
        for name, each in schema.get("properties", {}).items():
            yield from _untyped(each, f"{at}/{name}")


async def test_every_answer_and_body_is_typed(admin: aiohttp.ClientSession) -> None:
    found = await fetched(admin)
    vague = [where for name, each in found["components"]["schemas"].items() for where in _untyped(each, name)]
    for path, item in found["paths"].items():
        for method, operation in item.items():
            if path == "/api/openapi.json":
                continue
            for part in (*operation["responses"].values(), operation.get("requestBody", {})):
                for media, content in part.get("content", {}).items():
                    if media == "application/json":
                        vague += _untyped(content["schema"], f"{method} {path}")
    assert vague == []
